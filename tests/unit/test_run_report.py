"""The words in which the owner reads the figures of a day."""

from decimal import Decimal
from typing import get_args

from app.db.charges import ChargeState
from app.notify.rendering import RenderedMail, render_mail
from app.notify.run_report import (
    MOST_NAMED,
    STATE_WORDS,
    Named,
    NamedDelivery,
    OutcomeTotal,
    RunFigures,
    ShortProduct,
    SkipTotal,
    headline,
    sections,
)
from app.notify.samples import SAMPLE_SITE


def delivery(number: int, state: ChargeState = "pending") -> NamedDelivery:
    return NamedDelivery(
        order_number=f"SUB-20260305-{number}",
        subscription_id=number,
        state=state,
        amount=Decimal(68),
    )


FIGURES = RunFigures(
    planned=1000,
    missed=4,
    on_hold="asked by asha",
    outcomes=(
        OutcomeTotal(state="captured", deliveries=123456, amount=Decimal("8395008.00")),
        OutcomeTotal(state="unknown", deliveries=1, amount=Decimal("68.00")),
        OutcomeTotal(state="skipped", deliveries=13, amount=Decimal("884.00")),
    ),
    skipped=(SkipTotal(reason="no_stock", deliveries=10), SkipTotal(reason="product_inactive", deliveries=3)),
    short=Named(first=(ShortProduct(product_name="A2 milk", deliveries=10),)),
    open=Named(first=(delivery(7, "unknown"), delivery(9)), more=1200),
    owed=Named(first=(delivery(11, "captured"),)),
    paused=Named(first=(5, 6), more=1),
    billed_on=Named(first=(8,)),
)


def mail(figures: RunFigures, *, is_closing: bool = False) -> RenderedMail:
    context = {
        "delivery_date": "2026-03-05",
        "headline": headline(figures),
        "sections": sections(figures),
        "is_closing": is_closing,
    }
    return render_mail("run_report", context, SAMPLE_SITE)


def test_a_report_says_what_became_of_the_day() -> None:
    rendered = mail(FIGURES)

    assert rendered.subject == "Deliveries of 5 March 2026: 1,23,456 paid, 1 outcome unknown, 13 skipped"
    assert rendered.text.startswith(
        """This is how the deliveries of 5 March 2026 stand.

On hold:
Why: asked by asha

Outcomes:
Paid: 1,23,456, ₹83,95,008.00
Outcome unknown: 1, ₹68.00

Skipped:
No stock: 10
Product inactive: 3
Missed on days before: 4

Out of stock:
A2 milk: 10 skipped

Still open:
SUB-20260305-7: outcome unknown, ₹68.00, subscription 7
SUB-20260305-9: payment pending, ₹68.00, subscription 9
and 1,200 more

Paid and not delivered, to be settled with the customer:
SUB-20260305-11: paid, ₹68.00, subscription 11

Paused after refused payments:
Subscriptions: 5, 6
and 1 more

Refused several times in a row, and billed on by Razorpay:
Subscriptions: 8

IndoStar Naturals"""
    )


def test_a_day_without_deliveries_is_reported_as_such() -> None:
    rendered = mail(RunFigures())

    assert rendered.subject == "Deliveries of 5 March 2026: none"
    assert ":\n" not in rendered.text


def test_what_no_bank_was_asked_for_is_told_apart_from_refusals() -> None:
    figures = RunFigures(
        outcomes=(OutcomeTotal(state="refused", deliveries=5, amount=Decimal("340.00")),),
        not_charged_in_time=3,
        amount_not_charged_in_time=Decimal("204.00"),
    )

    rendered = mail(figures)

    assert rendered.subject == "Deliveries of 5 March 2026: 2 refused, 3 not charged in time"
    assert "Refused: 2, ₹136.00\nNot charged in time: 3, ₹204.00\n" in rendered.text


def test_a_closing_report_says_that_it_is_one() -> None:
    rendered = mail(FIGURES, is_closing=True)

    assert rendered.subject.startswith("Deliveries of 5 March 2026, closing report: 1,23,456 paid")
    assert "others than those of the report before" in rendered.text


def test_every_state_has_words() -> None:
    assert set(STATE_WORDS) == set(get_args(ChargeState))


def test_the_longest_report_stays_under_what_clients_cut_off() -> None:
    deliveries = Named[NamedDelivery](first=tuple(delivery(2**31 - number) for number in range(MOST_NAMED)), more=10**6)
    numbers = Named[int](first=tuple(range(2**31 - MOST_NAMED, 2**31)), more=10**6)
    products = Named[ShortProduct](
        first=tuple(ShortProduct(product_name='"' * 255, deliveries=10**6) for _ in range(MOST_NAMED))
    )
    figures = FIGURES.model_copy(
        update={"open": deliveries, "owed": deliveries, "paused": numbers, "billed_on": numbers, "short": products}
    )

    assert len(mail(figures).html.encode()) < 100_000
