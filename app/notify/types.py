"""The kinds of notification, and what each needs to know."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from app.notify.content import Address, Context, Line, Name, OptionalWebLink, OrderNumber, ProductName, WebLink
from app.notify.formats import CustomerDate, CustomerDates, ExpectedDelivery, Rupees, RupeeTotal
from app.notify.run_report import Count, RunReportMail
from app.notify.skips import SkipOrWords


class NotificationType(StrEnum):
    ORDER_CONFIRMATION = "order_confirmation"
    ORDER_SHIPPED = "order_shipped"
    PAYMENT_FAILED = "payment_failed"
    SUBSCRIPTION_RENEWAL = "subscription_renewal"
    DELIVERY_SKIPPED = "delivery_skipped"
    SUBSCRIPTION_PAUSED = "subscription_paused"
    STOCK_OUT = "stock_out"
    RUN_REPORT = "run_report"
    RUN_PAUSED = "run_paused"
    RUN_UNFINISHED = "run_unfinished"
    DISTRIBUTOR_APPROVED = "distributor_approved"
    PASSWORD_RESET = "password_reset"  # noqa: S105 -- a name, no password
    EMAIL_VERIFICATION = "email_verification"


TEMPLATES = Path(__file__).parent / "templates"
"""Where each type is written, by language: `order_confirmation/hi/body.html`."""

TO_OWNER = frozenset(
    {
        NotificationType.STOCK_OUT,
        NotificationType.RUN_REPORT,
        NotificationType.RUN_PAUSED,
        NotificationType.RUN_UNFINISHED,
    }
)
"""The others go to customers, and are there in every language."""

DEFAULT_PATHS: Mapping[str, str] = {
    "order_tracking_url": "/orders/{order_number}",
    "retry_payment_url": "/orders/{order_number}/pay",
    "subscription_url": "/subscriptions",
    "login_url": "/login",
}
"""Where on the shop's site (`FRONTEND_URL`) a link leads that the context doesn't give.

The order number is quoted, so that it stays one segment of the path whatever is in it.
"""

# What one reminder names, with the longest names there are, before mail clients cut it off.
MOST_DELIVERIES = 20


class OrderConfirmationSms(Context):
    order_number: OrderNumber
    order_total: Rupees


class OrderConfirmationMail(OrderConfirmationSms):
    customer_name: Name
    delivery_address: Address
    order_tracking_url: OptionalWebLink = None


class OrderShippedSms(Context):
    order_number: OrderNumber
    tracking_info: Line
    expected_delivery: ExpectedDelivery


class OrderShippedMail(OrderShippedSms):
    customer_name: Name
    order_tracking_url: OptionalWebLink = None


class PaymentFailedSms(Context):
    order_number: OrderNumber
    retry_payment_url: OptionalWebLink = None


class PaymentFailedMail(PaymentFailedSms):
    customer_name: Name
    order_total: Rupees
    failure_reason: Line


class SubscriptionRenewalSms(Context):
    product_name: Line
    amount: Rupees


class OtherDelivery(Context):
    """A further delivery of the same customer on the same day."""

    product_name: Line
    frequency: Line
    amount: Rupees
    subscription_id: int


class SubscriptionRenewalMail(SubscriptionRenewalSms):
    customer_name: Name
    frequency: Line
    next_delivery_date: CustomerDate
    others: Annotated[tuple[OtherDelivery, ...], Field(max_length=MOST_DELIVERIES - 1)] = ()
    subscription_url: OptionalWebLink = None


class DeliverySkippedSms(Context):
    product_name: ProductName
    delivery_dates: CustomerDates
    reason: SkipOrWords
    subscription_url: OptionalWebLink = None


class DeliverySkippedMail(DeliverySkippedSms):
    customer_name: Name


class SubscriptionPausedSms(Context):
    """`refusals` is how many payments in a row did not go through."""

    product_name: ProductName
    refusals: Annotated[int, Field(ge=1)]
    subscription_url: OptionalWebLink = None


class SubscriptionPausedMail(SubscriptionPausedSms):
    customer_name: Name


class StockOutMail(Context):
    """`short` deliveries of a product were skipped for lack of it, `charged` ones got their unit."""

    product_name: ProductName
    delivery_date: CustomerDate
    short: Count
    charged: Count


class RunPausedMail(Context):
    """`charges` deliveries, which come to `amount`, were planned before the run paused itself."""

    delivery_date: CustomerDate
    paused_because: Line
    charges: Count
    amount: RupeeTotal


class RunUnfinishedMail(Context):
    """`charges` deliveries, which come to `amount`, are planned by now."""

    delivery_date: CustomerDate
    why: Line
    charges: Count
    amount: RupeeTotal


class DistributorApprovedMail(Context):
    distributor_name: Name
    login_url: OptionalWebLink = None


class PasswordResetMail(Context):
    reset_url: WebLink
    customer_name: Name | None = None


class EmailVerificationMail(Context):
    verification_url: WebLink
    customer_name: Name | None = None


MAIL_CONTEXTS: Mapping[NotificationType, type[Context]] = {
    NotificationType.ORDER_CONFIRMATION: OrderConfirmationMail,
    NotificationType.ORDER_SHIPPED: OrderShippedMail,
    NotificationType.PAYMENT_FAILED: PaymentFailedMail,
    NotificationType.SUBSCRIPTION_RENEWAL: SubscriptionRenewalMail,
    NotificationType.DELIVERY_SKIPPED: DeliverySkippedMail,
    NotificationType.SUBSCRIPTION_PAUSED: SubscriptionPausedMail,
    NotificationType.STOCK_OUT: StockOutMail,
    NotificationType.RUN_REPORT: RunReportMail,
    NotificationType.RUN_PAUSED: RunPausedMail,
    NotificationType.RUN_UNFINISHED: RunUnfinishedMail,
    NotificationType.DISTRIBUTOR_APPROVED: DistributorApprovedMail,
    NotificationType.PASSWORD_RESET: PasswordResetMail,
    NotificationType.EMAIL_VERIFICATION: EmailVerificationMail,
}

SMS_CONTEXTS: Mapping[NotificationType, type[Context]] = {
    NotificationType.ORDER_CONFIRMATION: OrderConfirmationSms,
    NotificationType.ORDER_SHIPPED: OrderShippedSms,
    NotificationType.PAYMENT_FAILED: PaymentFailedSms,
    NotificationType.SUBSCRIPTION_RENEWAL: SubscriptionRenewalSms,
    NotificationType.DELIVERY_SKIPPED: DeliverySkippedSms,
    NotificationType.SUBSCRIPTION_PAUSED: SubscriptionPausedSms,
}
