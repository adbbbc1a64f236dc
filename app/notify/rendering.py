"""A notification's type and context made into the words of a mail or an SMS."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import Refused
from app.notify import dlt
from app.notify.content import Context, in_locale, one_line
from app.notify.fitting import fitting_link, shortened
from app.notify.formats import counted, days_briefly, days_sms, how_often, long_date, rupees, rupees_sms
from app.notify.locales import WORDS, Locale
from app.notify.types import DEFAULT_PATHS, MAIL_CONTEXTS, SMS_CONTEXTS, TEMPLATES, NotificationType

# A single one of these in a product's name turns the SMS from 160 characters a segment to 70.
_GSM7_FOR_TYPOGRAPHY = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "₹": "Rs "}  # noqa: RUF001
)


def _environment(locale: Locale) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["words"] = WORDS[locale]
    environment.filters |= {
        "rupees": partial(rupees, locale=locale),
        "long_date": partial(long_date, locale=locale),
        "days_briefly": partial(days_briefly, locale=locale),
        "how_often": partial(how_often, locale=locale),
        "counted": counted,
    }
    return environment


_environments: Mapping[Locale, Environment] = {locale: _environment(locale) for locale in Locale}
_written_in: Mapping[NotificationType, frozenset[Locale]] = {
    kind: frozenset(locale for locale in Locale if (TEMPLATES / kind / locale).is_dir()) for kind in NotificationType
}


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """`text` and `html` state the same facts."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class RenderedSms:
    """`variables` are the words that stand in `text` where its template has their names; `locale` is its language."""

    text: str
    variables: Mapping[str, str]
    locale: Locale


class UnknownNotification(Refused):
    def __init__(self, notification_type: str) -> None:
        super().__init__(notification_type)
        self.notification_type = notification_type

    def __str__(self) -> str:
        return f"{self.notification_type!r} is no notification type: use one of {', '.join(NotificationType)}"


class NoSmsForType(Refused):
    def __init__(self, notification_type: str) -> None:
        super().__init__(notification_type)
        self.notification_type = notification_type

    def __str__(self) -> str:
        return f"{self.notification_type} goes by mail only: use one of {', '.join(SMS_CONTEXTS)}"


class ContextIncomplete(Refused):
    """`faults` holds a (key, what is wrong with it) for everything missing or wrong, never the values."""

    def __init__(self, notification_type: str, faults: list[tuple[str, str]]) -> None:
        super().__init__(notification_type, faults)
        self.notification_type = notification_type
        self.faults = faults

    def __str__(self) -> str:
        faults = "; ".join(f"{key}: {sentence}" for key, sentence in self.faults)
        return f"context of {self.notification_type}: {faults}"


def render_mail(
    notification_type: str, context: Mapping[str, object], frontend_url: str, locale: Locale = Locale.EN
) -> RenderedMail:
    """The mail of this type; `frontend_url` (no slash at its end) is where links lead that aren't given.

    Types that are not written in the language, as the owner's, are in English. Raises UnknownNotification, or
    ContextIncomplete where the context lacks something or holds it wrong.
    """
    kind = _known(notification_type)
    spoken = _spoken(kind, locale)
    facts = _facts(kind, MAIL_CONTEXTS[kind], context, frontend_url, spoken)
    # Folded again as a whole: whatever a template or a value does, no header can begin inside the subject.
    subject = one_line(_render(kind, spoken, "subject.txt", facts))
    facts |= {"subject": subject, "shop_url": frontend_url}
    return RenderedMail(subject, _render(kind, spoken, "body.txt", facts), _render(kind, spoken, "body.html", facts))


def render_sms(
    notification_type: str, context: Mapping[str, object], frontend_url: str, locale: Locale = Locale.EN
) -> RenderedSms:
    """The text message of this type: in English in GSM-7 where the context's values allow it, else in UCS-2.

    It is the text that is registered with the operators, with what fits its variables: words are shortened, and for a
    link that is too long there is the shop's own page. Raises UnknownNotification, NoSmsForType, or ContextIncomplete
    as `render_mail` does.
    """
    kind = _known(notification_type)
    if kind not in SMS_CONTEXTS:
        raise NoSmsForType(kind)
    spoken = _spoken(kind, locale)
    facts = _facts(kind, SMS_CONTEXTS[kind], context, frontend_url, spoken)
    rooms = dlt.rooms(kind, spoken)
    # Words before they are put in: the template is then nothing but the registered text.
    variables: dict[str, str] = {}
    for name, value in facts.items():
        room = rooms.get(name, dlt.ROOM)
        if name in DEFAULT_PATHS:
            links = (str(value), _default_link(name, facts, frontend_url), frontend_url)
            variables[name] = fitting_link(links, room)
        else:
            variables[name] = shortened(sms_words(value, spoken), room)
    return RenderedSms(one_line(_render(kind, spoken, "sms.txt", variables)), variables, spoken)


def sms_words(value: object, locale: Locale) -> str:
    """A fact in the words of an SMS, however long."""
    match value:
        case Decimal():
            words = rupees_sms(value, locale)
        case date():
            words = long_date(value, locale)
        case tuple():
            words = days_sms(value, locale)
        case _:
            words = str(value)
    return one_line(words.translate(_GSM7_FOR_TYPOGRAPHY) if locale is Locale.EN else words)


def _spoken(kind: NotificationType, locale: Locale) -> Locale:
    return locale if locale in _written_in[kind] else Locale.EN


def _known(notification_type: str) -> NotificationType:
    try:
        return NotificationType(notification_type)
    except ValueError:
        raise UnknownNotification(notification_type) from None


def _facts(
    kind: NotificationType,
    model: type[Context],
    context: Mapping[str, object],
    frontend_url: str,
    locale: Locale,
) -> dict[str, object]:
    try:
        facts: dict[str, object] = dict(model.model_validate(dict(context), context=in_locale(locale)))
    except ValidationError as error:
        raise ContextIncomplete(kind, [_fault(details) for details in error.errors()]) from error
    for key in DEFAULT_PATHS:
        if key in facts and facts[key] is None:
            facts[key] = _default_link(key, facts, frontend_url)
    return facts


def _default_link(key: str, facts: Mapping[str, object], frontend_url: str) -> str:
    order_number = quote(str(facts.get("order_number", "")), safe="")
    return frontend_url + DEFAULT_PATHS[key].format(order_number=order_number)


def _fault(details: ErrorDetails) -> tuple[str, str]:
    sentence = "is missing" if details["type"] == "missing" else details["msg"].removeprefix("Value error, ")
    return str(details["loc"][0]), sentence


def _render(kind: NotificationType, locale: Locale, template: str, facts: Mapping[str, object]) -> str:
    return _environments[locale].get_template(f"{kind}/{locale}/{template}").render(facts)
