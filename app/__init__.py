"""IndoStar Naturals' background system.

For the shop's backend: `connect`, and `serialize` and `deserialize` for a stock arq pool.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.client import connect
    from app.jobs.serializer import deserialize, serialize

__all__ = ["connect", "deserialize", "serialize"]

_HOMES = {"connect": "app.client", "serialize": "app.jobs.serializer", "deserialize": "app.jobs.serializer"}


def __getattr__(name: str) -> Any:
    # Imported when first used: every module of the package imports this one first.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
