"""What a delivery is called: by its order number in the shop, and by its order's receipt at the gateway."""

import re
from datetime import date
from typing import Final

from app.db.shop import SubscriptionId

# Behind the receipt of a second order, where the first was announced for another mandate or product.
OWN: Final = "-own"
# The receipt in SQL, of a row that has both.
RECEIPT: Final = "'sub-' || subscription_id || '-' || to_char(delivery_date, 'YYYYMMDD')"
# The other way round: whose an order number is that matches `order_numbers`. More digits than an id has are nobody's.
SUBSCRIPTION_OF_ORDER_NUMBER: Final = "CAST(substring(order_number from 14) AS bigint)"
# What PostgreSQL's integer holds.
GREATEST_ID: Final = 2**31 - 1
_ID: Final = "[1-9][0-9]{0,9}"
_RECEIPT: Final = re.compile(f"sub-({_ID})-([0-9]{{8}})({OWN})?")


def order_number(day: date, subscription_id: SubscriptionId) -> str:
    """Of the shop's order for the delivery, whether there is one or not."""
    return f"SUB-{day:%Y%m%d}-{subscription_id}"


def order_numbers(day: date) -> str:
    """A pattern of PostgreSQL's that the order numbers of the day's deliveries match."""
    return f"^SUB-{day:%Y%m%d}-{_ID}$"


def receipt(day: date, subscription_id: SubscriptionId) -> str:
    """Of the gateway's order for the delivery; that of a second one has OWN behind it."""
    return f"sub-{subscription_id}{receipts(day)}"


def receipts(day: date) -> str:
    """What the receipts of the day's deliveries contain, and others may."""
    return f"-{day:%Y%m%d}"


def subscription_of(receipt: str | None, day: date) -> SubscriptionId | None:
    """Whose delivery of that day has this receipt, if any has."""
    found = _RECEIPT.fullmatch(receipt or "")
    if found is None or found[2] != f"{day:%Y%m%d}" or int(found[1]) > GREATEST_ID:
        return None
    return SubscriptionId(int(found[1]))
