"""The shop's own tables, which its backend creates and migrates; here they are only read and written."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NewType

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    false,
    func,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

UserId = NewType("UserId", int)
AddressId = NewType("AddressId", int)
ProductId = NewType("ProductId", int)
SubscriptionId = NewType("SubscriptionId", int)
OrderId = NewType("OrderId", int)
PaymentId = NewType("PaymentId", int)
CartId = NewType("CartId", int)


class UserRole(StrEnum):
    CONSUMER = "consumer"
    DISTRIBUTOR = "distributor"
    OWNER = "owner"


class DistributorStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class PaymentStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    REFUNDED = "refunded"


class OrderStatus(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    PACKED = "packed"
    OUT_FOR_DELIVERY = "out_for_delivery"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class SubscriptionFrequency(StrEnum):
    DAILY = "daily"
    ALTERNATE_DAYS = "alternate_days"
    WEEKLY = "weekly"


class SubscriptionStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    CANCELLED = "cancelled"


def _labels(name: str, kind: type[StrEnum]) -> Enum:
    # Without values_callable the labels in Postgres would be the members' names, in upper case.
    return Enum(kind, name=name, values_callable=lambda members: [member.value for member in members])


String20 = Annotated[str, mapped_column(String(20))]
String100 = Annotated[str, mapped_column(String(100))]
String255 = Annotated[str, mapped_column(String(255))]
Rupees = Annotated[Decimal, mapped_column(Numeric(10, 2))]
Discount = Annotated[Decimal, mapped_column(Numeric(10, 2), server_default=text("0.00"))]
# Naive, holding UTC: the connection's time zone makes now() so.
CreatedAt = Annotated[datetime, mapped_column(server_default=func.now())]
UpdatedAt = Annotated[datetime, mapped_column(server_default=func.now(), onupdate=func.now())]


class ShopTable(DeclarativeBase):
    """A table of the shop."""

    type_annotation_map = {
        UserId: Integer,
        AddressId: Integer,
        ProductId: Integer,
        SubscriptionId: Integer,
        OrderId: Integer,
        PaymentId: Integer,
        CartId: Integer,
        UserRole: _labels("user_role", UserRole),
        DistributorStatus: _labels("distributor_status", DistributorStatus),
        PaymentStatus: _labels("payment_status", PaymentStatus),
        OrderStatus: _labels("order_status", OrderStatus),
        SubscriptionFrequency: _labels("subscription_frequency", SubscriptionFrequency),
        SubscriptionStatus: _labels("subscription_status", SubscriptionStatus),
        dict[str, Any]: JSON,
    }


class User(ShopTable):
    __tablename__ = "users"

    id: Mapped[UserId] = mapped_column(primary_key=True)
    email: Mapped[String255 | None] = mapped_column(unique=True)
    phone: Mapped[String20] = mapped_column(unique=True)
    name: Mapped[String255]
    hashed_password: Mapped[String255 | None]
    role: Mapped[UserRole]
    google_id: Mapped[String255 | None]
    is_email_verified: Mapped[bool] = mapped_column(server_default=false())
    is_phone_verified: Mapped[bool] = mapped_column(server_default=false())
    is_active: Mapped[bool] = mapped_column(server_default=true())
    distributor_status: Mapped[DistributorStatus | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Address(ShopTable):
    __tablename__ = "addresses"

    id: Mapped[AddressId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[String255]
    phone: Mapped[String20]
    address_line1: Mapped[str] = mapped_column(String(500))
    address_line2: Mapped[str | None] = mapped_column(String(500))
    city: Mapped[String100]
    state: Mapped[String100]
    postal_code: Mapped[String20]
    country: Mapped[String100] = mapped_column(server_default="India")
    is_default: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Category(ShopTable):
    __tablename__ = "categories"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[String255]
    slug: Mapped[String255] = mapped_column(unique=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    display_order: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Product(ShopTable):
    __tablename__ = "products"
    __table_args__ = (CheckConstraint("stock_quantity >= 0"),)

    id: Mapped[ProductId] = mapped_column(primary_key=True)
    owner_id: Mapped[UserId] = mapped_column(ForeignKey("users.id"))
    title: Mapped[String255]
    description: Mapped[str] = mapped_column(Text)
    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id"))
    sku: Mapped[String100] = mapped_column(unique=True)
    unit_size: Mapped[String100]
    consumer_price: Mapped[Rupees]
    distributor_price: Mapped[Rupees]
    stock_quantity: Mapped[int] = mapped_column(server_default=text("0"))
    is_subscription_available: Mapped[bool] = mapped_column(server_default=false())
    is_active: Mapped[bool] = mapped_column(server_default=true())
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Subscription(ShopTable):
    __tablename__ = "subscriptions"
    __table_args__ = (Index(None, "next_delivery_date", "status"), Index(None, "user_id", "status"))

    id: Mapped[SubscriptionId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(ForeignKey("users.id"))
    product_id: Mapped[ProductId] = mapped_column(ForeignKey("products.id"))
    razorpay_subscription_id: Mapped[String255] = mapped_column(unique=True)
    plan_frequency: Mapped[SubscriptionFrequency]
    start_date: Mapped[date]
    next_delivery_date: Mapped[date]
    delivery_address_id: Mapped[AddressId] = mapped_column(ForeignKey("addresses.id"))
    status: Mapped[SubscriptionStatus] = mapped_column(server_default=SubscriptionStatus.ACTIVE)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Order(ShopTable):
    __tablename__ = "orders"
    __table_args__ = (
        Index(None, "order_status", text("created_at DESC")),
        Index(None, "user_id", text("created_at DESC")),
    )

    id: Mapped[OrderId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    order_number: Mapped[String100] = mapped_column(unique=True)
    total_amount: Mapped[Rupees]
    discount_amount: Mapped[Discount]
    final_amount: Mapped[Rupees]
    payment_status: Mapped[PaymentStatus] = mapped_column(server_default=PaymentStatus.PENDING)
    order_status: Mapped[OrderStatus] = mapped_column(server_default=OrderStatus.PENDING)
    delivery_address_id: Mapped[AddressId] = mapped_column(ForeignKey("addresses.id", ondelete="RESTRICT"))
    notes: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class OrderItem(ShopTable):
    __tablename__ = "order_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[OrderId] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    product_id: Mapped[ProductId] = mapped_column(ForeignKey("products.id", ondelete="RESTRICT"), index=True)
    quantity: Mapped[int]
    unit_price: Mapped[Rupees]
    total_price: Mapped[Rupees]


class Payment(ShopTable):
    __tablename__ = "payments"
    __table_args__ = (Index(None, "subscription_id", "status"),)

    id: Mapped[PaymentId] = mapped_column(primary_key=True)
    order_id: Mapped[OrderId | None] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    subscription_id: Mapped[SubscriptionId | None] = mapped_column(ForeignKey("subscriptions.id"))
    razorpay_payment_id: Mapped[String255] = mapped_column(unique=True)
    razorpay_order_id: Mapped[String255 | None] = mapped_column(index=True)
    amount: Mapped[Rupees]
    currency: Mapped[str] = mapped_column(String(10), server_default="INR")
    status: Mapped[PaymentStatus] = mapped_column(server_default=PaymentStatus.PENDING)
    payment_method: Mapped[String100 | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Cart(ShopTable):
    __tablename__ = "carts"

    id: Mapped[CartId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    coupon_code: Mapped[String100 | None]
    discount_amount: Mapped[Discount]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class CartItem(ShopTable):
    __tablename__ = "cart_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    cart_id: Mapped[CartId] = mapped_column(ForeignKey("carts.id", ondelete="CASCADE"), index=True)
    product_id: Mapped[ProductId] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"), index=True)
    quantity: Mapped[int] = mapped_column(server_default=text("1"))
    unit_price: Mapped[Rupees]
    created_at: Mapped[CreatedAt]


class AuditLog(ShopTable):
    __tablename__ = "audit_logs"
    __table_args__ = (
        Index(None, "actor_id", text("created_at DESC")),
        Index(None, "action_type", text("created_at DESC")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    actor_id: Mapped[UserId] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    action_type: Mapped[String100]
    object_type: Mapped[String100]
    object_id: Mapped[int]
    details: Mapped[dict[str, Any]]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    created_at: Mapped[CreatedAt] = mapped_column(index=True)
