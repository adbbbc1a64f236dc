"""A command's way to what operators do and ask: who acts, and from where."""

import asyncio
import logging
import os
import pwd
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from app.operations import Actor, Operations, Role, open_operations
from app.settings import OperationsSettings, settings_or_exit

T = TypeVar("T")


def operator() -> Actor:
    """Whoever runs this process: by the system's user, which an environment can't change."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Actor(name=name, role=Role.OPERATOR, source=f"cli {name}@{socket.gethostname()}")


@asynccontextmanager
async def operations() -> AsyncIterator[Operations]:
    """All of it, by this process's settings; what is wrong with those is told, with exit code 2."""
    async with open_operations(settings_or_exit(OperationsSettings), application_name="indostar command") as opened:
        yield opened


def run(command: Coroutine[Any, Any, T]) -> T:
    """What the command returns. Of its log only warnings are shown, apart from what it prints."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        # Asked for anew each time: what stderr is may change.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    return asyncio.run(command)
