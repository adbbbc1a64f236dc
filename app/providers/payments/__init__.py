"""Charges by Razorpay: orders and debits against a mandate, and the invoices of its own subscriptions."""
