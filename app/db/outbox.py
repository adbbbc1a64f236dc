"""Jobs that exist exactly when the transaction that wrote them has committed."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable

# Told at the commit of whoever inserts, by a trigger of the table.
CHANNEL = "indostar_outbox"


class OutboxJob(OwnTable):
    """A job, kept until it has ended. Others insert `task`, `kwargs`, `key` and `not_before` with plain SQL.

    `queue` is a queue's name (default: the task's own), `root` the first job's id in a line of re-runs and `retry_of`
    the last one's. `kwargs` are emptied when the job has succeeded; of one that failed they stay until somebody runs
    it again or discards it.
    `relayed_epoch` names the state of Redis that the job was handed to: FLUSHALL ends it.
    """

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    task: Mapped[str]
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    key: Mapped[str | None] = mapped_column(unique=True)
    not_before: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    queue: Mapped[str | None]
    root: Mapped[str | None]
    retry_of: Mapped[str | None]
    relayed_at: Mapped[datetime | None]
    relayed_epoch: Mapped[str | None]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("jsonb_typeof(kwargs) = 'object'", name="kwargs"),
        CheckConstraint("isfinite(created_at)", name="created_at"),
        Index(
            "outbox_unrelayed_idx",
            text("coalesce(not_before, created_at)"),
            "id",
            postgresql_where=text("relayed_at IS NULL AND ended_at IS NULL"),
        ),
        Index("outbox_unfinished_idx", "id", postgresql_where=text("relayed_at IS NOT NULL AND ended_at IS NULL")),
    )
