"""What a message says, to whom it goes, and that it is sent once."""
