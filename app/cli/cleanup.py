"""`indostar cleanup`: has a worker clean up, and watches it."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli.group import cli
from app.cli.options import SHOP, AsJson, read_span


class Kind(StrEnum):
    """What there is to clean up."""

    CARTS = "carts"
    TOKENS = "tokens"
    AUDIT_LOGS = "audit-logs"
    SESSIONS = "sessions"


# The task of each kind, and the argument that says how old is old.
TASKS = {
    Kind.CARTS: ("cleanup_expired_carts", "days_old"),
    Kind.TOKENS: ("cleanup_expired_tokens", None),
    Kind.AUDIT_LOGS: ("cleanup_old_audit_logs", "days_old"),
    Kind.SESSIONS: ("cleanup_abandoned_sessions", "hours_old"),
}


@cli.command(rich_help_panel=SHOP)
def cleanup(
    kind: Annotated[Kind, typer.Argument(show_default=False)],
    days_old: Annotated[int | None, typer.Option(help="Of carts and audit-logs: what is older goes.")] = None,
    hours_old: Annotated[int | None, typer.Option(help="Of sessions: what was not used for longer goes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for its end, with its progress.")] = True,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=read_span, metavar="SPAN", help="How long to wait, as in 10m.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove what is old: carts, tokens without expiry, audit logs, sessions. A worker does it, as on its schedule."""
    task, age = TASKS[kind]
    kwargs: dict[str, Any] = {"dry_run": True} if dry_run else {}
    for name, value in (("days_old", days_old), ("hours_old", hours_old)):
        if value is not None and name != age:
            raise typer.BadParameter(f"says nothing about {kind}", param_hint=f"--{name.replace('_', '-')}")
        if value is not None:
            kwargs[name] = value
    from app.cli import asking, job_page, watching
    from app.operations.views import JobView

    async def act() -> JobView:
        async with asking.operations() as opened:
            job = await opened.jobs.enqueue(asking.operator(), task, kwargs)
            return await watching.until_ended(opened, job, timeout) if wait else job

    job_page.tell_enqueued(asking.run(act()), was_awaited=wait, as_json=as_json)
