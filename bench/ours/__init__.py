"""Our own system as it is measured."""
