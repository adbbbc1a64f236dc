"""What ledger, shop and gateway say of a date's deliveries, side by side."""
