"""A made-up dairy: every row of the shop's tables and every Redis key of its backend."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, cycle, product
from random import Random
from string import ascii_letters, digits
from typing import Any

from app.db.shop import (
    Address,
    AuditLog,
    Cart,
    CartItem,
    Category,
    DistributorStatus,
    Order,
    OrderItem,
    OrderStatus,
    Payment,
    PaymentStatus,
    Product,
    ShopTable,
    Subscription,
    SubscriptionFrequency,
    SubscriptionId,
    User,
    UserRole,
)
from app.deliveries.names import order_number
from app.dev.demo_names import (
    AUDIT_LOGS,
    AUDITED,
    BUILDINGS,
    CARTS,
    CATEGORIES,
    CUSTOMERS,
    DELIVERIES,
    DISTRIBUTORS,
    KEYS,
    OLD_ORDERS,
    OWNER,
    PRODUCTS,
    RECENT_ORDERS,
    REGIONS,
    SITUATIONS,
    STEP,
)

Row = dict[str, Any]


class DemoShop:
    """Every row and Redis key of the demo shop: always the same for the same day, and older than that day."""

    def __init__(self, today: date) -> None:
        self.today = today
        self.rows: dict[type[ShopTable], list[Row]] = {}
        self.keys: list[tuple[str, str, timedelta | None]] = []
        self._random = Random("IndoStar Naturals")
        self._home: dict[int, int] = {}
        self._add_people()
        self._add_catalogue()
        self._add_subscriptions()
        self._add_orders()
        self._add_carts()
        self._add_audit_logs()
        self._add_keys()

    def _add(self, table: type[ShopTable], **columns: Any) -> int:
        rows = self.rows.setdefault(table, [])
        rows.append({"id": len(rows) + 1, **columns})
        return len(rows)

    def _moment(self, oldest: int, newest: int = 1) -> datetime:
        """A second of a day that lies between so many days before today."""
        day = self.today - timedelta(days=self._random.randint(newest, oldest))
        return datetime.combine(day, time()) + timedelta(seconds=self._random.randrange(86_400))

    def _dates(self, oldest: int, newest: int = 1) -> dict[str, datetime]:
        """`created_at` up to 30 days before an `updated_at` of that age."""
        updated_at = self._moment(oldest, newest)
        return {"created_at": updated_at - timedelta(minutes=self._random.randrange(43_200)), "updated_at": updated_at}

    def _razorpay_id(self, kind: str) -> str:
        return f"{kind}_{''.join(self._random.choices(ascii_letters + digits, k=14))}"

    def _price(self, user_id: int, product_id: int) -> Decimal:
        sold = PRODUCTS[product_id - 1]
        return sold.distributor_price if user_id in DISTRIBUTORS else sold.consumer_price

    def _add_people(self) -> None:
        roles = [UserRole.OWNER, *[UserRole.DISTRIBUTOR] * len(DISTRIBUTORS), *[UserRole.CONSUMER] * len(CUSTOMERS)]
        # Indian mobile numbers have ten digits.
        numbers = self._random.sample(range(9_700_000_000, 10_000_000_000), len(roles))
        for user_id, (role, number) in enumerate(zip(roles, numbers, strict=True), start=1):
            region = self._random.choice(REGIONS)
            given, family = self._random.choice(region.given_names), self._random.choice(region.family_names)
            name, phone = f"{given} {family}", f"+91{number}"
            address = f"{given}.{family}.{user_id}".lower().replace("'", "")
            domain = self._random.choice(("example.com", "example.net", "example.org"))
            has_email = user_id not in CUSTOMERS or user_id % 7 != 0
            self._add(
                User,
                email=f"{address}@{domain}" if has_email else None,
                phone=phone,
                name=name,
                role=role,
                is_email_verified=has_email and user_id % 5 != 0,
                is_phone_verified=True,
                is_active=user_id not in CUSTOMERS or user_id % 27 != 0,
                distributor_status=DISTRIBUTORS.get(user_id),
                **self._dates(700, 400),
            )
            for is_default in (True, False) if user_id % 6 == 0 else (True,):
                place = self._random.choice(region.places)
                address_id = self._add(
                    Address,
                    user_id=user_id,
                    name=name,
                    phone=phone,
                    address_line1=f"{self._random.randint(1, 240)}, {self._random.choice(BUILDINGS)}",
                    address_line2=place.locality,
                    city=place.city,
                    state=place.state,
                    postal_code=place.pin,
                    is_default=is_default,
                    **self._dates(60, 50),
                )
                self._home.setdefault(user_id, address_id)

    def _add_catalogue(self) -> None:
        ids: dict[str, int] = {}
        for order, category in enumerate(CATEGORIES):
            ids[category.slug] = self._add(
                Category,
                name=category.name,
                slug=category.slug,
                parent_id=ids[category.parent] if category.parent else None,
                display_order=order,
                **self._dates(700, 600),
            )
        for sold in PRODUCTS:
            self._add(
                Product,
                owner_id=OWNER,
                title=sold.title,
                description=f"{sold.title}, {sold.unit_size}, from small farms we know.",
                category_id=ids[sold.category],
                sku=sold.sku,
                unit_size=sold.unit_size,
                consumer_price=sold.consumer_price,
                distributor_price=sold.distributor_price,
                stock_quantity=sold.stock,
                is_subscription_available=sold.subscribers > 0,
                is_active=sold.is_active,
                **self._dates(600, 30),
            )

    def _add_subscriptions(self) -> None:
        approved = [user_id for user_id, status in DISTRIBUTORS.items() if status is DistributorStatus.APPROVED]
        subscribers = chain(approved, CUSTOMERS, [user_id for user_id in CUSTOMERS if user_id % 9 == 0])
        situations = cycle(product(SubscriptionFrequency, SITUATIONS))
        for user_id, (frequency, (status, days)) in zip(subscribers, situations, strict=False):
            product_id = 1 + PRODUCTS.index(self._random.choices(PRODUCTS, [sold.subscribers for sold in PRODUCTS])[0])
            next_delivery_date = self.today + timedelta(days=days)
            delivered = self._random.randint(0, 40)
            start_date = next_delivery_date - STEP[frequency] * delivered
            age = max((self.today - start_date).days, 0) + 1
            subscription_id = self._add(
                Subscription,
                user_id=user_id,
                product_id=product_id,
                razorpay_subscription_id=self._razorpay_id("sub"),
                plan_frequency=frequency,
                start_date=start_date,
                next_delivery_date=next_delivery_date,
                delivery_address_id=self._home[user_id],
                status=status,
                **self._dates(age, age),
            )
            for nth in range(1, min(delivered, 4) + 1):
                day = next_delivery_date - STEP[frequency] * nth
                if day < self.today:
                    self._add_order(
                        order_number(day, SubscriptionId(subscription_id)),
                        user_id,
                        {product_id: 1},
                        self._random.choice(DELIVERIES),
                        datetime.combine(day, time(0, self._random.randint(1, 30))),
                        subscription_id,
                    )

    def _add_orders(self) -> None:
        on_sale = [number for number, sold in enumerate(PRODUCTS, start=1) if sold.is_active]
        for nth in range(1, 241):
            ordered_at = self._moment(45)
            is_recent = ordered_at.date() >= self.today - timedelta(days=3)
            products = self._random.sample(on_sale, self._random.randint(1, 4))
            self._add_order(
                f"ORD-{ordered_at:%Y%m%d}-{nth:04}",
                self._random.choice(CUSTOMERS),
                {product_id: self._random.randint(1, 3) for product_id in products},
                self._random.choice(RECENT_ORDERS if is_recent else OLD_ORDERS),
                ordered_at,
            )

    def _add_order(
        self,
        order_number: str,
        user_id: int,
        quantities: dict[int, int],
        outcome: tuple[OrderStatus, PaymentStatus],
        at: datetime,
        subscription_id: int | None = None,
    ) -> None:
        order_status, payment_status = outcome
        total = sum((self._price(user_id, number) * count for number, count in quantities.items()), Decimal())
        # Ten rupees off every large order of the shop, none off a delivery.
        discount = Decimal(10 if total > 500 and subscription_id is None else 0)
        dates = {"created_at": at, "updated_at": at}
        order_id = self._add(
            Order,
            user_id=user_id,
            order_number=order_number,
            total_amount=total,
            discount_amount=discount,
            final_amount=total - discount,
            payment_status=payment_status,
            order_status=order_status,
            delivery_address_id=self._home[user_id],
            **dates,
        )
        for product_id, quantity in quantities.items():
            price = self._price(user_id, product_id)
            self._add(
                OrderItem,
                order_id=order_id,
                product_id=product_id,
                quantity=quantity,
                unit_price=price,
                total_price=price * quantity,
            )
        self._add(
            Payment,
            order_id=order_id,
            subscription_id=subscription_id,
            razorpay_payment_id=self._razorpay_id("pay"),
            razorpay_order_id=self._razorpay_id("order"),
            amount=total - discount,
            status=payment_status,
            payment_method=self._random.choice(("upi", "card", "netbanking")),
            **dates,
        )

    def _add_carts(self) -> None:
        owners = iter(self._random.sample(CUSTOMERS, sum(count for count, *_ in CARTS)))
        on_sale = [number for number, sold in enumerate(PRODUCTS, start=1) if sold.is_active]
        for count, oldest, newest, products in CARTS:
            for _ in range(count):
                user_id, dates = next(owners), self._dates(oldest, newest)
                cart_id = self._add(
                    Cart, user_id=user_id, coupon_code="DIWALI" if products and user_id % 4 == 0 else None, **dates
                )
                for product_id in self._random.sample(on_sale, products):
                    self._add(
                        CartItem,
                        cart_id=cart_id,
                        product_id=product_id,
                        quantity=self._random.randint(1, 4),
                        unit_price=self._price(user_id, product_id),
                        created_at=dates["created_at"],
                    )

    def _add_audit_logs(self) -> None:
        for count, oldest, newest in AUDIT_LOGS:
            for _ in range(count):
                action, table, details = self._random.choice(AUDITED)
                self._add(
                    AuditLog,
                    actor_id=self._random.choice((OWNER, *DISTRIBUTORS)),
                    action_type=action,
                    object_type=table.__tablename__,
                    object_id=self._random.randint(1, len(self.rows[table])),
                    details=details,
                    # Source: RFC 5737 3 (addresses that belong to nobody).
                    ip_address=f"192.0.2.{self._random.randint(1, 254)}",
                    created_at=self._moment(oldest, newest),
                )

    def _add_keys(self) -> None:
        for kind, (expiry, count) in KEYS.items():
            users = self._random.sample([user for user in self.rows[User] if user["email"]], count)
            for nth, user in enumerate(users):
                name, value = f"{self._random.getrandbits(128):032x}", user["email"]
                if kind == "otp":
                    name, value = user["phone"], f"{self._random.randrange(1_000_000):06}"
                elif kind == "session":
                    value = json.dumps({"user_id": user["id"], "role": user["role"]})
                # Some have lost their expiry, as a crash between SET and EXPIRE would leave them.
                self.keys.append((f"{kind}:{name}", value, expiry if nth % 4 else None))
