"""What arq's stock worker is given for a pool when it is only the shell of ours: it never connects."""

from typing import Any, Self

from arq.connections import ArqRedis


class OfflinePool(ArqRedis):
    """Answers what a stock worker asks of Redis at its start and end, without asking Redis.

    Our worker has connections of its own, waits for a Redis that is away, and keeps the health key, which a stock
    worker would delete at its end though siblings live on.
    """

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:  # noqa: ARG002 -- redis-py's
        return _NothingKnown()

    async def delete(self, *_names: Any) -> int:
        return 0

    async def close(self, close_connection_pool: bool | None = None) -> None:
        """There is nothing to close."""


class _NothingKnown:
    """The pipeline with which arq logs what it knows of the server."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    def info(self, section: str) -> None:
        pass

    def dbsize(self) -> None:
        pass

    async def execute(self) -> list[Any]:
        return [{}, {}, {}, "?"]
