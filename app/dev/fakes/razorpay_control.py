"""What a test or a person sets up at the fake Razorpay, and what its banks do when they are told to."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, HTTPException
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.dev.fakes.razorpay import FakeRazorpay, ReceiptRule
from app.dev.fakes.razorpay_books import STATUS_AFTER, Captured, Invoice, Mandate, Step, Subscription, new_id
from app.dev.fakes.razorpay_fates import Fate
from app.dev.fakes.razorpay_resources import invoice_resource, payment_resource, subscription_resource


class NewMandate(BaseModel):
    """As `Mandate`; its ids are made up where they are not given."""

    model_config = ConfigDict(extra="forbid")

    customer_id: str = Field(default_factory=lambda: new_id("cust"))
    token_id: str = Field(default_factory=lambda: new_id("token"))
    method: Literal["upi", "card"] = "upi"
    status: Literal["initiated", "confirmed", "rejected", "paused", "cancelled"] = "confirmed"
    max_amount: int | None = Field(default=None, ge=0)
    expires_at: AwareDatetime | None = None


class NewSubscription(BaseModel):
    """One that Razorpay charges by itself; its id is made up where it is not given."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default_factory=lambda: new_id("sub"), pattern=r"^sub_[A-Za-z0-9]+$")
    customer_id: str = Field(default_factory=lambda: new_id("cust"))
    status: Literal["active", "pending", "halted", "paused", "cancelled", "completed", "expired"] = "active"


class NewInvoice(BaseModel):
    """The bill of a period, in paise. `paid` False leaves it issued."""

    model_config = ConfigDict(extra="forbid")

    amount: int = Field(ge=100)
    billing_start: AwareDatetime
    billing_end: AwareDatetime
    paid: bool = True


class CapturedMoney(BaseModel):
    """`total` is paise."""

    count: int
    total: int
    payments: list[Captured]


def razorpay_control(razorpay: FakeRazorpay) -> APIRouter:
    """Routes under `/razorpay`."""
    router = APIRouter(prefix="/razorpay")
    _add_accounts(router, razorpay)
    _add_steps(router, razorpay)
    return router


def _add_accounts(router: APIRouter, razorpay: FakeRazorpay) -> None:
    @router.delete("", status_code=204)
    async def reset() -> None:
        razorpay.reset()

    @router.put("/receipts", status_code=204)
    async def set_receipt_rule(rule: Annotated[ReceiptRule, Body()]) -> None:
        razorpay.receipts = rule

    @router.post("/mandates", status_code=201)
    async def add_mandates(new: list[NewMandate]) -> list[Mandate]:
        mandates = [Mandate(**dict(each)) for each in new]
        razorpay.books.mandates |= {mandate.token_id: mandate for mandate in mandates}
        return mandates

    @router.put("/subscriptions", status_code=200)
    async def put_subscription(new: NewSubscription) -> dict[str, object]:
        """Make it, or set the status of the one that there is: halted, cancelled, ..."""
        subscription = razorpay.books.subscriptions.setdefault(
            new.id, Subscription(id=new.id, customer_id=new.customer_id)
        )
        subscription.status = new.status
        return subscription_resource(subscription)

    @router.post("/subscriptions/{subscription_id}/invoices", status_code=201)
    async def issue_invoice(subscription_id: str, new: NewInvoice) -> dict[str, object]:
        subscription = razorpay.books.subscriptions.get(subscription_id)
        if subscription is None:
            raise HTTPException(404, "no such subscription")
        try:
            return invoice_resource(razorpay.books.issue(subscription, **dict(new)))
        except ValueError as impossible:
            raise HTTPException(409, str(impossible)) from impossible


def _add_steps(router: APIRouter, razorpay: FakeRazorpay) -> None:
    @router.get("/captured")
    async def captured(receipt: str | None = None, order_id: str | None = None) -> CapturedMoney:
        payments = razorpay.books.captured(receipt=receipt, order_id=order_id)
        return CapturedMoney(count=len(payments), total=sum(each.amount for each in payments), payments=payments)

    @router.post("/payments/{payment_id}/{step}")
    async def move_payment(payment_id: str, step: Step, reason: str | None = None) -> dict[str, object]:
        """Authorise, capture or fail it, or give it back; capturing a failed one is a bank that authorises late."""
        razorpay.books.catch_up()
        payment = razorpay.books.payments.get(payment_id)
        if payment is None:
            raise HTTPException(404, "no such payment")
        try:
            razorpay.books.move(payment, STATUS_AFTER[step], reason if step == "fail" else None)
        except ValueError as impossible:
            raise HTTPException(409, str(impossible)) from impossible
        return payment_resource(payment)

    @router.post("/invoices/{invoice_id}/pay")
    async def pay_invoice(invoice_id: str) -> dict[str, object]:
        invoice: Invoice | None = razorpay.books.invoices.get(invoice_id)
        if invoice is None:
            raise HTTPException(404, "no such invoice")
        try:
            razorpay.books.pay(invoice)
        except ValueError as impossible:
            raise HTTPException(409, str(impossible)) from impossible
        return invoice_resource(invoice)

    @router.get("/fates")
    async def active_fates() -> list[Fate]:
        return razorpay.fates.active()

    @router.post("/fates", status_code=201)
    async def add_fate(fate: Fate) -> Fate:
        razorpay.fates.add(fate)
        return fate

    @router.delete("/fates", status_code=204)
    async def remove_fates() -> None:
        razorpay.fates.clear()
