"""A shop whose deliveries are charged at the fake Razorpay, and how its books have to agree with that one's."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import httpx
from pydantic import SecretStr
from sqlalchemy import select

from app.billing.charging import Charging
from app.billing.gateway import GuardedRazorpay
from app.billing.invoice_way import InvoiceWay
from app.billing.ledger import ChargeLedger
from app.billing.mandate_way import MandateWay
from app.billing.notices import DebitNotices
from app.billing.record import ChargeKey, ChargeRecord
from app.billing.settling import SettlingTerms
from app.billing.single import NotDue
from app.billing.telling import Correspondence
from app.billing.watch import RunWatch
from app.db.charges import Charge, GivenUpReason
from app.db.engine import Database
from app.db.outbox import OutboxJob
from app.db.shop import SubscriptionId
from app.deliveries.decisions import Terms
from app.dev.fakes import Fakes
from app.dev.fakes.razorpay import KEY_ID, KEY_SECRET
from app.dev.fakes.razorpay_books import Mandate
from app.dev.postgres import EmbeddedPostgres
from app.jobs.breaker import Breaker
from app.providers.payments.entities import Paise
from app.providers.payments.requests import Notice, OrderRequest
from tests.conftest import fresh_database
from tests.integration.delivery_shop import BOUNDS, DAY, DeliveryShop

CHARGING, LOOKING = "process_single_subscription", "follow_up_charge"
REPORTING = "report_subscription_run"
FOLLOW_UPS = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), *5 * [timedelta(days=1)])
MIDNIGHT = datetime.combine(DAY, time(), UTC)
SITE = "https://shop.example"
# Paise of a delivery.
PRICE = Paise(6800)

# Before a request goes out and after it has taken effect; what it raises is what the client gets to see.
Interference = Callable[[httpx.Request], Awaitable[None]]


async def nothing(_request: httpx.Request) -> None:
    """Nothing goes wrong."""


@dataclass
class GatewayTransport(httpx.AsyncBaseTransport):
    """Straight to the fakes, without a socket; `before` and `after` are what may go wrong on the way."""

    fakes: Fakes
    before: Interference = nothing
    after: Interference = nothing
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._asgi = httpx.ASGITransport(app=self.fakes.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        await self.before(request)
        try:
            answer = await self._asgi.handle_async_request(request)
            await answer.aread()
        except ConnectionResetError as error:
            raise httpx.ReadError("dropped") from error
        await self.after(request)
        return answer


@dataclass
class ChargingShop:
    """`now` is everybody's clock. Each `charging()` is a process of its own, as far as anybody can tell."""

    shop: DeliveryShop
    fakes: Fakes
    transport: GatewayTransport
    now: datetime = MIDNIGHT + timedelta(minutes=1)
    start_stock: int = 1000

    async def open(
        self, count: int = 1, *, tokens: int | None = None, notices: bool | int = True, stock: int = 1000
    ) -> None:
        """Customers 2, 3, ... with mail, phone and a mandate each (`tokens`: so many for all), planned for DAY.

        `notices`: Razorpay has announced their debits (or those of so many), so that a charge is captured at once.
        """
        self.start_stock = stock
        await self.shop.open(count, stock=stock)
        await self.shop.sql(
            "UPDATE users SET phone = '+9198' || lpad(CAST(id AS text), 8, '0'), email = 'c' || id || '@example.com'"
            " WHERE role = 'consumer'"
        )
        await self.shop.sql(
            "INSERT INTO tasks.mandates SELECT n, 'cust_' || (n - 1) % :tokens, 'token_' || (n - 1) % :tokens, 'upi'"
            " FROM generate_series(1, CAST(:count AS integer)) n",
            count=count,
            tokens=tokens or count,
        )
        self.fakes.razorpay.reset()
        self.fakes.faults.clear()
        self.transport.requests.clear()
        self.transport.before = self.transport.after = nothing
        self.now = MIDNIGHT - timedelta(days=2)
        for number in range(tokens or count):
            self.fakes.razorpay.books.mandates[f"token_{number}"] = Mandate(
                customer_id=f"cust_{number}", token_id=f"token_{number}"
            )
        if notices:
            await self._announce(count if notices is True else notices, tokens or count)
        self.now = MIDNIGHT + timedelta(minutes=1)

    async def _announce(self, count: int, tokens: int) -> None:
        gateway = self.gateway()

        for number in range(1, count + 1):
            token = f"token_{(number - 1) % tokens}"
            wanted = OrderRequest(receipt(number), PRICE, {}, Notice(token, MIDNIGHT))
            order = await gateway.create_order(wanted)
            await self.shop.sql(
                "INSERT INTO tasks.debit_notices (delivery_date, subscription_id, product_id, amount_paise,"
                " token_id, razorpay_order_id) VALUES (:day, :id, 1, :paise, :token, :order)",
                day=DAY,
                id=number,
                paise=PRICE,
                token=token,
                order=order.id,
            )
        self.transport.requests.clear()

    async def replace_mandate(self, number: int = 1) -> None:
        """The customer gives another one, in the name of another customer at Razorpay, and revokes the first."""
        books = self.fakes.razorpay.books
        earlier = books.mandates[f"token_{number - 1}"]
        books.mandates[earlier.token_id] = replace(earlier, status="cancelled")
        books.mandates["token_new"] = Mandate(customer_id="cust_new", token_id="token_new")
        await self.shop.sql(
            "UPDATE tasks.mandates SET customer_id = 'cust_new', token_id = 'token_new' WHERE subscription_id = :id",
            id=number,
        )

    async def plan(self, **options: Any) -> None:
        await self.shop.run(page=100, **options)

    def gateway(self) -> GuardedRazorpay:
        client = httpx.AsyncClient(transport=self.transport, timeout=None)
        return GuardedRazorpay(
            client,
            Breaker("razorpay"),
            base_url="http://fakes",
            key_id=KEY_ID,
            key_secret=SecretStr(KEY_SECRET),
            now=lambda: self.now,
        )

    def charging(self, database: Database | None = None, *, pause_after: int = 3) -> Charging:
        database = database or self.shop.database
        terms = SettlingTerms(
            FOLLOW_UPS, Correspondence(SITE, ["IN"]), looking=LOOKING, charging=CHARGING, reporting=REPORTING
        )

        def clock() -> datetime:
            return self.now

        ledger = ChargeLedger(database, terms, pause_after=pause_after, now=clock)
        gateway = self.gateway()
        return Charging(
            database,
            gateway,
            ledger,
            MandateWay(ledger, gateway, now=clock),
            InvoiceWay(ledger, gateway),
            RunWatch(database, BOUNDS, clock=lambda: clock().timestamp()),
            DebitNotices(database, gateway, ZoneInfo("UTC"), now=clock),
            charging_task=CHARGING,
            now=clock,
        )

    async def charge(
        self, number: int = 1, day: date = DAY, *, by: Charging | None = None, hold: Callable[[], None] = lambda: None
    ) -> ChargeRecord:
        charged = await (by or self.charging()).charge(Terms(day), key(number, day), hold)
        assert isinstance(charged, ChargeRecord)
        return charged

    async def try_charge(self, number: int = 1, day: date = DAY) -> ChargeRecord | NotDue:
        return await self.charging().charge(Terms(day), key(number, day), lambda: None)

    async def look(self, number: int = 1) -> ChargeRecord:
        """The next look at that charge, at its time."""
        charge = await self.one(number)
        assert charge.next_look_at is not None
        self.now = max(self.now, charge.next_look_at)
        return await self.charging().look(key(number), lambda: None, charge.looks)

    def move(self, status: Any) -> None:
        """What the bank does about the only payment there is."""
        [payment] = self.fakes.razorpay.books.payments.values()
        self.fakes.razorpay.books.move(payment, status)

    async def one(self, number: int = 1, day: date = DAY) -> Charge:
        async with self.shop.database.session() as session:
            return await session.get_one(Charge, (day, number))

    async def told(self) -> list[str]:
        """Task and key of each job that tells a customer of a delivery."""
        messages = select(OutboxJob).where(OutboxJob.task.like("send_%"), OutboxJob.key.like("delivery:%"))
        async with self.shop.database.session() as session:
            rows = await session.scalars(messages.order_by(OutboxJob.key))
            return [f"{job.task} {job.key}" for job in rows]

    async def order_of(self, number: int = 1, day: date = DAY) -> Mapping[str, Any] | None:
        """The shop's order for it, with its payment."""
        rows = await self.shop.sql(
            "SELECT CAST(o.payment_status AS text), CAST(o.order_status AS text), o.total_amount, o.final_amount,"
            " i.quantity, i.unit_price, i.total_price, CAST(p.status AS text) AS payment, p.amount, p.payment_method,"
            " p.subscription_id, o.notes, o.user_id, o.delivery_address_id"
            " FROM orders o JOIN order_items i ON i.order_id = o.id LEFT JOIN payments p ON p.order_id = o.id"
            " WHERE o.order_number = :number",
            number=f"SUB-{day:%Y%m%d}-{number}",
        )
        assert len(rows) <= 1
        return dict(rows[0]._mapping) if rows else None

    def captured(self, number: int = 1, day: date = DAY) -> int:
        """How often money was taken for it, by the fake's own books."""
        return len(self.fakes.razorpay.books.captured(receipt=receipt(number, day)))

    async def faults(self) -> list[str]:
        """What is not as it has to be, whatever has happened: SEMANTICS, invariants."""
        faults = []
        # What was announced for another mandate has a second order.
        taken = Counter((money.receipt or "").removesuffix("-own") for money in self.fakes.razorpay.books.captured())
        faults += [f"{name} was captured {count} times" for name, count in taken.items() if count > 1]
        charges = await self.shop.charges()
        for charge in charges:
            name = receipt(charge.subscription_id, charge.delivery_date)
            if charge.way == "mandate" and charge.state == "captured" and not taken[name]:
                faults.append(f"{name} counts as captured, and no money was taken")
            if charge.way == "mandate" and taken[name] and charge.state in ("planned", "notified", "skipped"):
                faults.append(f"money was taken for {name}, which is {charge.state}")
        paid = await self.shop.sql("SELECT order_number FROM orders WHERE payment_status = 'paid'")
        paid_numbers = sorted(number for (number,) in paid)
        expected = sorted(
            f"SUB-{each.delivery_date:%Y%m%d}-{each.subscription_id}" for each in charges if each.state == "captured"
        )
        if paid_numbers != expected:
            faults.append(f"orders {paid_numbers} are paid, charges {expected} are captured")
        held = sum(charge.units_held for charge in charges)
        left = sum((await self.shop.stock()).values())
        if left != self.start_stock - held:
            faults.append(f"{left} units are left of {self.start_stock}, and {held} are held")
        for charge in charges:
            holds = charge.state in ("planned", "notified", "submitting", "pending", "unknown", "captured")
            if charge.units_held != int(holds and not charge.is_owed):
                faults.append(f"{charge.receipt} is {charge.state} and holds {charge.units_held}")
        ends = {"captured": "confirmed", "refused": "refused", "skipped": "skipped"}
        given_up = get_args(GivenUpReason)
        wanted = sorted(
            f"delivery:{each.subscription_id}:{each.delivery_date}"
            f":{'skipped' if each.state == 'refused' and each.reason in given_up else ends[each.state]}"
            for each in charges
            if each.state in ends and not each.is_owed
        )
        told = sorted(each.split()[1] for each in await self.told() if ":paused" not in each)
        if [each for each in told if each not in wanted and not each.endswith(":refused")] or set(wanted) - set(told):
            faults.append(f"{told} was told instead of {wanted}")
        return faults


def key(number: int, day: date = DAY) -> ChargeKey:
    return ChargeKey(day, SubscriptionId(number))


def receipt(number: int, day: date = DAY) -> str:
    return f"sub-{number}-{day:%Y%m%d}"


@asynccontextmanager
async def charging_shop(database_url: str, pool_size: int = 8) -> AsyncIterator[ChargingShop]:
    database = Database(database_url, application_name="indostar test", pool_size=pool_size)
    shop: ChargingShop

    def now() -> datetime:
        return shop.now

    fakes = Fakes(clock=now)
    shop = ChargingShop(DeliveryShop(database), fakes, GatewayTransport(fakes))
    try:
        yield shop
    finally:
        await database.close()


@asynccontextmanager
async def own_charging_shop(server: EmbeddedPostgres, template: str) -> AsyncIterator[ChargingShop]:
    """In a database of its own, for a module of tests: `open()` empties it."""
    async with fresh_database(server, template=template) as url, charging_shop(url) as shop:
        yield shop
