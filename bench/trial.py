"""One system in one shape, with a Valkey and a tally of its own."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from app.dev.environment import development_settings
from app.dev.processes import Child
from app.dev.valkey import EmbeddedValkey
from app.settings import PROJECT_ROOT
from bench.measured import tally
from bench.measured.assignment import Assignment
from bench.systems import Shape, System
from bench.usage import Usage

# How often a state is looked at (seconds): often enough to catch the first of thousands of jobs.
LOOK = 0.01
WARM_UP = 50
NOWHERE = "http://127.0.0.1:9"
NO_DATABASE = "postgresql://nobody@localhost/no"


class ProducerFailed(Exception):
    """A producer ended badly; `words` is what it was told, `output` the end of what it said."""

    def __init__(self, words: str, output: str) -> None:
        super().__init__(words, output)
        self.words = words
        self.output = output

    def __str__(self) -> str:
        return f"the producer failed on {self.words}:\n{self.output}"


class NotInTime(Exception):
    """What was waited for did not happen."""

    def __init__(self, what: str, within: float) -> None:
        super().__init__(what, within)
        self.what = what
        self.within = within

    def __str__(self) -> str:
        return f"not within {self.within:g} seconds: {self.what}"


class Workers:
    """The running worker processes of a trial."""

    def __init__(self, children: list[Child]) -> None:
        self._children = children

    def usage(self) -> Usage:
        return Usage.of(child.pid for child in self._children)

    def check(self) -> None:
        """Raises ChildDied when one has ended."""
        for child in self._children:
            if child.exit_code is not None:
                raise child.died()

    async def until(self, check: Callable[[], bool], *, within: float) -> bool:
        """Whether `check` came true within so many seconds. Raises ChildDied when a worker ends meanwhile."""
        ends = time.monotonic() + within
        while not check():
            self.check()
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(LOOK)
        return True

    async def expect(self, what: str, check: Callable[[], bool], *, within: float = 60) -> None:
        """As `until`, but raises NotInTime."""
        if not await self.until(check, within=within):
            raise NotInTime(what, within)

    async def kill(self) -> None:
        """SIGKILL to all of them at once, and to what they started."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for child in self._children:
            await child.wait()


class Trial:
    """Made by `open_trial`."""

    def __init__(
        self, system: System, shape: Shape, valkey: EmbeddedValkey, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.system = system
        self.valkey = valkey
        self._shape = shape
        self._folder = folder
        self._environment = {**os.environ, **environment}

    async def produce(self, order: str, *arguments: object, sender: str | None = None) -> dict[str, float]:
        """What the producer answers to an order. `sender` is another client for the same queue."""
        words = [sender or self.system.sender, order, *map(str, arguments)]
        producer = await asyncio.create_subprocess_exec(
            self.system.python,
            *("-m", "bench.measured.producer", *words),
            cwd=PROJECT_ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await producer.communicate()
        finally:
            if producer.returncode is None:
                producer.kill()
        if producer.returncode:
            raise ProducerFailed(" ".join(words), errors.decode(errors="replace")[-2000:])
        answer: dict[str, float] = json.loads(output)
        return answer

    async def fill(self, task: str, count: int, *, callers: int = 50) -> None:
        await self.produce("fill", task, count, callers)

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[Workers]:
        """Workers of this trial's shape, killed at the end: what they have not done by then is not measured."""
        copies = self._shape.processes if self.system.copies else 1
        command: list[str | Path] = [self.system.python, "-m", *self.system.worker(self._shape)]
        children = [
            Child(
                self.system.name,
                command,
                environment=self._environment,
                folder=PROJECT_ROOT,
                log=self._folder / f"worker-{time.monotonic_ns()}.log",
            )
            for _ in range(copies)
        ]
        for child in children:
            await child.start()
        workers = Workers(children)
        try:
            yield workers
        finally:
            await workers.kill()

    async def warm(self, workers: Workers) -> None:
        """Returns when the workers have run a few jobs and wait for more."""
        done = self.ran().jobs + WARM_UP
        await self.fill("noop", WARM_UP)
        await workers.expect(f"{self.system.name} warms up", lambda: self.ran().jobs >= done)

    def ran(self) -> tally.Ran:
        return tally.ran(self._tally)

    def notes(self, name: str) -> list[tally.Note]:
        return tally.notes(self._tally, name)

    def valkey_usage(self) -> Usage:
        return Usage.of([self.valkey.pid])

    @property
    def _tally(self) -> Path:
        return self._folder / "tally"


@asynccontextmanager
async def open_trial(
    system: System,
    shape: Shape,
    *,
    provider_url: str = NOWHERE,
    smtp_port: int = 9,
    database_url: str = NO_DATABASE,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Trial]:
    """Everything that a trial needs, and nothing of an earlier one. `environment` wins."""
    with TemporaryDirectory(prefix="indostar-bench-") as name:
        folder = Path(name)
        (folder / "tally").mkdir()
        async with EmbeddedValkey(folder) as valkey:
            assignment = Assignment(
                redis_url=valkey.url,
                tally=str(folder / "tally"),
                slots=shape.slots,
                provider_url=provider_url,
                survives_kill=system.survives_kill,
            )
            settings = {
                **development_settings(folder, provider_url, smtp_port),
                "ENVIRONMENT": "production",
                "DATABASE_URL": database_url,
                "REDIS_URL": valkey.url,
                "LOG_LEVEL": "INFO",
                "DEFAULT_CONCURRENCY": str(shape.slots),
                "NOTIFICATIONS_CONCURRENCY": str(shape.slots),
                # A worker that makes room for its successor has nothing to do with speed.
                "WORKER_MAX_TASKS_PER_CHILD": "0",
            }
            yield Trial(
                system, shape, valkey, folder, {**settings, **assignment.as_environment(), **(environment or {})}
            )
