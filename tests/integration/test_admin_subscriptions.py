"""Previews, runs and reconciliations over the admin API."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from admin_api.application import create_app
from app.db.engine import Database
from app.deliveries import runs
from app.dev.fakes import running_fakes
from app.dev.fakes.razorpay import KEY_ID, KEY_SECRET
from app.jobs.breaker import Breaker
from app.jobs.breaker_state import Verdict
from app.jobs.breaker_store import BreakerStore
from app.tasks import TASKS
from tests.integration.admin_client import OPERATOR, VIEWER, client_of
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop
from tests.running import open_pool
from tests.settings import make_settings

RUN = f"/admin/subscriptions/runs/{DAY}"


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


@pytest.fixture
async def api(database_url: str, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with running_fakes() as fakes:
        settings = make_settings(
            database_url=database_url,
            redis_url=redis_url,
            razorpay_key_id=KEY_ID,
            razorpay_key_secret=KEY_SECRET,
            razorpay_base_url=fakes.url,
        )
        async with client_of(create_app(settings)) as client:
            yield client


async def test_a_preview_says_what_the_run_then_does(shop: DeliveryShop, api: httpx.AsyncClient) -> None:
    await shop.open(4, stock=3)
    await shop.sql("UPDATE users SET is_active = false WHERE id = 2")
    await shop.sql("UPDATE subscriptions SET status = 'paused' WHERE id = 4")
    before = await shop.everything()

    answer = await api.get("/admin/subscriptions/preview", params={"date": str(DAY)})
    unchanged = await shop.everything()
    await shop.run()

    preview = answer.json()
    assert unchanged == before
    assert (preview["date"], preview["is_stock_known"]) == (str(DAY), True)
    assert [(each["subscription_id"], each["action"], each["amount"], each["reason"]) for each in preview["items"]] == [
        (
            charge.subscription_id,
            "skip" if charge.reason else "charge",
            f"{charge.amount_paise / 100:.2f}",
            charge.reason,
        )
        for charge in await shop.charges()
    ]
    assert preview["totals"] == {
        "charges": {"invoice": 2},
        "amount": {"invoice": "136.00"},
        "skipped": {"customer_inactive": 1},
        "short": {},
    }


async def test_a_preview_of_a_day_to_come_says_that_its_stock_is_not_known(
    shop: DeliveryShop, api: httpx.AsyncClient
) -> None:
    today = datetime.now(UTC).date()
    await shop.open(1)
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=today + ONE_DAY)

    preview = (await api.get("/admin/subscriptions/preview", params={"date": str(today + 3 * ONE_DAY)})).json()

    assert [(each["delivery_date"], each["reason"]) for each in preview["items"]] == [(str(today + 3 * ONE_DAY), None)]
    assert preview["is_stock_known"] is False


async def test_previews_take_turns_until_they_are_read(database_url: str, redis_url: str) -> None:
    app = create_app(make_settings(database_url=database_url, redis_url=redis_url))
    under_way: list[int] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            under_way.append(turns.under_way)
            await send(message)

        await app(scope, receive, sending)

    async with client_of(app) as api:
        turns = app.state.indostar.previews
        with turns.turn(), turns.turn():
            refused = await api.get("/admin/subscriptions/preview")
            stranger = await api.get("/admin/subscriptions/preview", headers={"Authorization": ""})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://admin") as watching:
            answer = await watching.get("/admin/subscriptions/preview", headers=VIEWER)

    assert (refused.status_code, refused.headers["Retry-After"], stranger.status_code) == (429, "10", 401)
    assert answer.status_code == 200
    assert (set(under_way), turns.under_way) == ({1}, 0)


async def test_a_preview_without_postgresql_says_so(redis_url: str) -> None:
    settings = make_settings(database_url="postgresql://me:secret@127.0.0.1:9/x", redis_url=redis_url)

    async with client_of(create_app(settings)) as api:
        answers = [await api.get("/admin/subscriptions/preview") for _ in range(3)]

    assert [(each.status_code, each.json()) for each in answers] == [
        (503, {"detail": "PostgreSQL can't be reached"})
    ] * 3


async def test_a_run_is_told_of_with_what_is_open(shop: DeliveryShop, api: httpx.AsyncClient) -> None:
    await shop.open(3, stock=2)
    await shop.run()

    run = (await api.get(RUN)).json()

    assert (run["charges"], run["amount"], run["skipped"]) == (2, "136.00", {"no_stock": 1})
    assert (run["finished_at"] is None, run["paused_at"]) == (False, None)
    assert {each["state"]: each["deliveries"] for each in run["figures"]["outcomes"]} == {"planned": 2, "skipped": 1}
    assert [each["order_number"] for each in run["figures"]["open"]["first"]] == ["SUB-20260302-1", "SUB-20260302-2"]


async def test_a_paused_run_is_resumed_once_and_starts_again(shop: DeliveryShop, api: httpx.AsyncClient) -> None:
    await shop.open(1)
    await shop.run()
    await runs.pause(shop.database, DAY, "of the latest 200 charges 60 % are refused")

    paused = (await api.get(RUN)).json()
    forbidden = await api.post(f"{RUN}/resume", headers=VIEWER)
    resumed = await api.post(f"{RUN}/resume")
    again = await api.post(f"{RUN}/resume")

    assert paused["paused_because"] == "of the latest 200 charges 60 % are refused"
    assert (forbidden.status_code, resumed.status_code, again.status_code) == (403, 200, 409)
    assert again.json() == {"detail": f"the run of {DAY} is not paused"}
    assert (resumed.json()["paused_at"], resumed.json()["resumed_by"] is None) == (None, False)
    started = await shop.sql("SELECT kwargs FROM tasks.outbox WHERE task = 'process_due_subscriptions'")
    assert [row.kwargs for row in started] == [{"delivery_date": str(DAY)}]
    audit = await shop.sql("SELECT action, object_id, result FROM tasks.audit ORDER BY at")
    assert [tuple(row) for row in audit] == [("run.resume", str(DAY), "done"), ("run.resume", str(DAY), "refused")]


async def test_a_reconciliation_tells_each_sides_word(shop: DeliveryShop, api: httpx.AsyncClient) -> None:
    await shop.open(2)
    await shop.sql("INSERT INTO tasks.mandates VALUES (1, 'cust_1', 'token_1', 'upi'), (2, 'cust_2', 'token_2', 'upi')")
    await shop.run()
    await shop.sql("UPDATE tasks.charges SET state = 'submitting' WHERE subscription_id = 2")
    await shop.sql(
        "UPDATE tasks.charges SET state = 'captured', razorpay_payment_id = 'pay_1' WHERE subscription_id = 2"
    )

    found = (await api.get("/admin/subscriptions/reconcile", params={"date": str(DAY)})).json()

    assert (found["deliveries"], found["captured"]) == ({"planned": 1, "captured": 1}, "68.00")
    assert found["discrepancies"] == {"open": 1, "not_paid_at_gateway": 1, "order_missing": 1}
    worst = next(each for each in found["items"] if each["kind"] == "not_paid_at_gateway")
    assert (worst["subscription_id"], worst["shop"], worst["gateway"]) == (2, None, [])
    assert (worst["ledger"]["state"], worst["ledger"]["razorpay_payment_id"]) == ("captured", "pay_1")
    assert worst["next_step"]


async def test_a_reconciliation_has_its_turn_and_its_time(database_url: str, redis_url: str) -> None:
    async with running_fakes() as fakes:
        app = create_app(make_settings(database_url=database_url, redis_url=redis_url, razorpay_base_url=fakes.url))
        async with client_of(app) as api:
            opened = app.state.indostar
            with opened.reconciliations.turn():
                refused = await api.get("/admin/subscriptions/reconcile")
            app.state.indostar = replace(opened, longest_reconciliation=timedelta(0))
            too_long = await api.get("/admin/subscriptions/reconcile", params={"date": str(DAY)})
            app.state.indostar = opened
            done = await api.get("/admin/subscriptions/reconcile", params={"date": str(DAY)})

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert (too_long.status_code, done.status_code) == (503, 200)
    assert f"`indostar reconcile --date {DAY}`" in too_long.json()["detail"]


async def test_viewers_are_not_told_the_gateways_words(database_url: str, redis_url: str) -> None:
    settings = make_settings(
        database_url=database_url, redis_url=redis_url, razorpay_base_url="http://127.0.0.1:9", razorpay_key_id=KEY_ID
    )

    async with client_of(create_app(settings)) as api:
        [viewer, operator] = [
            (await api.get("/admin/subscriptions/reconcile", headers=headers)).json()["detail"]
            for headers in (VIEWER, OPERATOR)
        ]

    assert viewer.startswith("razorpay can't be reached (")
    assert operator.startswith(f"{viewer}: ")


async def test_a_gateway_that_the_workers_leave_alone_is_left_alone(
    database_url: str, redis_url: str, api: httpx.AsyncClient
) -> None:
    async with open_pool(redis_url, TASKS) as pool:
        store = BreakerStore(pool.connection_pool)
        workers = Breaker("razorpay", store)
        for _ in range(5):
            async with workers.passage() as passage:
                passage.note(Verdict.FAILED, "SERVER_ERROR")
        await workers.aclose()
        await store.aclose()

    answer = await api.get("/admin/subscriptions/reconcile")

    assert answer.status_code == 503
    assert answer.json()["detail"] == "razorpay can't be reached (left_alone): SERVER_ERROR"


@pytest.mark.parametrize("path", ["runs/2026-03-05", "runs/2026-03-05/resume"])
async def test_a_run_that_never_was_is_not_found(api: httpx.AsyncClient, path: str) -> None:
    method = api.post if path.endswith("resume") else api.get

    answer = await method(f"/admin/subscriptions/{path}")

    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "the deliveries of 2026-03-05 were not planned by any run",
    )


@pytest.mark.parametrize(
    "path", ["preview?date=tomorrow", "reconcile?date=2026-02-30", "preview?day=2026-03-05", "runs/5"]
)
async def test_a_date_that_is_none_is_refused(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(f"/admin/subscriptions/{path}")

    assert answer.status_code == 422
    assert "tomorrow" not in answer.text


async def test_days_are_those_that_people_ask_about(api: httpx.AsyncClient) -> None:
    paths = ("preview?date={}", "reconcile?date={}", "runs/{}")

    async def asked(day: str) -> list[httpx.Response]:
        return [await api.get(f"/admin/subscriptions/{path.format(day)}") for path in paths]

    for day in ("2000-01-01", "2100-12-31"):
        assert [answer.status_code for answer in await asked(day)] == [200, 200, 404]
    for day in ("1999-12-31", "2101-01-01", "9999-12-31"):
        for answer in await asked(day):
            assert answer.status_code == 422
            assert "is not between 2000-01-01 and 2100-12-31" in answer.json()["detail"][0]["msg"]


async def test_without_a_date_it_is_today(shop: DeliveryShop, api: httpx.AsyncClient) -> None:
    today = datetime.now(UTC).date()

    preview = (await api.get("/admin/subscriptions/preview")).json()

    assert preview["date"] in (str(today), str(datetime.now(UTC).date()))


@pytest.mark.parametrize(("key", "said"), [(None, "RAZORPAY_KEY_ID"), (KEY_ID, "can't be reached")])
async def test_a_gateway_that_can_not_be_asked_is_said(
    database_url: str, redis_url: str, key: str | None, said: str
) -> None:
    settings = make_settings(
        database_url=database_url,
        redis_url=redis_url,
        razorpay_key_id=key,
        razorpay_base_url="http://127.0.0.1:9",
    )

    async with client_of(create_app(settings)) as api:
        answer = await api.get("/admin/subscriptions/reconcile")

    assert answer.status_code == 503
    assert said in answer.text
