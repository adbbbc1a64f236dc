"""A charge as it stands, with what it takes to have it paid and to tell the customer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Row, text

from app.db.charges import ChargeState, Way
from app.db.shop import AddressId, OrderId, OrderStatus, ProductId, SubscriptionFrequency, SubscriptionId, UserId
from app.deliveries.names import order_number
from app.money import rupees_of
from app.providers.payments.entities import GatewayOrderId, GatewayPaymentId, GatewaySubscriptionId, InvoiceId, Paise


class ChargeKey(NamedTuple):
    """Which delivery it is. Charges are locked in this order."""

    delivery_date: date
    subscription_id: SubscriptionId

    def __str__(self) -> str:
        return f"{self.subscription_id}:{self.delivery_date}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRecord:
    """A row of `tasks.charges`, and what the shop knows of its subscription by now.

    `is_made_up`: it was missed, and comes on another day. `is_active` tells it of the subscription, `has_customer` of
    its customer.
    What is None of `order_*`, of `mandate_*` and of the last ones does not exist (any more). The address is that of the
    order, where there is one.
    """

    delivery_date: date
    subscription_id: SubscriptionId
    user_id: UserId
    product_id: ProductId
    way: Way
    amount_paise: Paise
    receipt: str
    state: ChargeState
    reason: str | None
    units_held: int
    is_owed: bool
    is_made_up: bool
    razorpay_order_id: GatewayOrderId | None
    razorpay_payment_id: GatewayPaymentId | None
    razorpay_invoice_id: InvoiceId | None
    order_id: OrderId | None
    order_status: OrderStatus | None
    token_id: str | None
    payer: str | None
    paying_since: datetime | None
    looks: int
    next_look_at: datetime | None
    refused_at: datetime | None
    mandate_customer_id: str | None
    mandate_token_id: str | None
    mandate_method: str | None
    razorpay_subscription_id: GatewaySubscriptionId | None
    is_active: bool
    has_customer: bool
    frequency: SubscriptionFrequency | None
    start_date: date | None
    next_delivery_date: date | None
    address_id: AddressId | None
    address: str | None
    email: str | None
    phone: str | None
    customer_name: str | None
    product_name: str | None

    @classmethod
    def of(cls, row: "Row[*tuple[object, ...]]") -> "ChargeRecord":
        """From a row of RECORDS."""
        return cls(**row._asdict())

    @property
    def key(self) -> ChargeKey:
        return ChargeKey(self.delivery_date, self.subscription_id)

    @property
    def amount(self) -> Decimal:
        """In rupees."""
        return rupees_of(self.amount_paise)

    @property
    def order_number(self) -> str:
        """Of the shop's order for it, whether there is one or not."""
        return order_number(self.delivery_date, self.subscription_id)


_COLUMNS = """
    SELECT c.delivery_date, c.subscription_id, c.user_id, c.product_id, c.way, c.amount_paise, c.receipt, c.state,
        c.reason, c.units_held, c.is_owed, coalesce(c.answer ? 'made_up_on', false) AS is_made_up,
        c.razorpay_order_id, c.razorpay_payment_id, c.razorpay_invoice_id,
        o.id AS order_id, CAST(o.order_status AS text) AS order_status, c.token_id, c.payer, c.paying_since, c.looks,
        c.next_look_at, c.refused_at,
        m.customer_id AS mandate_customer_id, m.token_id AS mandate_token_id, m.method AS mandate_method,
        s.razorpay_subscription_id, coalesce(s.status = 'active', false) AS is_active,
        coalesce(u.is_active, false) AS has_customer, CAST(s.plan_frequency AS text) AS frequency, s.start_date,
        s.next_delivery_date, a.id AS address_id,
        concat_ws(chr(10), a.address_line1, a.address_line2, concat_ws(' ', a.city, a.postal_code)) AS address,
        u.email, u.phone, u.name AS customer_name, p.title AS product_name
"""
# A charge outlives what it was planned for: the shop may delete what it owns.
RECORDS = text(f"""
    {_COLUMNS}
    FROM unnest(CAST(:days AS date[]), CAST(:subscriptions AS integer[])) AS wanted (delivery_date, subscription_id)
    JOIN tasks.charges c USING (delivery_date, subscription_id)
    LEFT JOIN tasks.mandates m USING (subscription_id)
    LEFT JOIN subscriptions s ON s.id = c.subscription_id
    LEFT JOIN orders o ON o.id = c.order_id
    LEFT JOIN addresses a ON a.id = coalesce(o.delivery_address_id, s.delivery_address_id)
    LEFT JOIN users u ON u.id = c.user_id
    LEFT JOIN products p ON p.id = c.product_id
""")


def keys_as_arrays(keys: Sequence[ChargeKey]) -> dict[str, list[object]]:
    """The parameters that RECORDS asks for."""
    return {"days": [key.delivery_date for key in keys], "subscriptions": [key.subscription_id for key in keys]}
