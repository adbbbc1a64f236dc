"""`make bench`: speed and memory, each figure with its comparison from the same run."""

import asyncio

from bench import notifications


def main() -> None:
    asyncio.run(notifications.measure())


main()
