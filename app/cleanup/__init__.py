"""What is old in the shop's tables and Redis, and how it goes."""
