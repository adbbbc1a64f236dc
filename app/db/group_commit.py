"""Group commit: what many jobs write at about the same time goes to PostgreSQL together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.errors import Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Write = Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]


class GroupCommit(Generic[Item, Answer]):
    """Hands everything that was submitted while the last write was on its way to the next one.

    No timer: a single submission is written at once, a hundred at once share one transaction.
    """

    def __init__(self, write: Write[Item, Answer], most: int = 500) -> None:
        self._write = write
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """The answer to this item, once it is written. Raises what kept it from being written."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="group commit")
        return await future

    async def _write_all(self) -> None:
        try:
            # Those who are ready in this turn of the loop come along.
            await asyncio.sleep(0)
            while self._waiting:
                batch = self._waiting[: self._most]
                del self._waiting[: self._most]
                # Whoever was cancelled before it was written wants nothing written.
                if wanted := [(item, future) for item, future in batch if not future.done()]:
                    await self._write_batch(wanted)
        finally:
            self._writing = None

    async def _write_batch(self, batch: Sequence[tuple[Item, "asyncio.Future[Answer]"]]) -> None:
        try:
            answers = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 -- it belongs to those who submitted
            if len(batch) > 1 and not isinstance(error, Unavailable):
                # One item that can't be written must not take the others along.
                for one in batch:
                    await self._write_batch([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
