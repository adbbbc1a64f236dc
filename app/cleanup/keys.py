"""Keys of the shop's backend that would stay for ever, found and removed in one pass over its Redis."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Any, Self

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.errors import Unavailable
from app.jobs.outage import is_outage
from app.jobs.wire import ANSWER_WITHIN

log = structlog.stdlib.get_logger(__name__)

# Keys a SCAN looks at. Ten times as many would take a millisecond or two of everybody's time.
SCAN_COUNT = 1_000
NO_KEY, NO_EXPIRY = -2, -1
# Keys go one a command, as a cluster needs it. Sent whole each time: no server has to know it before.
UNLINK_ABANDONED = files("app.cleanup").joinpath("scripts/unlink_abandoned.lua").read_text()


class TokensRedisUnavailable(Unavailable):
    """The Redis with the backend's tokens can't be reached, or takes no commands now."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the Redis of tokens and sessions is not available: {self.reason}"


@dataclass(slots=True)
class KeyTally:
    """How many keys of a kind there are, those counted that were deleted."""

    total: int = 0
    deleted: int = 0


class AbandonedKeys:
    """One pass over the keys that begin with one of `prefixes`, for those that nobody will ever remove.

    These have no expiry or, where `idle` is given, were not used for that long. `tallies` are by prefix, `seen` is how
    many keys were looked at. `knows_idle_time` turns False where the server keeps count of uses instead (an LFU
    policy): then only the expiry decides.
    """

    def __init__(self, prefixes: Collection[str], *, idle: timedelta | None = None, dry_run: bool = False) -> None:
        self.tallies: Mapping[str, KeyTally] = {prefix: KeyTally() for prefix in prefixes}
        self.seen = 0
        self.knows_idle_time = True
        self._prefixes = {prefix.encode(): tally for prefix, tally in self.tallies.items()}
        self._idle = None if idle is None else int(idle.total_seconds())
        self._dry_run = dry_run

    @property
    def pattern(self) -> str:
        """Leaves most other keys where they are; it may match more than the prefixes do."""
        if len(self._prefixes) == 1:
            return f"{next(iter(self.tallies))}*"
        return f"[{''.join(sorted({prefix[0] for prefix in self.tallies}))}]*"

    @property
    def asks_idle_time(self) -> bool:
        return self._idle is not None and self.knows_idle_time

    def chosen(self, keys: Iterable[bytes]) -> list[bytes]:
        prefixes = tuple(self._prefixes)
        return [key for key in keys if key.startswith(prefixes)]

    def questions(self, keys: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
        """The commands whose answers `judge` wants."""
        for key in keys:
            yield "TTL", key
            if self.asks_idle_time:
                yield "OBJECT", "IDLETIME", key

    def judge(self, keys: Sequence[bytes], answers: Iterator[Any]) -> list[bytes]:
        """Counts the keys, and returns those to be removed."""
        asked_idle_time = self.asks_idle_time
        abandoned = []
        for key in keys:
            ttl = next(answers)
            idle = self._idle_seconds(next(answers)) if asked_idle_time else None
            if ttl == NO_KEY:
                continue
            self._tally_of(key).total += 1
            is_idle = idle is not None and self._idle is not None and idle >= self._idle
            if is_idle or _checked(ttl) == NO_EXPIRY:
                abandoned.append(key)
        return [] if self._dry_run else abandoned

    def removal(self, key: bytes) -> tuple[Any, ...]:
        """The command that removes it if it is still abandoned: it may have been set anew."""
        limit = (str(self._idle),) if self.asks_idle_time else ()
        return "EVAL", UNLINK_ABANDONED, "1", key, *limit

    def removed(self, key: bytes, answer: Any) -> None:
        self._tally_of(key).deleted += _checked(answer)

    def _idle_seconds(self, answer: Any) -> int | None:
        if isinstance(answer, ResponseError) and "LFU" in str(answer):
            if self.knows_idle_time:
                log.warning("cleanup.idle_time_unknown", reason="the server's maxmemory-policy is an LFU one")
            self.knows_idle_time = False
            return None
        seconds: int | None = _checked(answer)
        return seconds

    def _tally_of(self, key: bytes) -> KeyTally:
        # Every prefix ends in a colon and has no other.
        return self._prefixes[key[: key.index(b":") + 1]]


class TokensRedis:
    """The Redis where the shop's backend keeps its tokens and sessions. Nothing is connected until it is used."""

    def __init__(self, redis: Redis, *, answer_within: timedelta = timedelta(seconds=ANSWER_WITHIN)) -> None:
        self._redis = redis
        # Not the client's own limit: Python 3.11's `wait_for`, which it uses, now and then swallows a cancellation.
        self._answer_within = answer_within.total_seconds()

    @classmethod
    def from_url(cls, url: str) -> Self:
        return cls(Redis.from_url(url))

    async def remove(self, abandoned: AbandonedKeys, told: Callable[[int, int], None]) -> None:
        """Passes over all keys once; `told` hears how many were looked at, and how many there are.

        Ended at any await, it leaves what it did in the tallies. Raises TokensRedisUnavailable.
        """
        try:
            await self._pass(abandoned, told)
        except Exception as error:
            if is_outage(error):
                raise TokensRedisUnavailable(str(error) or type(error).__name__) from error
            raise

    async def _pass(self, abandoned: AbandonedKeys, told: Callable[[int, int], None]) -> None:
        async with asyncio.timeout(self._answer_within):
            there_are = await self._redis.dbsize()
        cursor: int | None = 0
        keys: list[bytes] = []
        doomed: list[bytes] = []
        # Each round asks about the keys of the last SCAN, removes those of the one before, and sends the next SCAN.
        while cursor is not None or keys or doomed:
            commands = [*abandoned.questions(keys), *map(abandoned.removal, doomed)]
            if cursor is not None:
                commands.append(("SCAN", cursor, "MATCH", abandoned.pattern, "COUNT", SCAN_COUNT))
            async with asyncio.timeout(self._answer_within), self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers = await pipe.execute(raise_on_error=False)
            asked, doomed_before = iter(answers), doomed
            doomed = abandoned.judge(keys, asked)
            for key in doomed_before:
                abandoned.removed(key, next(asked))
            keys = []
            if cursor is not None:
                next_cursor, found = _checked(next(asked))
                cursor = int(next_cursor) or None
                keys = abandoned.chosen(found)
                abandoned.seen += SCAN_COUNT
            told(min(abandoned.seen, there_are), there_are)

    async def aclose(self) -> None:
        await self._redis.aclose()


def _checked(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer
