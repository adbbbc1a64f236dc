"""Keeps a number of child processes at work: starts, watches, replaces and ends them."""
