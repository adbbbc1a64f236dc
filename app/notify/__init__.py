"""What a message says and to whom, without sending it."""
