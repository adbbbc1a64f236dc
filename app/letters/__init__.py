"""Dead letters: jobs that failed, kept with their payload until somebody runs them again or discards them."""
