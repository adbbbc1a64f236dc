"""What became of every job: one row a job, its attempts, and its payload while it can still run."""

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable

# A waiting job is `queued` here; that it is scheduled for later is what `run_at` and the clock say.
StoredStatus = Literal["queued", "running", "retrying", "succeeded", "failed", "cancelled"]
# Ids are compared as bytes: faster, and in the same order whatever the database's language.
JobIdText = Text(collation="C")


class HistoryJob(OwnTable):
    """A job as the stream of events told of it last; of several jobs with one id the latest.

    `kwargs` are masked where they are not declared visible; `terms` are what visible arguments say, in lower case, to
    be searched for. `tries` are those used up, the running one included. `last_event` is the entry that changed it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN {get_args(StoredStatus)}", name="status"),
        Index(None, "enqueued_at", "id"),
        Index(None, "status", "enqueued_at", "id"),
        Index(None, "queue", "enqueued_at", "id"),
        Index(None, "task", "enqueued_at", "id"),
        # Most jobs have nothing to be searched for.
        Index(None, "terms", postgresql_using="gin", postgresql_where="terms <> '{}'"),
        Index(None, "root_id", postgresql_where="retry_of IS NOT NULL"),
    )

    id: Mapped[str] = mapped_column(JobIdText, primary_key=True)
    task: Mapped[str]
    queue: Mapped[str]
    status: Mapped[StoredStatus] = mapped_column(Text)
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSONB)
    terms: Mapped[list[str]] = mapped_column(ARRAY(Text))
    enqueued_at: Mapped[datetime]
    run_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    tries: Mapped[int]
    max_tries: Mapped[int | None]
    result: Mapped[Any | None] = mapped_column(JSONB)
    error_type: Mapped[str | None]
    error_message: Mapped[str | None]
    error_traceback: Mapped[str | None]
    worker: Mapped[str | None]
    root_id: Mapped[str] = mapped_column(JobIdText)
    retry_of: Mapped[str | None] = mapped_column(JobIdText)
    last_event: Mapped[str]


class HistoryAttempt(OwnTable):
    """One attempt at a job; `number` counts those that are kept, of very many the first and the last ten."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(JobIdText, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    job_try: Mapped[int]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str]
    error_type: Mapped[str | None]
    error_message: Mapped[str | None]
    error_traceback: Mapped[str | None]
    worker: Mapped[str | None]


class HistoryPayload(OwnTable):
    """The payload of a job that waits, runs or failed, byte for byte as Redis has it."""

    __tablename__ = "payloads"

    job_id: Mapped[str] = mapped_column(JobIdText, primary_key=True)
    payload: Mapped[bytes]


class Projection(OwnTable):
    """How far a reader of the stream of events has come: the last entry on record, and how many there were up to it."""

    __tablename__ = "projection"

    name: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[str]
    last_event: Mapped[str]
    entries: Mapped[int] = mapped_column(BigInteger)


class HistoryGap(OwnTable):
    """Where history lacks something: how many entries, if that is known, after which one, and why."""

    __tablename__ = "history_gaps"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    noticed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    after_event: Mapped[str]
    entries: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str]
