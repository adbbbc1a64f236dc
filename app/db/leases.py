"""Elections: one of many processes does what only one may do at a time."""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.engine import Database
from app.db.messages import OwnTable

_TAKE = text("""
    INSERT INTO tasks.leases AS lease (name, holder, expires_at)
    VALUES (:name, :holder, now() + CAST(:length AS interval))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE lease.expires_at < now() OR lease.holder = excluded.holder
    RETURNING holder
""")
_GIVE_UP = text("DELETE FROM tasks.leases WHERE name = :name AND holder = :holder")


class LeaseRow(OwnTable):
    """Who was elected for what, and until when, on the database's clock."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class Lease:
    """A row that works behind PgBouncer, where a session's lock would not: it runs out where its holder falls silent.

    Whoever stood still for longer than `length` may believe to hold what is another's by now; what must not be done
    twice needs a guard of its own.
    """

    def __init__(self, database: Database, name: str, holder: str, length: timedelta = timedelta(seconds=15)) -> None:
        self.length = length
        self._database = database
        self._name = name
        self._holder = holder

    async def take(self) -> bool:
        """Whether it is ours, now for another `length`. Raises DatabaseUnavailable."""
        parameters = {"name": self._name, "holder": self._holder, "length": self.length}
        async with self._database.autocommit() as connection:
            return (await connection.execute(_TAKE, parameters)).first() is not None

    async def give_up(self) -> None:
        """Lets another have it at once; without effect where it is not ours."""
        async with self._database.autocommit() as connection:
            await connection.execute(_GIVE_UP, {"name": self._name, "holder": self._holder})
