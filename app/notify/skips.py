"""Why a delivery was skipped, in the customer's words, and what there is to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter, ValidationInfo

from app.notify.content import Line, locale_of
from app.notify.locales import Locale

GOES_ON = "There is nothing for you to do: your subscription goes on as it is."
GOES_ON_HI = "आपको कुछ करने की ज़रूरत नहीं है: आपका सब्सक्रिप्शन पहले की तरह चलता रहेगा।"


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


# By SkipReason and GivenUpReason of the ledger of charges. Only what is so whatever became of it otherwise: that a day
# was missed may be our fault or that of a subscription which rested, and who pays by invoice may have paid for it in
# advance.
_ENGLISH: Mapping[str, Skip] = {
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
    "mandate_replaced": Skip(
        "you set up autopay anew",
        "Autopay was set up anew while we were collecting the payment for this delivery",
        GOES_ON,
    ),
    "phone_invalid": Skip(
        "no valid phone number",
        "Your account has no valid phone number, and no payment can be collected without one",
        "Please correct the phone number of your account.",
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
    "subscription_inactive": Skip(
        "your subscription is inactive",
        "Your subscription is paused or has ended",
        "If you want deliveries again, please start your subscription again.",
    ),
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
    "subscription_gone": Skip(
        "your subscription has ended",
        "Your subscription has ended",
        "If you want deliveries again, please start a new subscription.",
    ),
    "refunded": Skip("its payment was given back", "The payment for it was given back", GOES_ON),
    "run_paused": Skip(
        "deliveries were held back",
        "We held back that day's deliveries for a check, and could not make this one in time",
        GOES_ON,
    ),
}


_HINDI: Mapping[str, Skip] = {
    "missed": Skip("वह दिन निकल चुका है", "वह दिन बिना डिलीवरी के निकल गया", GOES_ON_HI),
    "customer_inactive": Skip(
        "आपका खाता चालू नहीं है",
        "आपका खाता चालू नहीं है",
        "फिर से डिलीवरी पाने के लिए कृपया हमसे संपर्क करें।",
    ),
    "product_inactive": Skip(
        "अभी बिक्री में नहीं है",
        "यह उत्पाद अभी बिक्री में नहीं है",
        "बिक्री फिर शुरू होने पर आपका सब्सक्रिप्शन चलता रहेगा। इंतज़ार न करना चाहें, तो आप उसे रोक या बंद कर सकते हैं।",
    ),
    "address_missing": Skip(
        "डिलीवरी का पता नहीं है",
        "आपके सब्सक्रिप्शन में आपका कोई डिलीवरी पता नहीं है",
        "कृपया अपने सब्सक्रिप्शन के लिए पता चुनें।",
    ),
    "price_too_low": Skip("कीमत तय नहीं है", "इस उत्पाद की कीमत ठीक से तय नहीं है", GOES_ON_HI),
    "mandate_missing": Skip(
        "भुगतान सेट नहीं है",
        "आपके सब्सक्रिप्शन के लिए भुगतान सेट नहीं है",
        "कृपया अपने सब्सक्रिप्शन के लिए भुगतान सेट करें।",
    ),
    "mandate_replaced": Skip(
        "ऑटोपे फिर से सेट हुआ",
        "इस डिलीवरी का भुगतान लेते समय ही ऑटोपे फिर से सेट किया गया",
        GOES_ON_HI,
    ),
    "phone_invalid": Skip(
        "सही फ़ोन नंबर नहीं है",
        "आपके खाते में कोई सही फ़ोन नंबर नहीं है, और उसके बिना भुगतान नहीं लिया जा सकता",
        "कृपया अपने खाते का फ़ोन नंबर ठीक करें।",
    ),
    "mandate_expired": Skip(
        "ऑटोपे की अवधि समाप्त हो गई",
        "अपने-आप भुगतान लेने की आपकी अनुमति (ऑटोपे) की अवधि समाप्त हो गई है",
        "कृपया अपने सब्सक्रिप्शन के लिए ऑटोपे फिर से सेट करें।",
    ),
    "mandate_too_small": Skip(
        "आपकी ऑटोपे सीमा कम है",
        "कीमत उस सीमा से ज़्यादा है जो आपने अपने-आप होने वाले भुगतान (ऑटोपे) के लिए तय की है",
        "कृपया ज़्यादा सीमा के साथ ऑटोपे फिर से सेट करें।",
    ),
    "no_stock": Skip("स्टॉक ख़त्म हो गया", "उस दिन के लिए इसका स्टॉक ख़त्म हो गया", GOES_ON_HI),
    "subscription_inactive": Skip(
        "आपका सब्सक्रिप्शन चालू नहीं है",
        "आपका सब्सक्रिप्शन रुका हुआ है या समाप्त हो चुका है",
        "फिर से डिलीवरी पाने के लिए कृपया अपना सब्सक्रिप्शन दोबारा शुरू करें।",
    ),
    "debit_under_way": Skip(
        "पिछला भुगतान पूरा नहीं हुआ",
        "पिछली डिलीवरी का भुगतान तब तक पूरा नहीं हुआ था",
        GOES_ON_HI,
    ),
    "not_charged_in_time": Skip(
        "भुगतान समय पर नहीं हो पाया",
        "हम समय पर भुगतान नहीं ले पाए, और हमने कोई राशि नहीं ली",
        GOES_ON_HI,
    ),
    "subscription_gone": Skip(
        "आपका सब्सक्रिप्शन अब नहीं है",
        "आपका सब्सक्रिप्शन समाप्त हो चुका है",
        "फिर से डिलीवरी पाने के लिए कृपया नया सब्सक्रिप्शन शुरू करें।",
    ),
    "refunded": Skip("भुगतान लौटा दिया गया", "इसका भुगतान लौटा दिया गया", GOES_ON_HI),
    "run_paused": Skip(
        "डिलीवरी रोकी गई थी",
        "उस दिन की डिलीवरी हमने जाँच के लिए रोकी थीं, और यह डिलीवरी समय पर नहीं हो पाई",
        GOES_ON_HI,
    ),
}

SKIPS: Mapping[Locale, Mapping[str, Skip]] = {Locale.EN: _ENGLISH, Locale.HI: _HINDI}


_WORDS: TypeAdapter[str] = TypeAdapter(Line)


def _skip(reason: object, info: ValidationInfo) -> object:
    if not isinstance(reason, str):
        return reason
    return SKIPS[locale_of(info)].get(reason) or Skip(briefly=(words := _WORDS.validate_python(reason)), why=words)


SkipOrWords = Annotated[Skip, BeforeValidator(_skip)]
"""A reason of the ledger of charges, or words of the caller's own."""
