"""Opening all that operators work with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from app.db.engine import Database
from app.deliveries.days import latest_day
from app.deliveries.decisions import MissedDeliveries
from app.history.reader import HistoryReader
from app.jobs.events import EventStream
from app.jobs.pool import JobPool
from app.letters.control import DeadLetters
from app.operations.acting import Acting
from app.operations.explaining import Explainer
from app.operations.finding import JobFinder
from app.operations.jobs import JobOperations
from app.operations.previews import DeliveryPreview
from app.operations.queues import QueueOperations
from app.operations.runs import RunOperations
from app.operations.schedules import ScheduleOperations
from app.operations.views import TaskView
from app.operations.workers import WorkerOperations
from app.schedules.control import ScheduleControl
from app.settings import OperationsSettings
from app.steering.audit import AuditTrail
from app.steering.pauses import QueuePauses
from app.tasks.schedules import tasks_by

# An operator waits for the answer, and what needs no PostgreSQL must not wait for it any longer.
CONNECT_WITHIN = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Operations:
    """What operators ask and do, and what that rests on."""

    pool: JobPool
    database: Database
    stream: EventStream
    schedule_control: ScheduleControl
    jobs: JobOperations
    queues: QueueOperations
    workers: WorkerOperations
    schedules: ScheduleOperations
    runs: RunOperations
    explainer: Explainer
    missed_deliveries: MissedDeliveries
    timezone: ZoneInfo

    def tasks(self) -> list[TaskView]:
        """Every task that can be enqueued, with the schema of its arguments."""
        return [TaskView.of(task) for task in self.pool.tasks]

    def preview(self, day: date, now: datetime) -> DeliveryPreview:
        """What the run of that date would do now."""
        return DeliveryPreview(self.database, day, self.missed_deliveries, latest_day(now, self.timezone))


@asynccontextmanager
async def open_operations(settings: OperationsSettings, *, application_name: str) -> AsyncIterator[Operations]:
    """Connections of their own, made when they are first needed; `application_name` is what PostgreSQL calls them."""
    pool = JobPool.from_dsn(settings.redis_url.get_secret_value(), tasks_by(settings))
    database = Database(
        settings.database_url.get_secret_value(), application_name=application_name, connect_timeout=CONNECT_WITHIN
    )
    stream = EventStream(pool.connection_pool)
    acting = Acting(AuditTrail(database, pool, settings.audit_actor_id))
    history = HistoryReader(database)
    finder = JobFinder(pool, database, history)
    letters = DeadLetters(database, pool, stream)
    explainer = Explainer(database, pool, history, letters, finder)
    timezone = ZoneInfo(settings.schedule_timezone)
    control = ScheduleControl(database, pool.tasks, timezone)
    queues = QueueOperations(pool, QueuePauses(pool, database), acting)
    try:
        yield Operations(
            pool=pool,
            database=database,
            stream=stream,
            schedule_control=control,
            jobs=JobOperations(pool, history, letters, finder, acting),
            queues=queues,
            workers=WorkerOperations(pool),
            schedules=ScheduleOperations(pool, control, finder, acting),
            runs=RunOperations(database, pool.tasks, acting, settings.max_failed_deliveries),
            explainer=explainer,
            missed_deliveries=settings.missed_deliveries,
            timezone=timezone,
        )
    finally:
        await explainer.aclose()
        await queues.aclose()
        await stream.aclose()
        await database.close()
        await pool.aclose()
