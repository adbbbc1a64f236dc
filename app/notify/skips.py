"""Why a delivery was skipped, in the customer's words, and what there is to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter

from app.notify.content import Line

GOES_ON = "There is nothing for you to do: your subscription goes on as it is."


@dataclass(frozen=True, slots=True)
class Skip:
    """`why` begins a line of its own; `briefly`, for an SMS, is what a variable of a registered text may hold.

    `to_do` is a sentence, None where the reason is in words of the caller's own.
    """

    briefly: str
    why: str
    to_do: str | None = None

    def __str__(self) -> str:
        return self.briefly


# By SkipReason of the ledger of charges. Only what is so whatever became of it otherwise: that a day was missed may be
# our fault or that of a subscription which rested, and who pays by invoice may have paid for it in advance.
SKIPS: Mapping[str, Skip] = {
    "missed": Skip("the day has passed", "The day passed without a delivery", GOES_ON),
    "customer_inactive": Skip(
        "your account is not active",
        "Your account is not active",
        "To receive deliveries again, please contact us.",
    ),
    "product_inactive": Skip(
        "not on sale at present",
        "This product is not on sale at present",
        "Your subscription goes on when it is again. If you do not want to wait, you can pause or end it.",
    ),
    "address_missing": Skip(
        "no delivery address",
        "Your subscription has no delivery address of yours",
        "Please choose the address for your subscription.",
    ),
    "price_too_low": Skip("its price is not set", "The price of this product is not set as it should be", GOES_ON),
    "mandate_missing": Skip(
        "no payment is set up",
        "No payment is set up for your subscription",
        "Please set up the payment for your subscription.",
    ),
    "mandate_expired": Skip(
        "autopay has expired",
        "Your permission to collect payments automatically (autopay) has expired",
        "Please set up autopay again for your subscription.",
    ),
    "mandate_too_small": Skip(
        "your autopay limit is too low",
        "The price is above the limit that you set for automatic payments (autopay)",
        "Please set up autopay again with a higher limit.",
    ),
    "no_stock": Skip("out of stock", "It was out of stock for that day", GOES_ON),
    "debit_under_way": Skip(
        "earlier payment is under way",
        "The payment for an earlier delivery was still under way",
        GOES_ON,
    ),
    "not_charged_in_time": Skip(
        "payment not collected in time",
        "We could not collect the payment in time, and took no money",
        GOES_ON,
    ),
    "run_paused": Skip(
        "deliveries were held back",
        "We held back that day's deliveries for a check, and could not make this one in time",
        GOES_ON,
    ),
}


_WORDS: TypeAdapter[str] = TypeAdapter(Line)


def _skip(reason: object) -> object:
    if not isinstance(reason, str):
        return reason
    return SKIPS.get(reason) or Skip(briefly=(words := _WORDS.validate_python(reason)), why=words)


SkipOrWords = Annotated[Skip, BeforeValidator(_skip)]
"""A reason of the ledger of charges, or words of the caller's own."""
