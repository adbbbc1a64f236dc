"""Which deliveries are due, what each costs, and the runs that plan them."""
