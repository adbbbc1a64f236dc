"""Notification jobs against a provider that takes 80 ms, beside bare HTTP clients and the peers' plain tasks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from app.db.migrate import migrate
from app.dev.demo_shop import create_shop_tables
from app.dev.postgres import EmbeddedPostgres
from app.dev.processes import Child
from app.dev.state import free_port
from app.settings import PROJECT_ROOT
from bench.measures.drain import SETTLE
from bench.plan import Plan, median
from bench.provider import LATENCY_SECONDS, Seen
from bench.report import Section, Target
from bench.systems import OUR_MAILS, Shape, System
from bench.trial import NO_DATABASE, Workers, open_trial

TRIES = 3
WITHIN = 60
# How often the provider is asked (seconds): each question is a request that it answers beside the mails.
LOOK = 0.05

TWO_PROCESSES = Shape(2, 100)
WANTED_OF_BARE = 0.8
WANTED_TIMES_ONE = 1.5


@dataclass(frozen=True, slots=True)
class Sent:
    """CPU is microseconds a mail."""

    per_second: float
    worker_us: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Provider:
    """A counting provider that runs; `open_provider` makes one."""

    url: str
    session: aiohttp.ClientSession

    async def seen(self) -> Seen:
        return await Seen.asked(self.session, self.url)

    async def until(self, count: int, workers: Workers) -> Seen:
        """What it has seen once that is so many mails. Raises TimeoutError, or ChildDied when a worker ends."""
        async with asyncio.timeout(WITHIN):
            while (seen := await self.seen()).count < count:
                workers.check()
                await asyncio.sleep(LOOK)
        return seen


async def measure(plan: Plan) -> Section:
    """The bare clients, one and two processes of ours, the peers; medians of ours."""
    async with AsyncExitStack() as stack:
        database_url = await open_database(stack)
        bare = {
            "bare aiohttp": await _bare("bench.bare.http:aiohttp_sender"),
            "our HTTP client, bare": await _bare("bench.bare.http:our_client_sender"),
        }
        ours = {shape: await _ours(shape, database_url) for shape in (OUR_MAILS.mailing, TWO_PROCESSES)}
        others = {peer: await _sent(peer, peer.mailing, peer.mails) for peer in plan.peers}
    section = Section(
        "Notification jobs",
        f"The provider takes {LATENCY_SECONDS * 1000:.0f} ms. Processes x mails at once in each; medians of {TRIES}, "
        "the peers once, with a plain task: aiohttp, or requests where it blocks. Memory is the sum of peaks.",
        ("", "shape", "mails/s", "worker CPU us", "peak MiB"),
    )
    named = [(OUR_MAILS.name, shape, sent) for shape, sent in ours.items()]
    named += [(peer.name, peer.mailing, sent) for peer, sent in others.items()]
    section.rows += [(name, f"1 x {OUR_MAILS.mailing.slots}", f"{rate:,.0f}", "", "") for name, rate in bare.items()]
    for name, shape, sent in named:
        figures = (sent.per_second, sent.worker_us, sent.peak_mib)
        section.rows.append((name, str(shape), *(f"{figure:,.0f}" for figure in figures)))
    one, two = (sent.per_second for sent in ours.values())
    of_bare = one / bare["our HTTP client, bare"]
    section.targets += [
        Target(
            "notification jobs, one process",
            f"{WANTED_OF_BARE:.0%} of the same HTTP client bare",
            f"{of_bare:.0%} ({one:,.0f}/s)",
            of_bare >= WANTED_OF_BARE,
        ),
        Target(
            "notification jobs, two processes",
            f"more than {WANTED_TIMES_ONE} x one",
            f"{two / one:.2f} x ({two:,.0f}/s)",
            two / one > WANTED_TIMES_ONE,
        ),
    ]
    if others:
        best = max(sent.per_second for sent in others.values())
        wanted = f"ahead of the best peer ({best:,.0f}/s)"
        section.targets.append(Target("notification jobs, two processes", wanted, f"{two:,.0f}/s", two > best))
    return section


async def open_database(stack: AsyncExitStack) -> str:
    """The URL of a PostgreSQL of its own with all tables, which syncs every commit."""
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="indostar-bench-")))
    # PostgreSQL does not run as root, and has to reach its data all the same.
    folder.chmod(0o711)
    postgres = await stack.enter_async_context(EmbeddedPostgres(folder))
    await create_shop_tables(postgres.url)
    await migrate(postgres.url)
    return postgres.url


@asynccontextmanager
async def open_provider(module: str = "bench.provider", *ports: int) -> AsyncIterator[Provider]:
    """What runs as `module`, told a port for its count and then `ports`."""
    port = free_port(0)
    url = f"http://127.0.0.1:{port}"
    child = Child("provider", [OUR_MAILS.python, "-m", module, *map(str, (port, *ports))], folder=PROJECT_ROOT)
    async with aiohttp.ClientSession(trust_env=False) as session:
        provider = Provider(url, session)

        async def answers() -> bool:
            try:
                await provider.seen()
            except aiohttp.ClientConnectorError:
                return False
            return True

        await child.start(answers)
        try:
            yield provider
        finally:
            await child.stop()


async def _bare(sender: str) -> float:
    """Mails per second by a process that does nothing else."""
    system = OUR_MAILS
    rates = []
    for _ in range(TRIES):
        async with open_provider() as provider, open_trial(system, system.mailing, provider_url=provider.url) as trial:
            await trial.produce("fill", "mail", system.mails, system.mailing.slots, sender=sender)
            rates.append((await provider.seen()).per_second)
    return median(rates)


async def _ours(shape: Shape, database_url: str) -> Sent:
    # As many a process: they do not come up at the same moment.
    mails = OUR_MAILS.mails * shape.processes
    tries = [await _sent(OUR_MAILS, shape, mails, database_url=database_url) for _ in range(TRIES)]
    return Sent(
        median([each.per_second for each in tries]),
        median([each.worker_us for each in tries]),
        median([each.peak_mib for each in tries]),
    )


async def _sent(system: System, shape: Shape, mails: int, database_url: str = NO_DATABASE) -> Sent:
    """The queue is filled before the workers start."""
    async with (
        open_provider() as provider,
        open_trial(system, shape, provider_url=provider.url, database_url=database_url) as trial,
    ):
        await trial.fill("mail", mails)
        async with trial.workers() as workers:
            first = await provider.until(1, workers)
            before = workers.usage()
            last = await provider.until(mails, workers)
            await asyncio.sleep(SETTLE)
            used = workers.usage().since(before)
    return Sent(last.per_second, used.cpu_seconds / (last.count - first.count) * 1e6, used.peak_mib)
