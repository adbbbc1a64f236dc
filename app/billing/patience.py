"""Writes of many jobs that wait for who holds their rows, and come later where that is in vain."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from app.billing.failures import ChargeLater
from app.billing.record import ChargeKey
from app.db import engine
from app.db.engine import Database, DatabaseUnavailable
from app.db.frozen import unblock
from app.db.group_commit import Answer, Item, Write


@contextmanager
def or_later(key: ChargeKey) -> Iterator[None]:
    """Raises ChargeLater where others hold what it needs."""
    try:
        yield
    except DBAPIError as error:
        if not engine.is_passing(error):
            raise
        raise ChargeLater(key, "others hold what it needs in the database") from error


def unfrozen(database: Database, write: Write[Item, Answer]) -> Write[Item, Answer]:
    """The same write, which takes the locks of workers that stand still away from them for the next time."""

    async def write_unfrozen(items: Sequence[Item]) -> Sequence[Answer]:
        try:
            return await write(items)
        except DBAPIError as error:
            await unblock(database, error)
            raise

    return write_unfrozen


def is_passing(error: Exception) -> bool:
    """Whether the same write may well succeed later."""
    return isinstance(error, DatabaseUnavailable) or (isinstance(error, DBAPIError) and engine.is_passing(error))
