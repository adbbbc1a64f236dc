"""Group commit: what many jobs write at about the same time goes to PostgreSQL together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from app.errors import Unavailable

log = structlog.stdlib.get_logger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Write = Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]

MOST_ITEMS_A_WRITE = 500
# Two on their way: the second is made up while the first travels, so that an item waits for half a write at most.
WRITERS = 2
# How long to wait between the tries to write an item (seconds).
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0


@dataclass(slots=True, eq=False)
class _Submission(Generic[Item, Answer]):
    item: Item
    answer: "asyncio.Future[Answer]"
    tries: int = field(default=0)


class GroupCommit(Generic[Item, Answer]):
    """Hands what is submitted while writes are on their way to the next one.

    No timer: a single submission is written at once, a hundred at once share one statement. An item whose error
    `is_passing` is written again, `tries` times in all (None: until it is written). `writers` are the writes that may
    be on their way at the same time: with one, groups are larger, and an item waits for a whole write at most.
    """

    def __init__(
        self,
        write: Write[Item, Answer],
        *,
        tries: int | None = 1,
        writers: int = WRITERS,
        is_passing: Callable[[Exception], bool] = lambda _: True,
    ) -> None:
        self._write = write
        self._tries = tries
        self._most_writers = writers
        self._is_passing = is_passing
        self._waiting: list[_Submission[Item, Answer]] = []
        self._writers: set[asyncio.Task[None]] = set()
        self._unanswered: set[asyncio.Future[Answer]] = set()
        self._is_failing = False

    def submit(self, item: Item) -> "asyncio.Future[Answer]":
        """The answer to this item, once it is written; what kept it from being written otherwise.

        Cancelled before the write has begun, it is not written; after that nobody can tell. Shield it to be sure.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._unanswered.add(answer)
        answer.add_done_callback(self._unanswered.discard)
        self._enqueue(_Submission(item, answer))
        return answer

    async def drained(self) -> None:
        """Returns when everything that was submitted is written or given up."""
        while self._unanswered:
            await asyncio.wait(self._unanswered)

    def _enqueue(self, submission: _Submission[Item, Answer]) -> None:
        self._waiting.append(submission)
        if len(self._writers) < self._most_writers:
            writer = asyncio.create_task(self._write_all(), name="group commit")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)

    async def _write_all(self) -> None:
        # Those who are ready in this turn of the loop come along.
        await asyncio.sleep(0)
        while self._waiting:
            batch = self._waiting[:MOST_ITEMS_A_WRITE]
            del self._waiting[:MOST_ITEMS_A_WRITE]
            # Whoever was cancelled before it was written wants nothing written.
            if wanted := [submission for submission in batch if not submission.answer.done()]:
                await self._write_batch(wanted)
        # Now, and not only when the loop has seen the end of this task: who submits until then would wait for it.
        if (writer := asyncio.current_task()) is not None:
            self._writers.discard(writer)

    async def _write_batch(self, batch: Sequence[_Submission[Item, Answer]]) -> None:
        try:
            answers = await self._write([submission.item for submission in batch])
        except Exception as error:  # noqa: BLE001 -- it belongs to those who submitted
            if len(batch) > 1 and not isinstance(error, Unavailable):
                # One item that can't be written must not take the others along.
                for one in batch:
                    await self._write_batch([one])
                return
            for submission in batch:
                self._try_again_or_fail(submission, error)
            return
        if self._is_failing:
            self._is_failing = False
            log.info("database.writes_again")
        for submission, answer in zip(batch, answers, strict=True):
            if not submission.answer.done():
                submission.answer.set_result(answer)

    def _try_again_or_fail(self, submission: _Submission[Item, Answer], error: Exception) -> None:
        if submission.answer.done():
            return
        submission.tries += 1
        if submission.tries == self._tries or not self._is_passing(error):
            submission.answer.set_exception(error)
            return
        if not self._is_failing:
            self._is_failing = True
            log.warning("database.writes_wait", error=type(error).__name__)
        wait = min(FIRST_WAIT * 2 ** min(submission.tries - 1, 10), LONGEST_WAIT)
        asyncio.get_running_loop().call_later(wait, self._enqueue, submission)
