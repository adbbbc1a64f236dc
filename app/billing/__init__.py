"""Having planned deliveries paid, each at most once, and writing down what became of it."""
