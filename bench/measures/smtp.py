"""Mails by SMTP to a server on this machine, over the pooled connections of one process."""

import asyncio
from contextlib import AsyncExitStack

from app.dev.state import free_port
from app.settings import Settings
from bench.measures.drain import SETTLE
from bench.measures.mails import TRIES, Sent, open_database, open_provider
from bench.plan import Plan, median
from bench.report import Section, Target
from bench.systems import OUR_MAILS
from bench.trial import open_trial

WANTED = 200
MAILS = 2_000
SERVER = "bench.mail_server"
BY_SMTP = {"EMAIL_PROVIDER": "smtp"}


async def measure(_plan: Plan) -> Section:
    """Our client by itself, and the shop's mail task; medians."""
    async with AsyncExitStack() as stack:
        database_url = await open_database(stack)
        bare = median([await _bare() for _ in range(TRIES)])
        tries = [await _ours(database_url) for _ in range(TRIES)]
    ours, worker_us = median([each.per_second for each in tries]), median([each.worker_us for each in tries])
    peak = median([each.peak_mib for each in tries])
    connections = Settings.model_fields["smtp_connections"].default
    return Section(
        "Mails by SMTP",
        f"{connections} connections to aiosmtpd, which takes a mail as soon as it has it. Medians of {TRIES}.",
        ("", "shape", "mails/s", "worker CPU us", "peak MiB"),
        [
            ("our SMTP client, bare", f"1 x {OUR_MAILS.mailing.slots}", f"{bare:,.0f}", "", ""),
            (OUR_MAILS.name, str(OUR_MAILS.mailing), f"{ours:,.0f}", f"{worker_us:,.0f}", f"{peak:,.0f}"),
        ],
        [Target("mails by SMTP, one process", f"{WANTED}/s", f"{ours:,.0f}/s", ours >= WANTED)],
    )


async def _bare() -> float:
    port = free_port(0)
    async with (
        open_provider(SERVER, port) as server,
        open_trial(OUR_MAILS, OUR_MAILS.mailing, smtp_port=port, environment=BY_SMTP) as trial,
    ):
        await trial.produce("fill", "mail", MAILS, OUR_MAILS.mailing.slots, sender="bench.bare.smtp:sender")
        return (await server.seen()).per_second


async def _ours(database_url: str) -> Sent:
    """The queue is filled before the worker starts."""
    port = free_port(0)
    async with (
        open_provider(SERVER, port) as server,
        open_trial(
            OUR_MAILS, OUR_MAILS.mailing, smtp_port=port, database_url=database_url, environment=BY_SMTP
        ) as trial,
    ):
        await trial.fill("mail", MAILS)
        async with trial.workers() as workers:
            first = await server.until(1, workers)
            before = workers.usage()
            last = await server.until(MAILS, workers)
            await asyncio.sleep(SETTLE)
            used = workers.usage().since(before)
    return Sent(last.per_second, used.cpu_seconds / (last.count - first.count) * 1e6, used.peak_mib)
