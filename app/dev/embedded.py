"""What the embedded servers have in common: a child process that lives as long as an `async with` block."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from app.dev.processes import Child


class EmbeddedServer(ABC):
    """A server on a loopback `port`; `child` is its process, once it was started."""

    port: int
    child: Child

    @property
    @abstractmethod
    def url(self) -> str: ...

    @property
    def pid(self) -> int:
        return self.child.pid

    @abstractmethod
    async def start(self) -> None:
        """Start it. Raises ServerNotInstalled, ChildDied or ChildNotReady."""

    async def stop(self) -> None:
        await self.child.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
