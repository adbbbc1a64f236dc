"""What a setting may hold: URLs, keys, names, checked where they are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from app.addresses import ascii_address

# What libpq's URLs may say and we heed. `sslmode` is the one that hosted databases need.
DATABASE_PARAMETERS = {"sslmode"}

# With the header's name it is one line. Source: RFC 5322 2.1.1 (998 characters), SES MessageHeader (995).
MAX_LIST_UNSUBSCRIBE = 970
_UNSUBSCRIBE_LINK = re.compile(r"(https://[!-~]+|mailto:[!-~]+@[!-~]+)(?<![<>])")

_TOKEN = re.compile("[!-~]+")
_TOKEN_NAME = re.compile(r"[A-Za-z0-9._@-]{1,40}")

# Three variables of a registered SMS, of 30 characters each.
LONGEST_LINK = 90

_DLT_TEMPLATE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DLT_VARIABLE = re.compile(r"(\w+)=([A-Za-z0-9_.-]{1,64}(?:\+[A-Za-z0-9_.-]{1,64})*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DltTemplate:
    """A registered SMS: its id at MSG91, and what MSG91 calls each variable that we have a name for.

    A variable with several names is spread over those variables there, which follow one another.
    """

    template_id: str
    names: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        """As the setting has it."""
        return " ".join(
            (self.template_id, *(f"{variable}={'+'.join(names)}" for variable, names in self.names.items()))
        )


def dlt_template(*variables: str) -> BeforeValidator:
    """Reads `ID` or `ID variable=NAME other=NAME+NAME ...`.

    A variable that is not mentioned has the same name at MSG91.
    """

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        template_id, *renamed = value.split() or [""]
        pairs = [_DLT_VARIABLE.fullmatch(word) for word in renamed]
        names = {variable: (variable,) for variable in variables}
        names |= {pair[1]: tuple(pair[2].split("+")) for pair in pairs if pair}
        if not _DLT_TEMPLATE_ID.fullmatch(template_id) or None in pairs or names.keys() != set(variables):
            known = " ".join(f"{variable}=NAME" for variable in variables)
            raise ValueError(f"must be the template's id, and what MSG91 calls its variables: ID {known}")
        theirs = [name for several in names.values() for name in several]
        if len(set(theirs)) < len(theirs):
            raise ValueError("has one name for two variables")
        return DltTemplate(template_id, names)

    return BeforeValidator(read)


def _origin(value: str) -> str:
    """Scheme and host without a path, as the provider's `*_BASE_URL` settings want it."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be http(s)://host[:port]")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be scheme and host only, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def _web_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http(s) URL")
    return value.rstrip("/")


def _shop_url(value: str) -> str:
    url = _web_url(value)
    if len(url) > LONGEST_LINK:
        raise ValueError(f"has more than {LONGEST_LINK} characters: no SMS may hold a link to it")
    return url


def _postgres_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise ValueError("must begin with postgres://, postgresql:// or postgresql+asyncpg://")
    parts = _parts(f"postgresql://{rest}")
    if not parts.path.strip("/"):
        raise ValueError("must name a database: postgresql://user:password@host:port/database")
    if strange := parse_qs(parts.query, keep_blank_values=True).keys() - DATABASE_PARAMETERS:
        known = ", ".join(sorted(DATABASE_PARAMETERS))
        raise ValueError(f"has the parameter {', '.join(sorted(strange))}, which is not known here; these are: {known}")
    return SecretStr(f"postgresql+asyncpg://{rest}")


def _redis_url(value: SecretStr) -> SecretStr:
    parts = _parts(value.get_secret_value())
    if parts.scheme not in {"redis", "rediss"}:
        raise ValueError("must begin with redis:// or rediss://")
    if not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError("must end with the number of a database, or without: redis://host:port/0")
    return value


def _parts(url: str) -> SplitResult:
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is no number from 0 to 65535") from None
    return parts


def _header_text(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isascii():
        raise ValueError("has characters outside ASCII: was it copied whole and alone?")
    return value


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token of the admin API, and whose it is where that is said."""

    secret: SecretStr
    name: str | None


def api_tokens(setting: SecretStr | None) -> list[ApiToken]:
    """The tokens of a setting, each `token` or `name:token`, separated by commas. Raises ValueError, saying why."""
    parts = setting.get_secret_value().split(",") if setting else []
    tokens = [_api_token(part.strip()) for part in parts]
    if len({token.secret for token in tokens}) < len(tokens):
        raise ValueError("has one token twice")
    return tokens


def _api_token(text: str) -> ApiToken:
    first, colon, rest = text.partition(":")
    name, secret = (first, rest) if colon else (None, text)
    if name is not None and not _TOKEN_NAME.fullmatch(name):
        raise ValueError("has a name before a colon that is not made of up to 40 letters, digits and . _ @ -")
    if not _TOKEN.fullmatch(secret):
        raise ValueError("must be tokens of printable ASCII without spaces, separated by commas: token or name:token")
    return ApiToken(SecretStr(secret), name)


def _are_api_tokens(value: SecretStr) -> SecretStr:
    api_tokens(value)
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no timezone of the tz database; it should be like UTC or Asia/Kolkata") from None
    return value


def _time_of_day(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("must be a time of day like 04:30")
    return value


_INTERVAL = re.compile(r"(\d{1,4})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def _intervals(value: object) -> object:
    if not isinstance(value, str):
        return value
    written = [_INTERVAL.fullmatch(word.strip()) for word in value.split(",")]
    intervals = tuple(int(each[1]) * _UNITS[each[2]] for each in written if each)
    if len(intervals) < len(written) or not all(intervals) or sum(intervals, timedelta()) > timedelta(days=60):
        raise ValueError("must be waits like 5m,2h,1d (minutes, hours, days), of 60 days in all at most")
    return intervals


def _list_unsubscribe(value: str) -> str:
    links = [link.strip().strip("<>") for link in value.split(",")]
    if not all(_UNSUBSCRIBE_LINK.fullmatch(link) for link in links):
        raise ValueError("must be https: or mailto: links, separated by commas, in ASCII and without spaces")
    header = ", ".join(f"<{link}>" for link in links)
    if len(header) > MAX_LIST_UNSUBSCRIBE:
        raise ValueError(f"has more than {MAX_LIST_UNSUBSCRIBE} characters as a header")
    return header


def _in_order(value: object) -> object:
    if isinstance(value, str):
        return [name.strip().lower() for name in value.split(",")]
    return value


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must name one provider, or several in their order, separated by commas")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names {', '.join(twice)} more than once")
    return names


def _separated_by_commas(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _country_codes(value: object) -> object:
    return _separated_by_commas(value.upper() if isinstance(value, str) else value)


def _notice_days(value: int) -> int:
    if value == 1:
        raise ValueError("must be 2 to 7, or 0: banks take 25 hours, for cards 36, so no notice of a day is in time")
    return value


Origin = Annotated[str, AfterValidator(_origin)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
ShopUrl = Annotated[str, AfterValidator(_shop_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Key = Annotated[SecretStr, AfterValidator(_header_text)]
ApiTokens = Annotated[SecretStr, AfterValidator(_are_api_tokens)]
PerSecond = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
InFlight = Annotated[int, Field(ge=1)]
UserNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
Timezone = Annotated[str, AfterValidator(_timezone)]
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
NoticeDays = Annotated[int, Field(ge=0, le=7), AfterValidator(_notice_days)]
Intervals = Annotated[tuple[timedelta, ...], NoDecode, BeforeValidator(_intervals)]
CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
EmailProviderName = Literal["sendgrid", "ses", "smtp", "console"]
SmsProviderName = Literal["twilio", "msg91", "console"]
EmailProviders = Annotated[
    tuple[EmailProviderName, ...], NoDecode, BeforeValidator(_in_order), AfterValidator(_each_once)
]
SmsProviders = Annotated[tuple[SmsProviderName, ...], NoDecode, BeforeValidator(_in_order), AfterValidator(_each_once)]
Countries = Annotated[tuple[CountryCode, ...], NoDecode, BeforeValidator(_country_codes)]
MailAddress = Annotated[str, AfterValidator(ascii_address)]
MailAddresses = Annotated[tuple[MailAddress, ...], NoDecode, BeforeValidator(_separated_by_commas)]
ListUnsubscribe = Annotated[str, AfterValidator(_list_unsubscribe)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$")]
OrderConfirmationDlt = Annotated[DltTemplate | None, NoDecode, dlt_template("order_number", "order_total")]
OrderShippedDlt = Annotated[
    DltTemplate | None, NoDecode, dlt_template("order_number", "tracking_info", "expected_delivery")
]
PaymentFailedDlt = Annotated[DltTemplate | None, NoDecode, dlt_template("order_number", "retry_payment_url")]
SubscriptionRenewalDlt = Annotated[DltTemplate | None, NoDecode, dlt_template("product_name", "amount")]
DeliverySkippedDlt = Annotated[
    DltTemplate | None, NoDecode, dlt_template("product_name", "delivery_dates", "reason", "subscription_url")
]
SubscriptionPausedDlt = Annotated[
    DltTemplate | None, NoDecode, dlt_template("product_name", "refusals", "subscription_url")
]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
