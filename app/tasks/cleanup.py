"""Removing what nobody needs any more: old carts and audit logs, tokens that never expire, abandoned sessions."""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, NotRequired, TypedDict

import structlog
from arq.cron import cron
from pydantic import Field, Strict

from app.cleanup.keys import AbandonedKeys, KeyTally, TokensRedis
from app.cleanup.tables import audit_logs_older_than, carts_older_than
from app.db.batch_deletion import BatchDeletion, Tally
from app.db.clock import database_time
from app.db.engine import Database
from app.db.old_rows import OldRows
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.jobs.time_limits import SoftTimeLimitExceeded
from app.tasks.registry import task

log = structlog.stdlib.get_logger(__name__)

# More than ten years is a slip of the hand.
Days = Annotated[int, Strict(), Field(ge=1, le=3_650)]
# Redis counts the seconds since a key was used in 24 bits: after 194 days it begins anew.
Hours = Annotated[int, Strict(), Field(ge=1, le=194 * 24)]
DryRun = Annotated[bool, Strict()]

PASSWORD_RESET, EMAIL_VERIFICATION, OTP, SESSION = "password_reset:", "email_verification:", "otp:", "session:"


class Unusual(TypedDict):
    """What a result tells only where it happened.

    `refused`: rows that a foreign key keeps. `unfinished`: the soft time limit came first, the next run goes on.
    `idle_time`: why it is not known, so that only what has no expiry was deleted.
    """

    refused: NotRequired[int]
    unfinished: NotRequired[bool]
    idle_time: NotRequired[str]


class ExpiredCarts(Unusual):
    """`total_expired` is how many there were at the beginning, `empty_deleted` how many of the deleted had no item."""

    cutoff_date: str
    days_old: int
    total_expired: int
    deleted: int
    empty_deleted: int


class OldAuditLogs(Unusual):
    """`total_old_logs` is how many there were at the beginning."""

    cutoff_date: str
    days_old: int
    total_old_logs: int
    deleted: int


class Keys(TypedDict):
    """How many keys of a kind there are, those counted that were deleted."""

    total: int
    deleted: int


class ExpiredTokens(Unusual):
    """By kind of token."""

    password_reset_tokens: Keys
    email_verification_tokens: Keys
    otp_codes: Keys


class AbandonedSessions(Unusual):
    """`deleted` are among `total_sessions`."""

    hours_old: int
    total_sessions: int
    deleted: int


@task(queue=Queue.DEFAULT, schedule=partial(cron, hour=2, minute=0), visible={"days_old", "dry_run"})
async def cleanup_expired_carts(ctx: Context, days_old: Days = 30, dry_run: DryRun = False) -> ExpiredCarts:
    """Delete the carts that were not updated for so many days, empty or not, with their items."""
    cutoff = await _days_ago(ctx, days_old)
    total, tally, unusual = await _delete(ctx, carts_older_than(cutoff), "carts", dry_run=dry_run)
    return {
        "cutoff_date": cutoff.isoformat(),
        "days_old": days_old,
        "total_expired": total,
        "deleted": tally.deleted,
        "empty_deleted": tally.childless,
        **unusual,
    }


@task(queue=Queue.DEFAULT, visible={"days_old", "dry_run"})
async def cleanup_old_audit_logs(ctx: Context, days_old: Days = 90, dry_run: DryRun = False) -> OldAuditLogs:
    """Delete the audit logs that are older than so many days."""
    cutoff = await _days_ago(ctx, days_old)
    total, tally, unusual = await _delete(ctx, audit_logs_older_than(cutoff), "audit logs", dry_run=dry_run)
    return {
        "cutoff_date": cutoff.isoformat(),
        "days_old": days_old,
        "total_old_logs": total,
        "deleted": tally.deleted,
        **unusual,
    }


@task(queue=Queue.DEFAULT, schedule=partial(cron, hour=3, minute=0), visible={"dry_run"})
async def cleanup_expired_tokens(ctx: Context, dry_run: DryRun = False) -> ExpiredTokens:
    """Remove one-time passwords and tokens of mails that have no expiry, since they would be valid for ever."""
    abandoned = AbandonedKeys([PASSWORD_RESET, EMAIL_VERIFICATION, OTP], dry_run=dry_run)
    unusual = await _remove(ctx, abandoned)
    return {
        "password_reset_tokens": _keys(abandoned.tallies[PASSWORD_RESET]),
        "email_verification_tokens": _keys(abandoned.tallies[EMAIL_VERIFICATION]),
        "otp_codes": _keys(abandoned.tallies[OTP]),
        **unusual,
    }


@task(queue=Queue.DEFAULT, visible={"hours_old", "dry_run"})
async def cleanup_abandoned_sessions(ctx: Context, hours_old: Hours = 24, dry_run: DryRun = False) -> AbandonedSessions:
    """Remove the sessions that have no expiry or were not used for so many hours."""
    abandoned = AbandonedKeys([SESSION], idle=timedelta(hours=hours_old), dry_run=dry_run)
    unusual = await _remove(ctx, abandoned)
    if not abandoned.knows_idle_time:
        unusual["idle_time"] = "unknown under an LFU policy"
    return {
        "hours_old": hours_old,
        "total_sessions": abandoned.tallies[SESSION].total,
        "deleted": abandoned.tallies[SESSION].deleted,
        **unusual,
    }


async def _days_ago(ctx: Context, days: int) -> datetime:
    async with ctx[Database].session() as session:
        # Not this machine's clock: it did not write the shop's times.
        return await database_time(session) - timedelta(days=days)


async def _delete(ctx: Context, rows: OldRows, name: str, *, dry_run: bool) -> tuple[int, Tally, Unusual]:
    """How many old rows there were, what became of them, and what was unusual about it."""
    async with ctx[Database].session() as session:
        total = (await session.scalars(rows.count)).one()
    deletion = BatchDeletion(ctx[Database], rows)
    unusual: Unusual = {}
    if not dry_run:

        def tell(tally: Tally) -> None:
            ctx.progress(tally.deleted, total, f"{name} deleted")

        if not await _ended_in_time(deletion.run(tell)):
            unusual["unfinished"] = True
    if deletion.tally.refused:
        unusual["refused"] = deletion.tally.refused
    return total, deletion.tally, unusual


async def _remove(ctx: Context, abandoned: AbandonedKeys) -> Unusual:
    def tell(seen: int, there_are: int) -> None:
        ctx.progress(seen, there_are, "keys looked at")

    return {} if await _ended_in_time(ctx[TokensRedis].remove(abandoned, tell)) else {"unfinished": True}


async def _ended_in_time(work: Awaitable[None]) -> bool:
    """Whether it came to its end before the soft time limit. What it had done by then is kept."""
    try:
        await work
    except SoftTimeLimitExceeded:
        log.warning("cleanup.unfinished")
        return False
    return True


def _keys(tally: KeyTally) -> Keys:
    return {"total": tally.total, "deleted": tally.deleted}
