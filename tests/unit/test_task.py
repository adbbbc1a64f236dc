from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import pytest
from arq.connections import ArqRedis
from arq.cron import cron
from pydantic import Field

from app.jobs.context import Context, Resources
from app.jobs.failures import UnknownTask, WrongArguments
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry

registry = TaskRegistry()


def _some_recipient(arguments: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    return [] if arguments["email"] or arguments["phone"] else [("email", "is needed where there is no phone")]


@registry.task(queue=Queue.NOTIFICATIONS, visible={"order"}, check=_some_recipient)
async def tell(
    context: Context,
    order: Annotated[str, Field(min_length=1)],
    email: str | None,
    phone: str | None = None,
    total: Decimal = Decimal(0),
    day: date | None = None,
) -> str:
    """Tell the customer about an order.

    The rest is for readers of the code.
    """
    return f"{context.job_id} {order} {email} {total!r} {day!r}"


@registry.task(queue=Queue.DEFAULT, schedule=partial(cron, hour=2, minute=0))
async def sweep(context: Context) -> None:
    """Sweep."""


def context() -> Context:
    return Context(
        job_id="j1",
        root_id="j1",
        task="tell",
        job_try=1,
        max_tries=4,
        enqueued_at=datetime(2026, 1, 5, tzinfo=UTC),
        resources=Resources(),
    )


async def test_a_task_is_awaited_like_the_function_it_is() -> None:
    told = await tell(context(), "SUB-1", email=None, phone="98", total=Decimal("4.50"), day=date(2026, 1, 5))

    assert told == "j1 SUB-1 None Decimal('4.50') datetime.date(2026, 1, 5)"


async def test_a_task_gets_its_arguments_in_the_declared_types() -> None:
    arguments = tell.arguments.validated((), {"order": "A", "email": "e", "total": "4.50", "day": "2026-01-05"})

    assert arguments == {
        "order": "A",
        "email": "e",
        "phone": None,
        "total": Decimal("4.50"),
        "day": date(2026, 1, 5),
    }


def test_a_payload_is_plain_json_without_defaults() -> None:
    payload = tell.arguments.payload(("A", "e"), {"total": Decimal("4.50"), "day": date(2026, 1, 5)})

    assert payload == {"order": "A", "email": "e", "total": "4.50", "day": "2026-01-05"}


@pytest.mark.parametrize(
    ("args", "kwargs", "faults"),
    [
        ((), {"email": "e"}, ["order"]),
        ((), {"order": "", "email": "e"}, ["order"]),
        ((), {"order": "A", "email": "e", "ordr": 1}, ["ordr"]),
        ((), {"order": 5, "email": [], "day": "soon"}, ["order", "email", "day"]),
        (("A",), {"order": "A", "email": "e"}, ["order"]),
        (("A", "e", None, 1, None, "surplus"), {}, [""]),
        ((), {"order": "A", "email": None}, ["email"]),
        ((), {"order": "A", "email": "e", "total": float("nan")}, ["total"]),
    ],
)
def test_wrong_arguments_are_refused_by_name(args: Sequence[Any], kwargs: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(WrongArguments) as refusal:
        tell.arguments.payload(args, kwargs)

    assert [argument for argument, _ in refusal.value.faults] == faults


def test_a_refusal_never_repeats_the_value() -> None:
    with pytest.raises(WrongArguments) as refusal:
        tell.arguments.payload((), {"order": "A", "email": "e", "day": "asha@example.com"})

    assert "asha" not in str(refusal.value)


def test_an_unknown_task_is_refused_with_what_was_meant() -> None:
    with pytest.raises(UnknownTask, match="did you mean sweep"):
        registry["sweeep"]


def test_what_is_not_declared_visible_is_hidden() -> None:
    assert tell.shown({"order": "SUB-1", "email": "e"}) == {"order": "SUB-1", "email": "hidden"}


def test_the_summary_is_the_docstrings_first_line() -> None:
    assert tell.summary == "Tell the customer about an order."


def test_a_schedule_is_an_arq_cron_job() -> None:
    assert sweep.schedule is not None
    assert (sweep.schedule.cron.hour, sweep.schedule.cron.minute) == (2, 0)
    assert sweep.schedule.crontab.expression == "0 2 * * *"


def test_a_schedule_gives_its_task_the_day_it_works_for() -> None:
    registry = TaskRegistry()

    @registry.task(queue=Queue.DEFAULT, schedule=partial(cron, hour=0, minute=0), catch_up=timedelta(hours=12))
    async def deliver(context: Context, milk: str = "cow", delivery_date: date | None = None) -> None:
        """Deliver."""

    assert deliver.schedule is not None
    assert deliver.schedule.catch_up == timedelta(hours=12)
    assert deliver.schedule.kwargs(date(2026, 3, 1)) == {"delivery_date": "2026-03-01"}
    assert sweep.schedule is not None
    assert sweep.schedule.kwargs(date(2026, 3, 1)) == {}


async def weigh(context: Context) -> None:
    """Weigh."""


async def pour(context: Context, litres: int, date: date) -> None:
    """Pour."""


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (weigh, {"schedule": partial(cron, hour=25)}, "the schedule of weigh: hour 25 is not from 0 to 23"),
        (weigh, {"schedule": partial(cron, month=2, day=30)}, "the schedule of weigh: no day ever matches"),
        (weigh, {"schedule": cron, "catch_up": timedelta(-1)}, "the schedule of weigh: catch_up .* is negative"),
        (pour, {"schedule": cron}, "the schedule of pour: nobody gives it litres"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_by_its_name(function: Any, options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TaskRegistry().task(queue=Queue.DEFAULT, **options)(function)


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="two tasks are called sweep"):

        @registry.task(queue=Queue.DEFAULT)
        async def sweep(context: Context) -> None:
            """Another."""


def test_showing_an_argument_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="no argument phon to show"):

        @registry.task(queue=Queue.DEFAULT, visible={"phon"})
        async def call(context: Context, phone: str) -> None:
            """Call."""


def test_an_argument_that_is_secret_can_not_be_shown() -> None:
    with pytest.raises(TypeError, match="can't both show link"):

        @registry.task(queue=Queue.DEFAULT, visible={"link"}, secret={"link"})
        async def invite(context: Context, link: str) -> None:
            """Invite."""


def test_a_plain_function_is_no_task() -> None:
    with pytest.raises(TypeError, match="not an async function"):

        @registry.task(queue=Queue.DEFAULT)  # type: ignore[arg-type]  # the mistake under test
        def not_async(context: Context) -> None:
            """Not async."""


async def mypy_checks_the_arguments_of_a_typed_enqueue(pool: ArqRedis) -> None:
    """Never run: `make check` fails where one of these is not an error."""
    await tell.enqueue(pool, "SUB-1")  # type: ignore[call-arg]  # email is missing
    await tell.enqueue(pool, "SUB-1", email=5)  # type: ignore[arg-type]
    await tell.using(job_id="j1").enqueue(pool, "SUB-1", "e", phon="98")  # type: ignore[call-arg]
    await tell.using(jobid="j1").enqueue(pool, "SUB-1", "e")  # type: ignore[call-arg]
