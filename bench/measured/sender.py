"""Putting jobs on a system's queue by its own client: what each system's module offers.

Only the standard library: it runs in the peers' environment too.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable


class Sender(Protocol):
    """A client that awaits its server. `task` is noop, stamp, hold or mail."""

    async def send(self, task: str, number: int) -> None: ...


@runtime_checkable
class BulkSender(Sender, Protocol):
    """A client that can also send many at once."""

    async def send_many(self, task: str, numbers: Sequence[int]) -> None: ...


@runtime_checkable
class BlockingSender(Protocol):
    """A client for threads."""

    def send_blocking(self, task: str, number: int) -> None: ...


AnySender = Sender | BlockingSender
SenderFactory = Callable[[], AbstractAsyncContextManager[AnySender]]


async def send(sender: AnySender, task: str, number: int) -> None:
    """One job, by whichever kind of client; a blocking one blocks the loop."""
    if isinstance(sender, BlockingSender):
        sender.send_blocking(task, number)
    else:
        await sender.send(task, number)
