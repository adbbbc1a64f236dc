"""The command line: `indostar ...`. Exit code 0 done, 1 failed, 2 wrong call or settings."""

# Each module adds its commands, in the order in which the help lists them.
from app.cli import jobs, letters, events, queues, schedules, cleanup, preview, runs, system, templates  # isort: skip
from app.cli.group import cli

__all__ = [
    "cleanup",
    "cli",
    "events",
    "jobs",
    "letters",
    "main",
    "preview",
    "queues",
    "runs",
    "schedules",
    "system",
    "templates",
]


def main() -> None:
    """Runs a command."""
    cli()
