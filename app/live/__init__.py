"""Jobs' changes of state as they happen, for whoever watches."""
