"""What follows a run: the owner's notes, reminders and a report, each once however often it begins and is stopped."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import count

import pytest

from app.billing.sweeping import CHARGING
from app.db.engine import Database
from app.db.outbox import OutboxJob
from app.deliveries import runs
from app.deliveries.days import end_of_day
from app.dev.fakes import running_fakes
from app.dev.fakes.inbox import Provider
from app.jobs.context import Context
from app.tasks.notifications import send_delivery_skipped_task
from app.tasks.owner_mail import send_run_paused_task, send_stock_out_task
from app.tasks.reminders import send_subscription_renewal_reminders
from app.tasks.reports import report_subscription_run
from app.tasks.resources import open_resources
from app.tasks.run_news import RunNews
from app.tasks.run_watch import watch_subscription_run
from app.tasks.sweeping import sweep_charges
from tests.endings import ended_at
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop
from tests.settings import make_settings

OWNERS = ["owner@example.com", "second@example.com"]
TELLING = send_delivery_skipped_task.name
NEWS = RunNews(OWNERS[:1])


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


async def news(shop: DeliveryShop) -> Sequence[OutboxJob]:
    """The jobs but those that charge, that which takes up what they left behind, and those that watch."""
    others = (CHARGING, sweep_charges.name, watch_subscription_run.name)
    return [job for job in await shop.jobs() if job.task not in others]


async def test_a_run_that_ends_has_the_owner_told_of_stock_and_reminds_and_reports(shop: DeliveryShop) -> None:
    await shop.open(8, products=2, stock=2)
    await shop.sql("UPDATE products SET title = 'Milk ' || id")

    run = await shop.run(news=NEWS)

    found = [(job.task, job.key, job.kwargs) for job in await news(shop)]
    assert found == [
        (
            send_stock_out_task.name,
            f"stock_out:2026-03-02:{product}",
            {
                "email": "owner@example.com",
                "product_name": f"Milk {product}",
                "delivery_date": "2026-03-02",
                "short": 2,
                "charged": 2,
            },
        )
        for product in (1, 2)
    ] + [
        (send_subscription_renewal_reminders.name, "reminders:2026-03-03:8", {"delivery_date": "2026-03-03"}),
        (
            report_subscription_run.name,
            "report:2026-03-02:closing",
            {"delivery_date": "2026-03-02", "closing": True},
        ),
        (report_subscription_run.name, "report:2026-03-02", {"delivery_date": "2026-03-02"}),
    ]
    assert run.finished_at is not None
    assert [job.not_before for job in await news(shop)] == [
        None,
        None,
        None,
        run.finished_at + timedelta(days=6),
        run.finished_at + timedelta(hours=2),
    ]


@pytest.mark.parametrize(
    ("follow_ups", "wait"),
    [
        ([timedelta(days=7)] * 3, timedelta(days=27)),
        ([timedelta(minutes=5), timedelta(days=1)], timedelta(days=7, minutes=5)),
    ],
)
async def test_the_closing_report_waits_for_the_last_look_and_sweep(
    shop: DeliveryShop, follow_ups: Sequence[timedelta], wait: timedelta
) -> None:
    [(today,)] = await shop.sql("SELECT current_date + 1")
    await shop.open(1)

    await shop.run(today, news=RunNews([], follow_ups))

    [closing] = [job for job in await shop.jobs() if job.key == f"report:{today}:closing"]
    assert closing.not_before == end_of_day(today) + wait


@pytest.mark.parametrize("stopped_by", [None, "brake", "person"])
async def test_what_the_jobs_of_its_day_leave_behind_is_swept_when_that_is_over(
    shop: DeliveryShop, stopped_by: str | None
) -> None:
    day = DAY + ONE_DAY
    await shop.open(200)
    await shop.run(page=100)
    if stopped_by == "brake":
        await shop.sql("UPDATE products SET consumer_price = 680")
    if stopped_by == "person":
        async with shop.database.session() as session:
            await runs.begin(session, day, "asha")
        await runs.pause(shop.database, day, "asked by asha")

    run = await shop.run(day, page=150, news=NEWS)

    [job] = [job for job in await shop.jobs() if job.task == sweep_charges.name]
    assert (run.paused_at is not None) == (stopped_by is not None)
    assert (job.key, job.not_before, job.kwargs) == (
        "sweep:2026-03-03",
        end_of_day(day),
        {"delivery_date": "2026-03-03"},
    )


async def test_each_owner_gets_a_note_of_their_own(shop: DeliveryShop) -> None:
    await shop.open(1, stock=0)

    await shop.run(news=RunNews(OWNERS))

    found = [(job.key, job.kwargs["email"]) for job in await news(shop) if job.task == send_stock_out_task.name]
    assert found == [("stock_out:2026-03-02:1", OWNERS[0]), ("stock_out:2026-03-02:1:2", OWNERS[1])]


async def test_without_an_address_the_rest_goes_on(shop: DeliveryShop) -> None:
    await shop.open(1, stock=0)

    await shop.run(news=RunNews([]))

    assert [job.key for job in await news(shop)] == [
        "reminders:2026-03-03:1",
        "report:2026-03-02:closing",
        "report:2026-03-02",
    ]


async def test_an_owner_to_whom_no_mail_can_go_keeps_no_run_from_its_end(shop: DeliveryShop) -> None:
    await shop.open(1, stock=0)
    await shop.sql("UPDATE users SET email = :email WHERE id = 1", email=f"{65 * 'a'}@example.com")

    run = await shop.run(news=RunNews([]))

    assert run.finished_at is not None
    assert [job.task for job in await news(shop)] == [
        send_subscription_renewal_reminders.name,
        report_subscription_run.name,
        report_subscription_run.name,
    ]


async def test_a_second_run_announces_nothing(shop: DeliveryShop) -> None:
    await shop.open(3, stock=1)
    await shop.run(news=NEWS)
    before = await shop.everything()
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY)

    await shop.run(news=NEWS)

    assert (await shop.everything())[1] == before[1]


@pytest.mark.parametrize(("planned", "is_again"), [(2, False), (1, True)])
async def test_a_run_that_begins_again_is_reported_again_where_it_planned_more(
    shop: DeliveryShop, planned: int, is_again: bool
) -> None:
    await shop.open(2)
    await shop.sql("UPDATE subscriptions SET status = 'paused' WHERE id = 2")
    await shop.run(news=NEWS)
    await shop.sql(
        "UPDATE tasks.subscription_runs SET reported = jsonb_build_object('planned', CAST(:n AS int))", n=planned
    )
    await shop.sql("UPDATE subscriptions SET status = 'active' WHERE id = 2")

    run = await shop.run(news=NEWS)

    keys = [job.key for job in await news(shop) if job.task == report_subscription_run.name]
    assert run.finished_at is not None
    again = [f"report:2026-03-02:{run.finished_at.isoformat()}"] if is_again else []
    assert keys == ["report:2026-03-02:closing", "report:2026-03-02", *again]


async def test_whoever_is_planned_by_a_second_run_is_reminded_of_the_next_day_too(shop: DeliveryShop) -> None:
    await shop.open(3)
    await shop.sql("UPDATE subscriptions SET status = 'paused' WHERE id > 1")
    for number in (1, 2, 3):
        await shop.sql("UPDATE subscriptions SET status = 'active' WHERE id = :number", number=number)
        await shop.run(news=NEWS)
    await shop.run(news=NEWS)

    reminding = [job for job in await news(shop) if job.task == send_subscription_renewal_reminders.name]

    assert [job.kwargs for job in reminding] == 3 * [{"delivery_date": "2026-03-03"}]
    assert [job.key for job in reminding] == [f"reminders:2026-03-03:{planned}" for planned in (1, 2, 3)]


async def test_of_a_run_that_ends_at_any_await_everybody_is_told_once(database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    shop = DeliveryShop(database)
    await shop.open(2, stock=0)
    for days, step in enumerate(count(1, 2), start=1):
        day = DAY + (days - 1) * ONE_DAY
        dying = Database(database_url, application_name="indostar test", pool_size=2)
        has_ended = await ended_at(step, DeliveryShop(dying).run(day, telling=TELLING, news=NEWS))
        await dying.close()

        await shop.run(day, telling=TELLING, news=NEWS)

        assert [job.key for job in await news(shop)][-6:] == [
            f"delivery:1:{day}:skipped",
            f"delivery:2:{day}:skipped",
            f"stock_out:{day}:1",
            f"reminders:{day + ONE_DAY}:2",
            f"report:{day}:closing",
            f"report:{day}",
        ]
        assert len(await news(shop)) == 6 * days
        if has_ended:
            break
    assert days > 12
    await database.close()


async def test_a_brake_tells_the_owner_at_once(shop: DeliveryShop) -> None:
    await shop.open(200)
    await shop.run(page=100)
    await shop.sql("UPDATE products SET consumer_price = 680")

    run = await shop.run(DAY + ONE_DAY, page=150, news=RunNews(OWNERS))
    await shop.run(DAY + ONE_DAY, page=150, news=RunNews(OWNERS))

    assert run.paused_at is not None
    first, second = await news(shop)
    key = f"run_paused:2026-03-03:{run.paused_at.isoformat()}"
    assert (first.task, first.key, second.key) == (send_run_paused_task.name, key, f"{key}:2")
    assert first.kwargs == {
        "email": "owner@example.com",
        "delivery_date": "2026-03-03",
        "paused_because": run.paused_because,
        "charges": 0,
        "amount": "0.00",
    }


async def test_the_notes_reach_the_owner(shop: DeliveryShop) -> None:
    await shop.open(200)
    await shop.run(page=100)
    await shop.sql("UPDATE products SET consumer_price = 680, stock_quantity = 150, title = E'Milk\\n<1>'")
    await shop.run(DAY + ONE_DAY, page=150, news=NEWS)
    await shop.sql("UPDATE tasks.subscription_runs SET paused_at = NULL, paused_because = NULL, resumed_at = now()")
    await shop.run(DAY + ONE_DAY, page=150, news=NEWS)

    async with running_fakes() as fakes:
        url = shop.database.engine.url.render_as_string(hide_password=False)
        async with open_resources(make_settings(fakes_url=fakes.url, database_url=url)) as resources:
            for task in (send_run_paused_task, send_stock_out_task):
                [job] = [job for job in await news(shop) if job.task == task.name]
                moment = job.created_at
                await task(Context(f"j{job.id}", f"j{job.id}", task.name, 1, 4, moment, resources), **job.kwargs)

        stock_out, paused = fakes.inbox.find(Provider.SENDGRID)
    assert paused.subject == "The deliveries of 3 March 2026 are on hold"
    assert "Rs 680.00 after Rs 68.00" in (paused.text or "")
    assert stock_out.subject == "Milk <1> ran out: 50 of the deliveries of 3 March 2026 skipped"
    assert "Deliveries that got theirs: 150\n" in (stock_out.text or "")
