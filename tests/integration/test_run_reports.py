"""The report on a run: figures that add up, sent once, and again only where they have changed."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from app.billing.statements import REFUSED_AGAIN
from app.db.charges import ChargeState
from app.db.engine import Database
from app.db.outbox import OutboxJob
from app.deliveries import runs
from app.deliveries.figures import figures_of
from app.deliveries.runs import UnknownRun
from app.dev.fakes import running_fakes
from app.dev.fakes.inbox import Provider
from app.jobs.context import Context, Resources
from app.notify.run_report import MOST_NAMED, RunFigures, headline
from app.tasks.owner_mail import send_run_report_task
from app.tasks.reports import ReportResult, report_subscription_run
from app.tasks.resources import open_resources
from tests.endings import ended_at
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop
from tests.integration.test_delivery_brake import settle
from tests.settings import make_settings


@dataclass(frozen=True, slots=True)
class Reporting(DeliveryShop):
    """The shop, with reports on its runs."""

    async def report(
        self, day: date = DAY, *, owners: str = "owner@example.com", refusals: int = 3, **arguments: Any
    ) -> ReportResult:
        resources = Resources([self.database, make_settings(owner_email=owners, max_failed_deliveries=refusals)])
        context = Context("j1", "j1", report_subscription_run.name, 1, 4, datetime.now(UTC), resources)
        return await report_subscription_run(context, day, **arguments)

    async def figures(self, day: date = DAY, *, refusals: int = 3) -> RunFigures:
        return await figures_of(self.database, day, refusals=refusals)

    async def news(self) -> Sequence[OutboxJob]:
        return [job for job in await self.jobs() if "report" in job.task]

    async def settle(self, state: ChargeState, *numbers: int, day: date = DAY) -> None:
        """Moves these subscriptions' charges of the day on to that state."""
        for step in ("pending", state):
            await self.sql(
                "UPDATE tasks.charges SET state = CAST(:step AS text), reason = 'told', razorpay_payment_id = 'pay',"
                " units_held = 0 WHERE delivery_date = :day AND subscription_id = ANY(CAST(:numbers AS integer[]))",
                step=step,
                day=day,
                numbers=numbers,
            )

    async def refuse(self, *numbers: int, day: date = DAY) -> None:
        """Refused by their banks, and paused where that was too often."""
        await self.settle("refused", *numbers, day=day)
        rows = await self.sql(
            "SELECT subscription_id, way FROM tasks.charges WHERE delivery_date = :day AND state = 'refused'", day=day
        )
        refused = {
            "ids": [row.subscription_id for row in rows],
            "days": [day for _ in rows],
            "ways": [row.way for row in rows],
            "days_back": 42,
            "refusals": 3,
        }
        async with self.database.session() as session:
            await session.execute(REFUSED_AGAIN, refused)


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Reporting]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield Reporting(database)
    await database.close()


def named(figures: RunFigures, which: str) -> tuple[list[tuple[str, str]], int]:
    told = getattr(figures, which)
    return [(each.order_number, each.state) for each in told.first], told.more


async def test_figures_add_up_to_all_deliveries_of_the_day(shop: Reporting) -> None:
    await shop.open(12, products=2, stock=5)
    await shop.sql("UPDATE products SET title = 'Milk ' || id")
    await shop.sql("UPDATE users SET is_active = false WHERE id = 2")
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id = 3", day=DAY - 2 * ONE_DAY)
    await shop.run()
    await shop.settle("captured", 2, 3, 4)
    await shop.settle("refused", 5)
    await shop.settle("unknown", 7)
    await shop.settle("pending", 6)

    figures = await shop.figures()

    assert {total.state: (total.deliveries, total.amount) for total in figures.outcomes} == {
        "captured": (3, Decimal("204.00")),
        "pending": (1, Decimal("68.00")),
        "unknown": (1, Decimal("68.00")),
        "planned": (4, Decimal("272.00")),
        "refused": (1, Decimal("68.00")),
        "skipped": (2, Decimal("136.00")),
    }
    assert [(skip.reason, skip.deliveries) for skip in figures.skipped] == [("customer_inactive", 1), ("no_stock", 1)]
    assert [(product.product_name, product.deliveries) for product in figures.short.first] == [("Milk 1", 1)]
    assert (figures.planned, figures.missed) == (14, 2)
    assert sum(total.deliveries for total in figures.outcomes) == figures.planned - figures.missed


async def test_what_is_open_is_named_the_unknown_first(shop: Reporting) -> None:
    await shop.open(MOST_NAMED + 4)
    await shop.run()
    await shop.settle("captured", 1)
    await shop.settle("unknown", 5)
    await shop.settle("pending", 2)

    first, more = named(await shop.figures(), "open")

    assert first[:3] == [
        ("SUB-20260302-5", "unknown"),
        ("SUB-20260302-2", "pending"),
        ("SUB-20260302-3", "planned"),
    ]
    assert (len(first), more) == (MOST_NAMED, 3)


async def test_a_run_on_hold_says_why(shop: Reporting) -> None:
    await shop.open(1)
    await shop.run()
    await runs.pause(shop.database, DAY, "asked by asha")

    assert (await shop.figures()).on_hold == "asked by asha"


async def test_what_is_owed_is_named(shop: Reporting) -> None:
    await shop.open(2)
    await shop.run()
    await shop.settle("captured", 1, 2)
    await shop.sql("UPDATE tasks.charges SET is_owed = true WHERE subscription_id = 2")

    assert named(await shop.figures(), "owed") == ([("SUB-20260302-2", "captured")], 0)


@pytest.mark.parametrize(
    ("states", "is_told"),
    [
        (["refused", "refused", "refused"], True),
        (["captured", "refused", "refused", "refused"], True),
        (["refused", "refused"], False),
        (["refused", "captured", "refused", "refused"], False),
        (["refused", "refused", "captured"], False),
        (["refused", "skipped", "refused", "refused"], True),
        (["refused", "refused", "skipped"], False),
    ],
)
async def test_subscriptions_that_were_refused_several_times_in_a_row_are_named(
    shop: Reporting, states: list[ChargeState], is_told: bool
) -> None:
    """The first two by mandate, the second of which somebody lets go on afterwards; the third by invoice."""
    await shop.open(3)
    await shop.sql("INSERT INTO tasks.mandates SELECT n, 'cust', 'token', 'upi' FROM generate_series(1, 2) n")
    for days, state in enumerate(states):
        day = DAY + days * ONE_DAY
        await shop.sql("UPDATE products SET is_active = :there", there=state != "skipped")
        await shop.run(day)
        await shop.sql("UPDATE tasks.charges SET state = 'submitting' WHERE state = 'planned' AND way = 'mandate'")
        if state == "refused":
            await shop.refuse(1, 2, 3, day=day)
        elif state != "skipped":
            await shop.settle(state, 1, 2, 3, day=day)
    await shop.sql("UPDATE subscriptions SET status = 'active' WHERE id = 2")

    figures = await shop.figures(DAY + (len(states) - 1) * ONE_DAY)

    paused = await shop.sql("SELECT id FROM subscriptions WHERE status = 'paused'")
    assert (figures.paused.first, figures.billed_on.first) == (((1, 2), (3,)) if is_told else ((), ()))
    assert [row.id for row in paused] == ([1] if is_told else [])


async def test_a_customer_who_paused_by_themselves_is_not_named(shop: Reporting) -> None:
    await shop.open(1)
    await shop.sql("INSERT INTO tasks.mandates VALUES (1, 'cust', 'token', 'upi')")
    for days in range(3):
        await shop.run(DAY + days * ONE_DAY)
        await shop.sql("UPDATE tasks.charges SET state = 'submitting' WHERE state = 'planned'")
        if days == 2:
            await shop.sql("UPDATE subscriptions SET status = 'paused'")
        await shop.refuse(1, day=DAY + days * ONE_DAY)

    assert (await shop.figures(DAY + 2 * ONE_DAY)).paused.first == ()


@pytest.mark.parametrize(("most", "named_ids"), [(1, [1, 2]), (2, []), (0, [])])
async def test_the_setting_says_how_many_refusals_are_named(shop: Reporting, most: int, named_ids: list[int]) -> None:
    await shop.open(2)
    await shop.run()
    await shop.settle("refused", 1, 2)

    await shop.report(refusals=most)

    [job] = [job for job in await shop.news() if job.task == send_run_report_task.name]
    assert job.kwargs["figures"]["billed_on"]["first"] == named_ids


async def test_a_date_without_a_run_is_refused(shop: Reporting) -> None:
    await shop.open(1)

    with pytest.raises(UnknownRun):
        await shop.report()


async def test_a_report_goes_to_each_owner(shop: Reporting) -> None:
    await shop.open(2)
    await shop.run()
    await shop.settle("captured", 1)

    result = await shop.report(owners="owner@example.com,second@example.com")

    assert result == {
        "delivery_date": DAY,
        "report": "sent",
        "mails": 2,
        "deliveries": {"captured": 1, "planned": 1},
        "amount_paid": Decimal("68.00"),
    }
    mails = await shop.news()
    assert [(mail.task, mail.kwargs["email"]) for mail in mails] == [
        (send_run_report_task.name, "owner@example.com"),
        (send_run_report_task.name, "second@example.com"),
    ]
    assert RunFigures.model_validate(mails[0].kwargs["figures"]) == await shop.figures()
    [(outcomes,)] = await shop.sql("SELECT outcomes FROM tasks.subscription_runs")
    assert outcomes == {"captured": {"charges": 1, "paise": 6800}, "planned": {"charges": 1, "paise": 6800}}


async def test_what_was_reported_is_not_reported_again(shop: Reporting) -> None:
    await shop.open(2)
    await shop.run()
    await shop.report()
    before = await shop.everything()

    again, closing = await shop.report(), await shop.report(closing=True)

    assert [again["report"], closing["report"]] == ["unchanged", "unchanged"]
    assert (await shop.everything())[1] == before[1]


async def test_a_closing_report_tells_what_has_changed(shop: Reporting) -> None:
    await shop.open(2)
    await shop.run()
    await shop.settle("pending", 1)
    await shop.report()
    await shop.settle("captured", 1)

    closing = await shop.report(closing=True)

    assert (closing["report"], closing["mails"]) == ("sent", 1)
    mail = (await shop.news())[-1]
    assert (mail.task, mail.kwargs["is_closing"]) == (send_run_report_task.name, True)


async def test_where_the_first_report_failed_the_closing_one_is_the_first(shop: Reporting) -> None:
    await shop.open(1)
    await shop.run()

    closing = await shop.report(closing=True)

    [mail] = await shop.news()
    assert (closing["report"], mail.kwargs["is_closing"]) == ("sent", False)


async def test_a_customer_who_goes_on_after_a_pause_changes_no_outcome(shop: Reporting) -> None:
    await shop.open(1)
    await shop.sql("INSERT INTO tasks.mandates VALUES (1, 'cust', 'token', 'upi')")
    for days in range(3):
        await shop.run(DAY + days * ONE_DAY)
        await shop.sql("UPDATE tasks.charges SET state = 'submitting' WHERE state = 'planned'")
        await shop.refuse(1, day=DAY + days * ONE_DAY)
    day = DAY + 2 * ONE_DAY
    assert (await shop.report(day))["report"] == "sent"

    await shop.sql("UPDATE subscriptions SET status = 'active'")

    assert (await shop.report(day, closing=True))["report"] == "unchanged"
    assert (await shop.figures(day)).paused.first == (1,)


async def test_a_product_that_was_renamed_changes_no_outcome(shop: Reporting) -> None:
    await shop.open(2, stock=1)
    await shop.run()
    assert (await shop.report())["report"] == "sent"

    await shop.sql("UPDATE products SET title = 'Fresh milk'")

    assert (await shop.report(closing=True))["report"] == "unchanged"


async def test_what_was_given_up_at_the_end_of_the_day_is_not_called_refused(shop: Reporting) -> None:
    await shop.open(3)
    await shop.run()
    await settle(shop, DAY, "refused", 2, reason="not_charged_in_time")
    await shop.settle("refused", 3)

    figures, told = await shop.figures(), await shop.report()

    assert headline(figures) == "1 refused, 2 not charged in time"
    assert told["deliveries"] == {"refused": 1, "not_charged_in_time": 2}


async def test_while_there_is_nobody_to_tell_it_is_not_told(shop: Reporting) -> None:
    await shop.open(1)
    await shop.run()

    unheard = await shop.report(owners="")
    await shop.sql("UPDATE users SET email = 'owner@example.com' WHERE id = 1")
    heard = await shop.report(owners="")

    assert (unheard["report"], unheard["mails"]) == ("nobody to tell", 0)
    assert (heard["report"], heard["mails"]) == ("sent", 1)


async def test_a_report_that_ends_at_any_await_is_sent_once(database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    shop = Reporting(database)
    await shop.open(2)
    for days, step in enumerate(count(1, 2), start=1):
        day = DAY + (days - 1) * ONE_DAY
        await shop.run(day)
        dying = Database(database_url, application_name="indostar test", pool_size=2)
        has_ended = await ended_at(step, Reporting(dying).report(day))
        await dying.close()

        await shop.report(day)

        assert len(await shop.news()) == days
        if has_ended:
            break
    assert days > 12
    await database.close()


async def test_the_owner_reads_it(shop: Reporting) -> None:
    await shop.open(3, stock=2)
    await shop.run()
    await shop.settle("captured", 1)
    await shop.report()
    mail = (await shop.news())[0]

    async with running_fakes() as fakes:
        url = shop.database.engine.url.render_as_string(hide_password=False)
        async with open_resources(make_settings(fakes_url=fakes.url, database_url=url)) as resources:
            context = Context("j1", "j1", mail.task, 1, 4, datetime.now(UTC), resources)
            await send_run_report_task(context, **mail.kwargs)

        [received] = fakes.inbox.find(Provider.SENDGRID)
    assert received.subject == "Deliveries of 2 March 2026: 1 paid, 1 not charged yet, 1 skipped"
    assert "Paid: 1, ₹68.00\n" in (received.text or "")
    assert "SUB-20260302-2: not charged yet, ₹68.00, subscription 2\n" in (received.text or "")
