"""The run of a date: how it stands, and letting it go on."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.db.engine import Database
from app.db.subscription_runs import SubscriptionRun
from app.deliveries import runs
from app.deliveries.figures import run_with_figures
from app.errors import Refused
from app.jobs.task import TaskRegistry
from app.money import rupees_of
from app.notify.run_report import RunFigures
from app.operations import examples
from app.operations.acting import Acting
from app.operations.actor import Actor


class RunNotPaused(Refused):
    """There is nothing to resume."""

    def __init__(self, day: date) -> None:
        super().__init__(day)
        self.day = day

    def __str__(self) -> str:
        return f"the run of {self.day} is not paused"


class RunView(BaseModel):
    """A run: what it planned (`amount` in rupees, `skipped` by reason), what paused it, and how its charges ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RUN]})

    delivery_date: date
    started_at: datetime
    started_by: str
    finished_at: datetime | None
    charges: int
    amount: Decimal
    skipped: Mapping[str, int]
    notices: int
    paused_at: datetime | None
    paused_because: str | None
    resumed_at: datetime | None
    resumed_by: str | None
    figures: RunFigures

    @classmethod
    def of(cls, run: SubscriptionRun, figures: RunFigures) -> Self:
        return cls(
            delivery_date=run.delivery_date,
            started_at=run.started_at,
            started_by=run.started_by,
            finished_at=run.finished_at,
            charges=run.charges,
            amount=rupees_of(run.charges_paise),
            skipped=run.skipped,
            notices=run.notices,
            paused_at=run.paused_at,
            paused_because=run.paused_because,
            resumed_at=run.resumed_at,
            resumed_by=run.resumed_by,
            figures=figures,
        )


class RunOperations:
    """What operators ask of the runs of deliveries and do with them. Raises UnknownRun and DatabaseUnavailable.

    `refusals` in a row are what a subscription is named for.
    """

    def __init__(self, database: Database, tasks: TaskRegistry, acting: Acting, refusals: int) -> None:
        self._database = database
        self._tasks = tasks
        self._acting = acting
        self._refusals = refusals

    async def find(self, day: date) -> RunView:
        """The run of that date as it stands."""
        return RunView.of(*await run_with_figures(self._database, day, refusals=self._refusals))

    async def resume(self, actor: Actor, day: date) -> RunView:
        """Lets a run that its brake, or somebody, has paused go on, and starts it again. Raises RunNotPaused.

        It does not pause itself a second time: whoever resumes it has seen why it did.
        """
        async with self._acting.on(actor, "run.resume", "run", day.isoformat()):
            if not await runs.resume(self._database, day, actor.name, self._start):
                raise RunNotPaused(day)
        return await self.find(day)

    async def _start(self, session: AsyncSession, run: SubscriptionRun, now: datetime) -> None:
        key = f"resumed:{run.delivery_date}:{now.isoformat()}"
        await outbox.add(session, self._tasks[runs.RUNNING], key=key, delivery_date=run.delivery_date)
