"""Every setting, read once from `.env`, `.env.local` and the environment (which wins)."""

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.setting_values import (
    ApiToken,
    ApiTokens,
    Countries,
    DeliverySkippedDlt,
    EmailProviders,
    HostName,
    InFlight,
    Intervals,
    Key,
    ListUnsubscribe,
    LogLevel,
    MailAddress,
    MailAddresses,
    NoticeDays,
    OrderConfirmationDlt,
    OrderShippedDlt,
    Origin,
    PaymentFailedDlt,
    PerSecond,
    PostgresUrl,
    RedisUrl,
    ShopUrl,
    SmsProviders,
    SubscriptionPausedDlt,
    SubscriptionRenewalDlt,
    TimeOfDay,
    Timezone,
    UserNumber,
    WebUrl,
    api_tokens,
)

ONE_DAY = timedelta(days=1)
PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


# What a provider cannot work without.
NEEDED_BY_PROVIDER: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("email_provider", "sendgrid"): ("sendgrid_api_key", "sendgrid_from_email"),
    ("email_provider", "ses"): ("aws_region", "aws_access_key_id", "aws_secret_access_key", "ses_from_email"),
    ("email_provider", "smtp"): ("smtp_host", "smtp_from_email"),
    ("email_provider", "console"): (),
    ("sms_provider", "twilio"): ("twilio_account_sid", "twilio_auth_token", "twilio_phone_number"),
    ("sms_provider", "msg91"): (
        "msg91_auth_key",
        "msg91_template_order_confirmation",
        "msg91_template_order_shipped",
        "msg91_template_payment_failed",
        "msg91_template_subscription_renewal",
        "msg91_template_delivery_skipped",
        "msg91_template_subscription_paused",
    ),
    ("sms_provider", "console"): (),
}


SHORTEST_TOKEN = 32

# What to do about a setting that has no default.
WHERE_FROM: Mapping[str, str] = {
    "redis_url": "is not set; set it to redis://host:port/0, or start everything with `make run`",
    "database_url": "is not set; set it to postgresql://user:password@host:port/name, or use `make run`",
    "frontend_url": "is not set; links in messages are built from it, as in https://shop.example",
}


class SettingsFault(Exception):
    """Settings that no process can start with: `faults` is (variable, what is wrong and what to do)."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(f"{variable}: {sentence}" for variable, sentence in self.faults)


class _Source(BaseSettings):
    """Where settings come from. Field names are the environment variables' names in lower case."""

    model_config = SettingsConfigDict(
        env_file=(PROJECT_ROOT / ".env", PROJECT_ROOT / ".env.local"),
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def _faults_between_fields(cls, raw: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: ARG003 -- for heirs
        return []

    @model_validator(mode="wrap")
    @classmethod
    def _report_every_fault_at_once(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Add the faults that lie between fields to those that lie within one."""
        # A key pasted with a line's end would be refused by its provider, not here.
        given = {name: value.strip() if isinstance(value, str) else value for name, value in data.items()}
        between = cls._faults_between_fields(given)
        try:
            model = handler(given)
        except ValidationError as error:
            raise SettingsFault([*map(_fault, error.errors()), *between]) from None
        if between:
            raise SettingsFault(between)
        return model


class QueueSettings(_Source):
    """What it takes to enqueue."""

    redis_url: RedisUrl


class DatabaseSettings(_Source):
    """What it takes to migrate."""

    database_url: PostgresUrl


class OperationsSettings(QueueSettings, DatabaseSettings):
    """What it takes to ask and to steer."""

    # Whose clocks the schedules go by.
    schedule_timezone: Timezone = "UTC"
    # When to delete old audit logs and abandoned sessions each day; by itself never where it is not set.
    audit_log_cleanup_at: TimeOfDay | None = None
    session_cleanup_at: TimeOfDay | None = None

    # What becomes of deliveries on whose date nothing ran: skipped, or delivered once with the next run.
    missed_deliveries: Literal["skip", "deliver_once"] = "skip"

    # After how many refusals in a row a subscription with a mandate is paused (0: never).
    max_failed_deliveries: int = Field(default=3, ge=0, le=30)

    # The shop's user in whose name its own audit_logs has what operators do.
    audit_actor_id: UserNumber | None = None


class GatewaySettings(OperationsSettings):
    """What it takes to ask the gateway, too."""

    # Without them nothing can be charged, and production does not start.
    razorpay_key_id: str | None = Field(default=None, pattern=r"^rzp_(test|live)_[A-Za-z0-9]+$")
    razorpay_key_secret: Key | None = None
    razorpay_base_url: Origin = "https://api.razorpay.com"

    # A provider is left alone when so many per cent of at least so many calls within so many seconds failed (of fewer
    # calls: five in a row); then it is tried again after 5 seconds, and each time that fails after twice as long.
    breaker_error_percent: float = Field(default=25, gt=0, le=100, allow_inf_nan=False)
    breaker_fewest_calls: int = Field(default=20, ge=5, le=100_000)
    breaker_window_seconds: float = Field(default=30, ge=1, le=3600, allow_inf_nan=False)
    breaker_longest_wait_seconds: float = Field(default=300, ge=5, le=3600, allow_inf_nan=False)


class Settings(GatewaySettings):
    """Everything that workers and the admin API go by."""

    environment: Environment = Environment.PRODUCTION
    log_level: LogLevel = "INFO"

    # Each provider's `max_per_second` and `max_in_flight` hold for all workers together.
    # Of several, in their order, each takes over what the one before it can't send.
    email_provider: EmailProviders = ("sendgrid",)
    # Headers of every mail: where answers go, and links (https:, mailto:) by which one unsubscribes.
    email_reply_to: MailAddress | None = None
    email_list_unsubscribe: ListUnsubscribe | None = None
    sendgrid_api_key: Key | None = None
    sendgrid_from_email: MailAddress | None = None
    sendgrid_base_url: Origin = "https://api.sendgrid.com"
    sendgrid_max_per_second: PerSecond | None = None
    sendgrid_max_in_flight: InFlight | None = None

    aws_region: str | None = Field(default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    aws_access_key_id: str | None = Field(default=None, pattern=r"^\w{11,128}$")
    aws_secret_access_key: Key | None = None
    ses_from_email: MailAddress | None = None
    # Unset: the one of the region.
    ses_base_url: Origin | None = None
    ses_configuration_set: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    ses_max_per_second: PerSecond | None = None
    ses_max_in_flight: InFlight | None = None

    smtp_host: HostName | None = None
    # Unset: 25, 587 with starttls, 465 with tls.
    smtp_port: int | None = Field(default=None, ge=1, le=65535)
    smtp_security: Literal["none", "starttls", "tls"] = "starttls"
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_from_email: MailAddress | None = None
    # In each worker process.
    smtp_connections: int = Field(default=10, ge=1, le=1000)
    smtp_max_per_second: PerSecond | None = None
    smtp_max_in_flight: InFlight | None = None

    sms_provider: SmsProviders = ("twilio",)
    twilio_account_sid: str | None = Field(default=None, pattern=r"^AC[0-9a-fA-F]{32}$")
    twilio_auth_token: Key | None = None
    # A number, a messaging service, or a sender's name.
    twilio_phone_number: str | None = Field(
        default=None, pattern=r"^(\+[1-9]\d{5,14}|MG[0-9a-fA-F]{32}|[A-Za-z0-9 ]{3,11})$"
    )
    twilio_base_url: Origin = "https://api.twilio.com"
    twilio_max_per_second: PerSecond | None = None
    twilio_max_in_flight: InFlight | None = None

    msg91_auth_key: Key | None = None
    msg91_sender_id: str | None = Field(default=None, pattern=r"^([A-Za-z]{6}|\d{6})$")
    msg91_base_url: Origin = "https://control.msg91.com"
    msg91_max_per_second: PerSecond | None = None
    msg91_max_in_flight: InFlight | None = None
    # Each type's DLT template: its id at MSG91, then `variable=NAME` for each that has another name there. Without the
    # one in Hindi MSG91 sends the type in English.
    msg91_template_order_confirmation: OrderConfirmationDlt = None
    msg91_template_order_shipped: OrderShippedDlt = None
    msg91_template_payment_failed: PaymentFailedDlt = None
    msg91_template_subscription_renewal: SubscriptionRenewalDlt = None
    msg91_template_delivery_skipped: DeliverySkippedDlt = None
    msg91_template_subscription_paused: SubscriptionPausedDlt = None
    msg91_template_order_confirmation_hi: OrderConfirmationDlt = None
    msg91_template_order_shipped_hi: OrderShippedDlt = None
    msg91_template_payment_failed_hi: PaymentFailedDlt = None
    msg91_template_subscription_renewal_hi: SubscriptionRenewalDlt = None
    msg91_template_delivery_skipped_hi: DeliverySkippedDlt = None
    msg91_template_subscription_paused_hi: SubscriptionPausedDlt = None

    # ISO 3166 codes of the countries whose mobile numbers get SMS.
    sms_countries: Countries = ("IN",)

    # Whether a message whose outcome nobody can tell is sent again (and counted as possibly twice).
    resend_unknown_mail: bool = True
    resend_unknown_sms: bool = True

    # Where the owner's mail goes; unset: to the users whose role is owner.
    owner_email: MailAddresses = ()

    # Links in messages are built from it.
    frontend_url: ShopUrl
    # Named in the shop's environment, and taken as it is; nothing here calls the backend yet.
    backend_url: WebUrl | None = None

    # For the gateway's webhooks, which are not served yet: until they are, charges are followed by asking.
    razorpay_webhook_secret: Key | None = None

    # Each holds one token or more, so that they can be changed one after another: `token` or `name:token`, separated by
    # commas. The name says in the audit who acted.
    admin_api_token: ApiTokens | None = None
    admin_api_readonly_token: ApiTokens | None = None

    # How long before a delivery its debit is announced (days; 0: the payment carries its own notice).
    pre_debit_notice_days: NoticeDays = 2
    # When a run pauses itself: so many percentage points more refusals or unknowns than in the last runs, or charges
    # that are so many times larger or smaller than any that the same subscriptions had for the same product.
    brake_refused_points: float = Field(default=40, ge=0, le=100, allow_inf_nan=False)
    brake_unknown_points: float = Field(default=25, ge=0, le=100, allow_inf_nan=False)
    brake_amount_factor: float = Field(default=3, gt=1, allow_inf_nan=False)

    # How long to wait before each look at a charge that is pending or unknown; after the last a person has to look.
    charge_follow_ups: Intervals = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), *5 * [ONE_DAY])

    # Where the shop's backend keeps its tokens and sessions, if that is not the queue's Redis.
    tokens_redis_url: RedisUrl | None = None

    notifications_concurrency: int = Field(default=100, ge=1, le=10_000)
    subscriptions_concurrency: int = Field(default=20, ge=1, le=10_000)
    default_concurrency: int = Field(default=10, ge=1, le=10_000)

    # How long a worker that fell silent keeps its jobs (seconds).
    job_lease_seconds: float = Field(default=15, ge=1, le=3600, allow_inf_nan=False)
    # How long a finished job's result can be read with `Job.result()` (seconds).
    result_ttl_seconds: int = Field(default=3600, ge=1)
    # How long running jobs may go on after SIGTERM before they are handed back (seconds).
    shutdown_grace_seconds: float = Field(default=25, ge=0, allow_inf_nan=False)
    # After how many jobs, for each job that may run at once, a worker drains and exits (0: never), and beyond how
    # much memory (MiB).
    worker_max_tasks_per_child: int = Field(default=1000, ge=0)
    worker_max_memory_mb: int | None = Field(default=None, ge=64)
    # How much memory of Redis events may take that are not on record yet (MiB): 256 hold those of a minute at 6,000
    # jobs a second, where arguments are short.
    events_max_mb: int = Field(default=256, ge=8)
    # How long jobs that have ended are on record.
    history_days: int = Field(default=90, ge=1, le=36_500)

    # Where each worker process shows its metrics; of several under one supervisor each next one has the next port.
    # Unset: nowhere.
    metrics_port: int | None = Field(default=None, ge=1, le=65_000)

    @classmethod
    def _faults_between_fields(cls, raw: Mapping[str, Any]) -> list[tuple[str, str]]:
        def value(field: str) -> Any:
            return raw.get(field) or cls.model_fields[field].default

        chosen = {choice: _names(value(choice)) for choice in ("email_provider", "sms_provider")}
        faults = [
            (name.upper(), f"is not set, and {choice.upper()}={','.join(chosen[choice])} needs it")
            for (choice, provider), needed in NEEDED_BY_PROVIDER.items()
            for name in needed
            if provider in chosen[choice] and not value(name)
        ]
        faults += [
            (name.upper(), f"is not set, and {other.upper()} is: a login needs both")
            for name, other in (("smtp_username", "smtp_password"), ("smtp_password", "smtp_username"))
            if value(other) and not value(name)
        ]
        if value("environment") == Environment.PRODUCTION:
            if "smtp" in chosen["email_provider"] and value("smtp_security") == "none" and value("smtp_username"):
                faults.append(("SMTP_SECURITY", "must not be none in production: the password would be readable"))
            faults += [
                (choice.upper(), "must not be console in production: nothing would be sent")
                for choice, names in chosen.items()
                if "console" in names
            ]
            faults += [
                (name.upper(), "is not set, and without it nothing can be charged")
                for name in ("razorpay_key_id", "razorpay_key_secret")
                if not value(name)
            ]
        faults += _token_faults(
            value("admin_api_token"),
            value("admin_api_readonly_token"),
            are_short_ones_wrong=value("environment") == Environment.PRODUCTION,
        )
        return faults


def _names(value: Any) -> Sequence[str]:
    """The providers of a setting that is not validated yet."""
    return [name.strip().lower() for name in value.split(",")] if isinstance(value, str) else value


def _fault(details: ErrorDetails) -> tuple[str, str]:
    field = str(details["loc"][0])
    if details["type"] == "missing":
        return field.upper(), WHERE_FROM[field]
    # pydantic prefixes what a validator raised; the reader wants the sentence alone.
    return field.upper(), details["msg"].removeprefix("Value error, ")


def _token_faults(operator: Any, viewer: Any, *, are_short_ones_wrong: bool) -> list[tuple[str, str]]:
    try:
        operators, viewers = _tokens_of(operator), _tokens_of(viewer)
    except ValueError:
        # The field itself tells of that.
        return []
    faults = []
    if are_short_ones_wrong:
        sentence = "must have 32 characters or more in production"
        faults += [
            (name, sentence)
            for name, tokens, is_needed in (
                ("ADMIN_API_TOKEN", operators, True),
                ("ADMIN_API_READONLY_TOKEN", viewers, False),
            )
            if (is_needed and not tokens) or any(len(token.secret) < SHORTEST_TOKEN for token in tokens)
        ]
    if {token.secret for token in operators} & {token.secret for token in viewers}:
        faults.append(("ADMIN_API_READONLY_TOKEN", "has a token of ADMIN_API_TOKEN: whoever has it acts"))
    return faults


def _tokens_of(setting: Any) -> list[ApiToken]:
    return api_tokens(setting if isinstance(setting, SecretStr) else SecretStr(setting)) if setting else []


S = TypeVar("S", bound=_Source)


def settings_or_exit(kind: type[S]) -> S:
    """The settings, for entry points: where they are missing or wrong, prints a line a fault and exits with 2."""
    try:
        return kind()
    except SettingsFault as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(2)
