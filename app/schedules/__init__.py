"""Schedules that fire each slot exactly once, by a ledger in PostgreSQL."""
