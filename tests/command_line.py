"""Calling `indostar` within the test's own process: half a second less than as its users do."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from typer.testing import CliRunner

from app.cli import cli


@dataclass(frozen=True)
class Called:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """The command line with the settings of one environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    async def __call__(self, *arguments: str, answer: str | None = None) -> Called:
        """In a thread, since it has a loop of its own; a fault of the program is raised here."""
        # What else in this process logs is not to be among what the command prints.
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.__stderr__))
        try:
            result = await asyncio.to_thread(
                CliRunner().invoke, cli, arguments, input=answer, env=self._environment, catch_exceptions=False
            )
        finally:
            structlog.reset_defaults()
        return Called(result.exit_code, result.stdout, result.stderr)

    async def json(self, *arguments: str) -> Any:
        """What it prints for scripts; it must succeed."""
        called = await self(*arguments, "--json")
        assert called.code == 0, called
        return called.json
