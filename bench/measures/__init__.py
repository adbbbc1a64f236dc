"""One module a measure; each has `async def measure(plan) -> Section`."""
