"""What became of every job, on record in PostgreSQL."""
