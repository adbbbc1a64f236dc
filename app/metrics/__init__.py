"""What Prometheus is told, by workers and by the admin API."""
