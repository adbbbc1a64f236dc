"""How far a task says it is."""

from dataclasses import asdict, dataclass
from typing import Self

import orjson


@dataclass(frozen=True, slots=True)
class Progress:
    """`total` is None where the task does not know."""

    done: int
    total: int | None
    message: str | None

    def to_bytes(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        return cls(**orjson.loads(raw))
