"""What became of dead letters: jobs that failed and that somebody then ran again or discarded."""

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import CheckConstraint, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.history import JobIdText
from app.db.messages import OwnTable

LetterAction = Literal["retried", "discarded"]


class ClosedLetter(OwnTable):
    """A dead letter that is none any more: by whom, when, and which job runs in its place.

    With the time at which it was enqueued, because an id may be used again.
    """

    __tablename__ = "closed_letters"
    __table_args__ = (
        CheckConstraint(f"action IN {get_args(LetterAction)}", name="action"),
        CheckConstraint("(retried_as IS NOT NULL) = (action = 'retried')", name="retried_as"),
    )

    job_id: Mapped[str] = mapped_column(JobIdText, primary_key=True)
    enqueued_at: Mapped[datetime] = mapped_column(primary_key=True)
    action: Mapped[LetterAction] = mapped_column(Text)
    closed_by: Mapped[str]
    closed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    retried_as: Mapped[str | None] = mapped_column(JobIdText)
