"""What operators decided, on record: which queues are paused, and who did what."""
