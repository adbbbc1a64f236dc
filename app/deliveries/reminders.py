"""Reminding customers of deliveries before they are charged, each of all of a day in one mail."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.db.engine import Database
from app.db.shop import SubscriptionId, UserId
from app.deliveries.decisions import EXPECTED, IS_DELIVERED, Terms
from app.jobs.task import Task
from app.money import rupees_of
from app.notify.content import one_line
from app.notify.recipients import usable_email
from app.notify.types import MOST_DELIVERIES

# Customers in one transaction.
PAGE = 1000

_LAST = text("SELECT max(id) FROM (SELECT id FROM users WHERE id > :after ORDER BY id LIMIT :most) AS page")
_DELIVERED = text(
    f"SELECT s.id FROM subscriptions s WHERE s.user_id > :after AND s.user_id <= :last AND {IS_DELIVERED}"  # noqa: S608
)
_EXPECTED = text(
    f"""
    SELECT d.user_id, d.subscription_id, d.amount_paise, s.plan_frequency, p.title, u.name, u.email,
        r.subscription_id IS NOT NULL AS is_reminded
    FROM ({EXPECTED}) AS d
    JOIN subscriptions s ON s.id = d.subscription_id
    JOIN users u ON u.id = d.user_id
    JOIN products p ON p.id = d.product_id
    LEFT JOIN tasks.reminders r ON r.delivery_date = d.delivery_date AND r.subscription_id = d.subscription_id
    ORDER BY d.user_id, d.subscription_id
    """  # noqa: S608 -- our own statement
)
# Whoever else reminds of that date waits here, and has nothing left to remind of.
_NOTE = text(
    """
    INSERT INTO tasks.reminders (delivery_date, subscription_id)
    SELECT CAST(:date AS date), id FROM unnest(CAST(:ids AS integer[])) AS id ORDER BY id
    ON CONFLICT (delivery_date, subscription_id) DO NOTHING
    RETURNING subscription_id
    """
)


class _Delivery(NamedTuple):
    """A row of _EXPECTED."""

    user_id: UserId
    subscription_id: SubscriptionId
    amount_paise: int
    frequency: str
    product: str
    customer: str
    email: str | None
    is_reminded: bool


@dataclass(slots=True)
class Reminded:
    """Customers who are sent a reminder and the deliveries in it, those reminded of before, customers without e-mail.

    The last are those who have none that mail can go to.
    """

    customers: int = 0
    deliveries: int = 0
    deliveries_before: int = 0
    without_email: int = 0


class Reminders:
    """Reminds of what the run of the terms' date will charge, as far as can be told by now; stock is no matter.

    `reminding` is the task that mails a customer. Each page of customers is one transaction. Cancel it wherever it is,
    and run it again: nobody is reminded of a delivery twice.
    """

    def __init__(self, database: Database, terms: Terms, reminding: Task[..., Any], *, page: int = PAGE) -> None:
        self._database = database
        self._terms = terms
        self._reminding = reminding
        self._page = page

    async def run(self, note_position: Callable[[int], None] = lambda _last: None) -> Reminded:
        """What was done this time. `note_position` is told the id of the last customer looked at."""
        reminded, after = Reminded(), UserId(0)
        while True:
            async with self._database.session() as session:
                last: UserId | None = await session.scalar(_LAST, {"after": after, "most": self._page})
                if last is None:
                    return reminded
                await self._remind(session, await self._expected(session, after, last), reminded)
            after = last
            note_position(last)

    async def _expected(self, session: AsyncSession, after: UserId, last: UserId) -> Sequence[_Delivery]:
        """What customers with `after < id <= last` are to get."""
        asked = {**self._terms.parameters, "after": after, "last": last}
        delivered = list(await session.scalars(_DELIVERED, asked))
        if not delivered:
            return []
        parameters = {**self._terms.parameters, "ids": delivered, "given_products": [], "given_units": []}
        return [_Delivery(*row) for row in await session.execute(_EXPECTED, parameters)]

    async def _remind(self, session: AsyncSession, expected: Sequence[_Delivery], reminded: Reminded) -> None:
        reachable: list[tuple[str, list[_Delivery]]] = []
        for _, group in groupby(expected, key=lambda delivery: delivery.user_id):
            deliveries = list(group)
            if email := usable_email(deliveries[0].email):
                reachable.append((email, deliveries))
            else:
                reminded.without_email += 1
        ids = [each.subscription_id for _, deliveries in reachable for each in deliveries if not each.is_reminded]
        noted = set(await session.scalars(_NOTE, {"date": self._terms.date, "ids": ids})) if ids else set()
        mails: list[Mapping[str, Any]] = []
        for email, deliveries in reachable:
            new = [each for each in deliveries if each.subscription_id in noted]
            reminded.customers += bool(new)
            reminded.deliveries += len(new)
            reminded.deliveries_before += len(deliveries) - len(new)
            mails += self._mails(email, new)
        await outbox.add_all(session, self._reminding, mails)

    def _mails(self, email: str, deliveries: Sequence[_Delivery]) -> Iterator[Mapping[str, Any]]:
        """One, but for a customer with more deliveries on a day than a mail can name."""
        for at in range(0, len(deliveries), MOST_DELIVERIES):
            first, *others = deliveries[at : at + MOST_DELIVERIES]
            yield {
                "email": email,
                "customer_name": first.customer,
                "next_delivery_date": self._terms.date,
                **_facts(first),
                **({"others": [_facts(each) for each in others]} if others else {}),
            }


def _facts(delivery: _Delivery) -> Mapping[str, Any]:
    return {
        # A name that is empty keeps no reminder back.
        "product_name": one_line(delivery.product) or "product",
        "frequency": delivery.frequency,
        "amount": rupees_of(delivery.amount_paise),
        "subscription_id": delivery.subscription_id,
    }
