"""What was sent to customers, by which provider, and what became of it."""

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Identity,
    Integer,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    false,
    func,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.db.shop import OrderId, ProductId, SubscriptionId, UserId

Channel = Literal["email", "sms"]
SmsEncoding = Literal["GSM-7", "UCS-2"]
MessageStatus = Literal["sending", "sent", "refused", "failed", "unknown"]

SCHEMA = "tasks"


class OwnTable(DeclarativeBase):
    """A table of the background system, in a schema that the shop's migrations never look at."""

    metadata = MetaData(
        schema=SCHEMA,
        # PostgreSQL's own way to name them, spelled out so that a migration can refer to each.
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        },
    )
    type_annotation_map = {
        str: Text,
        Channel: Text,
        MessageStatus: Text,
        SmsEncoding: Text,
        datetime: DateTime(timezone=True),
        UserId: Integer,
        ProductId: Integer,
        SubscriptionId: Integer,
        OrderId: Integer,
    }


class Message(OwnTable):
    """One message of one job, however often that was tried: (root job, channel) happens once.

    `job_id` is the job that acted last, `attempt` its attempt. `recipient` is masked and `template` empty for free
    text, so that the table holds no address and no text of a customer. `encoding` and `segments` are those of an SMS.
    """

    __tablename__ = "messages"
    # A tuple of strings reads the same in SQL.
    __table_args__ = (
        UniqueConstraint("root_job_id", "channel"),
        CheckConstraint(f"channel IN {get_args(Channel)}", name="channel"),
        CheckConstraint(f"status IN {get_args(MessageStatus)}", name="status"),
        CheckConstraint(f"encoding IN {get_args(SmsEncoding)}", name="encoding"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    root_job_id: Mapped[str]
    channel: Mapped[Channel]
    job_id: Mapped[str]
    attempt: Mapped[str]
    template: Mapped[str | None]
    recipient: Mapped[str]
    encoding: Mapped[SmsEncoding | None]
    segments: Mapped[int | None] = mapped_column(SmallInteger)
    provider: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    status: Mapped[MessageStatus]
    tries: Mapped[int]
    possibly_twice: Mapped[bool] = mapped_column(server_default=false())
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    updated_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
