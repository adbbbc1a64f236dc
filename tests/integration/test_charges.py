"""The ledger of charges: what the database lets happen to one."""

from collections.abc import AsyncIterator
from itertools import product
from typing import Any, get_args

import pytest
from sqlalchemy.exc import DBAPIError

from app.db.charges import FIRST_STATES, TRANSITIONS, ChargeState, Way
from app.db.engine import Database
from tests.integration.delivery_shop import DAY, DeliveryShop

STATES: tuple[ChargeState, ...] = get_args(ChargeState)
WAYS: tuple[Way, ...] = get_args(Way)

INSERT = """
    INSERT INTO tasks.charges (delivery_date, subscription_id, user_id, product_id, way, amount_paise, receipt, state,
        reason, units_held)
    VALUES (:day, :id, 2, 1, CAST(:way AS text), 6800, 'sub-' || CAST(:id AS integer), CAST(:state AS text), 'told', 0)
"""


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=1)
    yield DeliveryShop(database)
    await database.close()


async def begin(shop: DeliveryShop, number: int = 1, way: Way = "mandate", state: ChargeState = "planned") -> None:
    await shop.sql(INSERT, day=DAY, id=number, way=way, state=state)


async def move(shop: DeliveryShop, number: int, state: ChargeState) -> bool:
    """Whether the database lets the charge go there."""
    to = "UPDATE tasks.charges SET state = :state, razorpay_payment_id = 'pay_1' WHERE subscription_id = :id"
    try:
        await shop.sql(to, id=number, state=state)
    except DBAPIError as error:
        if "can not go from" not in str(error):
            raise
        return False
    return True


def paths(way: Way) -> dict[ChargeState, list[ChargeState]]:
    """How a charge comes into each state that it can come into."""
    found: dict[ChargeState, list[ChargeState]] = {"planned": ["planned"]}
    queue: list[ChargeState] = ["planned"]
    for state in queue:
        for following in sorted(TRANSITIONS[way].get(state, ()), key=STATES.index):
            if following not in found:
                found[following] = [*found[state], following]
                queue.append(following)
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_a_charge_goes_only_where_the_drawing_leads(shop: DeliveryShop, way: Way) -> None:
    went, drawn = set(), set()
    for number, ((start, path), end) in enumerate(product(paths(way).items(), STATES), start=1):
        await begin(shop, number, way)
        for state in path[1:]:
            assert await move(shop, number, state)
        if start == end:
            continue
        if await move(shop, number, end):
            went.add((start, end))
        if end in TRANSITIONS[way].get(start, ()):
            drawn.add((start, end))

    assert went == drawn
    assert ("captured", "refused") not in went
    assert {("refused", "captured"), ("unknown", "captured")} <= went


@pytest.mark.parametrize("state", STATES)
async def test_a_charge_begins_planned_notified_or_skipped(shop: DeliveryShop, state: ChargeState) -> None:
    if state in FIRST_STATES:
        await begin(shop, state=state)
    else:
        with pytest.raises(DBAPIError, match=f"charge sub-1 can not begin as {state}"):
            await begin(shop, state=state)


async def test_an_impossible_move_is_told_in_a_sentence(shop: DeliveryShop) -> None:
    await begin(shop)

    with pytest.raises(DBAPIError, match=r"charge sub-1 \(mandate\) can not go from planned to captured"):
        await shop.sql("UPDATE tasks.charges SET state = 'captured', razorpay_payment_id = 'pay_1'")


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DELETE FROM tasks.charges", "is never deleted"),
        ("UPDATE tasks.charges SET amount_paise = 6900", "stays for what it was planned"),
        ("UPDATE tasks.charges SET subscription_id = 2", "stays for what it was planned"),
        ("UPDATE tasks.charges SET way = 'invoice'", "stays for what it was planned"),
        ("UPDATE tasks.charges SET receipt = receipt || '-own'", "stays for what it was planned"),
        ("DELETE FROM tasks.charge_events", "is never changed"),
        ("UPDATE tasks.charge_events SET to_state = 'captured'", "is never changed"),
        ("UPDATE tasks.charges SET state = 'captured'", "charges_razorpay_payment_id_check"),
        ("UPDATE tasks.charges SET state = 'refused', reason = NULL", "charges_reason_check"),
        ("UPDATE tasks.charges SET state = 'refused', units_held = 1", "charges_units_held_check"),
        ("UPDATE tasks.charges SET units_held = 2", "charges_units_held_check"),
    ],
)
async def test_evidence_stays(shop: DeliveryShop, statement: str, sentence: str) -> None:
    await begin(shop)
    await move(shop, 1, "submitting")
    await shop.sql("UPDATE tasks.charges SET razorpay_payment_id = NULL")

    with pytest.raises(DBAPIError, match=sentence):
        await shop.sql(statement)


async def test_every_answer_that_moved_a_charge_is_kept(shop: DeliveryShop) -> None:
    await begin(shop)
    answers: list[tuple[str, Any]] = [
        ("submitting", None),
        ("pending", '{"status": "created"}'),
        ("pending", '{"status": "authorized"}'),
        ("captured", '{"status": "captured"}'),
    ]

    for state, answer in answers:
        await shop.sql(
            "UPDATE tasks.charges SET state = :state, answer = CAST(:answer AS jsonb), razorpay_payment_id = 'pay_1'",
            state=state,
            answer=answer,
        )
    await shop.sql("UPDATE tasks.charges SET order_id = 7")

    events = await shop.sql("SELECT from_state, to_state, answer->>'status', at > now() FROM tasks.charge_events")
    assert [tuple(event) for event in events] == [
        ("planned", "submitting", None, False),
        ("submitting", "pending", "created", False),
        ("pending", "pending", "authorized", False),
        ("pending", "captured", "captured", False),
    ]
