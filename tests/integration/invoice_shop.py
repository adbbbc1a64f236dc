"""A shop with a subscription that Razorpay debits by itself, and the bills of its weeks."""

from datetime import date, datetime, time

from app.dev.fakes.razorpay_books import Invoice, Subscription
from app.india import INDIA
from tests.integration.charging_shop import PRICE, ChargingShop
from tests.integration.delivery_shop import DAY, ONE_DAY

MONDAY = DAY
WEEK = 7 * ONE_DAY


async def open_by_invoices(shop: ChargingShop) -> None:
    """A daily subscription of Razorpay's own, without any invoice yet."""
    await shop.open(notices=False)
    await shop.shop.sql("DELETE FROM tasks.mandates")
    shop.fakes.razorpay.books.subscriptions["sub_1"] = Subscription(id="sub_1", customer_id="cust_1")


def in_india(day: date, at: time = time()) -> datetime:
    return datetime.combine(day, at, INDIA)


def bill(
    shop: ChargingShop, *, amount: int = 7 * PRICE, paid: bool = True, first: date = MONDAY, at: time = time()
) -> Invoice:
    subscription = shop.fakes.razorpay.books.subscriptions["sub_1"]
    return shop.fakes.razorpay.books.issue(
        subscription,
        amount=amount,
        billing_start=in_india(first, at),
        billing_end=in_india(first + WEEK, at),
        paid=paid,
    )
