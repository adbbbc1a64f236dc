from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from app.notify.types import SMS_CONTEXTS, NotificationType
from app.settings import QueueSettings, Settings, SettingsFault, settings_or_exit

COMPLETE: Mapping[str, str] = {
    "REDIS_URL": "redis://:redis-password@localhost:6379/0",
    "DATABASE_URL": "postgres://indostar:database-password@localhost/shop",
    "FRONTEND_URL": "https://shop.example/",
    "SENDGRID_API_KEY": "SG.sendgrid-secret",
    "SENDGRID_FROM_EMAIL": "orders@example.com",
    "TWILIO_ACCOUNT_SID": "AC0123456789abcdef0123456789abcdef",
    "TWILIO_AUTH_TOKEN": "twilio-secret",
    "TWILIO_PHONE_NUMBER": "+15005550006",
    "RAZORPAY_KEY_ID": "rzp_test_key",
    "RAZORPAY_KEY_SECRET": "razorpay-secret",
    "ADMIN_API_TOKEN": "operator-secret-0123456789abcdef",
}
SECRETS = (
    "redis-password",
    "database-password",
    "sendgrid-secret",
    "twilio-secret",
    "razorpay-secret",
    "operator-secret",
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The complete settings and nothing else."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def read() -> Settings:
    return Settings(_env_file=None)


def faults_of(**values: Any) -> dict[str, str]:
    with pytest.raises(SettingsFault) as fault:
        Settings(_env_file=None, **values)
    return dict(fault.value.faults)


def test_production_is_what_nothing_else_is_said(environment: pytest.MonkeyPatch) -> None:
    settings = read()

    assert settings.environment == "production"
    assert settings.notifications_concurrency == 100
    assert settings.frontend_url == "https://shop.example"
    assert (settings.backend_url, settings.razorpay_webhook_secret) == (None, None)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_form_of_database_url_is_taken(environment: pytest.MonkeyPatch, scheme: str) -> None:
    environment.setenv("DATABASE_URL", f"{scheme}://me:pw@db:5433/shop?sslmode=require")

    url = read().database_url.get_secret_value()

    assert url == "postgresql+asyncpg://me:pw@db:5433/shop?sslmode=require"


def test_empty_means_unset(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SENDGRID_BASE_URL", "")

    assert read().sendgrid_base_url == "https://api.sendgrid.com"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("REDIS_URL", "http://localhost", "must begin with redis:// or rediss://"),
        ("DATABASE_URL", "mysql://localhost/shop", "must begin with postgres://"),
        ("DATABASE_URL", "postgres://localhost", "must name a database"),
        ("SENDGRID_BASE_URL", "https://api.sendgrid.com/v3", "scheme and host only"),
        ("TWILIO_BASE_URL", "api.twilio.com", "must be http"),
        ("FRONTEND_URL", "shop.example", "must be an http"),
        ("EMAIL_PROVIDER", "pigeon", "sendgrid"),
        ("EMAIL_PROVIDER", "console", "must not be console in production"),
        ("SMS_PROVIDER", "console", "must not be console in production"),
        ("EMAIL_PROVIDER", "sendgrid,console", "must not be console in production"),
        ("EMAIL_PROVIDER", "sendgrid,pigeon", "'ses'"),
        ("EMAIL_PROVIDER", "sendgrid,", "'ses'"),
        ("EMAIL_PROVIDER", "sendgrid, SendGrid", "names sendgrid more than once"),
        ("SMS_PROVIDER", "twilio,sendgrid", "'msg91'"),
        ("ADMIN_API_TOKEN", "short", "32 characters or more"),
        ("ADMIN_API_READONLY_TOKEN", "short", "32 characters or more"),
        ("ADMIN_API_TOKEN", f"asha:{'a' * 32},ravi:{'b' * 31}", "32 characters or more"),
        ("ADMIN_API_TOKEN", f"{'a' * 32},", "printable ASCII"),
        ("ADMIN_API_TOKEN", f"Asha K.:{'a' * 32}", "name before a colon"),
        ("ADMIN_API_TOKEN", f"asha:{'a' * 32},ravi:{'a' * 32}", "one token twice"),
        ("ADMIN_API_READONLY_TOKEN", "till:operator-secret-0123456789abcdef", "a token of ADMIN_API_TOKEN"),
        ("AUDIT_ACTOR_ID", "0", "greater than or equal to 1"),
        ("NOTIFICATIONS_CONCURRENCY", "0", "greater than or equal to 1"),
        ("NOTIFICATIONS_CONCURRENCY", "many", "valid integer"),
        ("SMS_COUNTRIES", "India", "pattern"),
        ("DATABASE_URL", "postgresql://u:p@h:54x/db", "port"),
        ("DATABASE_URL", "postgresql://u:p@h/db?channel_binding=require", "channel_binding"),
        ("REDIS_URL", "redis://h:63x/0", "port"),
        ("REDIS_URL", "redis://h/abc", "number of a database"),
        ("SHUTDOWN_GRACE_SECONDS", "inf", "finite"),
        ("SENDGRID_API_KEY", "SG.schlüssel", "ASCII"),
        ("TWILIO_ACCOUNT_SID", "foo/bar", "pattern"),
        ("TWILIO_PHONE_NUMBER", "+91 98123", "pattern"),
        ("RAZORPAY_KEY_ID", "key", "pattern"),
        ("RAZORPAY_KEY_SECRET", "schlüssel", "ASCII"),
        ("RAZORPAY_WEBHOOK_SECRET", "schlüssel", "ASCII"),
        ("BACKEND_URL", "backend:8000", "http(s) URL"),
        ("RAZORPAY_BASE_URL", "https://api.razorpay.com/v1", "scheme and host only"),
        ("SENDGRID_MAX_PER_SECOND", "0", "greater than 0"),
        ("SENDGRID_MAX_PER_SECOND", "inf", "finite"),
        ("TWILIO_MAX_IN_FLIGHT", "0", "greater than or equal to 1"),
        ("SES_MAX_PER_SECOND", "-1", "greater than 0"),
        ("SES_MAX_IN_FLIGHT", "0", "greater than or equal to 1"),
        ("SMTP_MAX_PER_SECOND", "often", "valid number"),
        ("SMTP_MAX_IN_FLIGHT", "0", "greater than or equal to 1"),
        ("MSG91_MAX_PER_SECOND", "100001", "less than or equal to 100000"),
        ("MSG91_MAX_IN_FLIGHT", "0", "greater than or equal to 1"),
        ("BREAKER_ERROR_PERCENT", "0", "greater than 0"),
        ("BREAKER_ERROR_PERCENT", "nan", "finite"),
        ("BREAKER_FEWEST_CALLS", "4", "greater than or equal to 5"),
        ("BREAKER_WINDOW_SECONDS", "0.5", "greater than or equal to 1"),
        ("BREAKER_LONGEST_WAIT_SECONDS", "4", "greater than or equal to 5"),
        ("LOG_LEVEL", "LOUD", "DEBUG"),
        ("SCHEDULE_TIMEZONE", "Asia/Bangalore", "tz database"),
        ("SCHEDULE_TIMEZONE", "Asia", "tz database"),
        ("SCHEDULE_TIMEZONE", "../UTC", "tz database"),
        ("SES_BASE_URL", "https://email.ap-south-1.amazonaws.com/v2", "scheme and host only"),
        ("AWS_REGION", "Mumbai", "pattern"),
        ("AWS_SECRET_ACCESS_KEY", "schlüssel", "ASCII"),
        ("SES_FROM_EMAIL", "orders", "@-sign"),
        ("SES_FROM_EMAIL", "आशा@example.com", "Internationalized"),
        ("SMTP_HOST", "mail example", "pattern"),
        ("SMTP_PORT", "65536", "less than or equal to 65535"),
        ("SMTP_SECURITY", "ssl", "starttls"),
        ("SMTP_CONNECTIONS", "0", "greater than or equal to 1"),
        ("EMAIL_REPLY_TO", "help", "@-sign"),
        ("EMAIL_LIST_UNSUBSCRIBE", "http://shop.example/unsubscribe", "https: or mailto:"),
        ("EMAIL_LIST_UNSUBSCRIBE", "https://shop.example/a b", "without spaces"),
        ("EMAIL_LIST_UNSUBSCRIBE", "https://shop.example/\r\nBcc: x@example.com", "without spaces"),
        ("EMAIL_LIST_UNSUBSCRIBE", "https://shop.example/" + "x" * 1000, "970 characters"),
        ("MSG91_SENDER_ID", "INDOSTAR", "pattern"),
        ("MSG91_TEMPLATE_ORDER_CONFIRMATION", "65f0 order_number", "ID order_number=NAME order_total=NAME"),
        ("MSG91_TEMPLATE_ORDER_CONFIRMATION", "65f0 order_no=VAR1", "ID order_number=NAME order_total=NAME"),
        ("MSG91_TEMPLATE_ORDER_CONFIRMATION", "order_number=VAR1", "ID order_number=NAME order_total=NAME"),
        ("MSG91_TEMPLATE_ORDER_CONFIRMATION", "65f0 order_number=V order_total=V", "one name for two"),
        ("FRONTEND_URL", "https://shop.example/" + "x" * 70, "more than 90 characters"),
        ("MSG91_TEMPLATE_ORDER_CONFIRMATION_HI", "65f0 order_number=V+W order_total=W", "one name for two"),
        ("MSG91_TEMPLATE_ORDER_CONFIRMATION_HI", "65f0 order_number=V+", "ID order_number=NAME order_total=NAME"),
        ("OWNER_EMAIL", "asha@example.com; ravi@example.com", "@-sign"),
        ("OWNER_EMAIL", f"{65 * 'a'}@example.com", "too long before the @-sign"),
        ("AUDIT_LOG_CLEANUP_AT", "4", "time of day"),
        ("SESSION_CLEANUP_AT", "24:00", "time of day"),
        ("TOKENS_REDIS_URL", "http://localhost", "must begin with redis://"),
        ("CHARGE_FOLLOW_UPS", "5", "waits like 5m,2h,1d"),
        ("CHARGE_FOLLOW_UPS", "5m,,1d", "waits like 5m,2h,1d"),
        ("CHARGE_FOLLOW_UPS", "0m", "waits like 5m,2h,1d"),
        ("CHARGE_FOLLOW_UPS", "59d,25h", "60 days in all"),
        ("MAX_FAILED_DELIVERIES", "-1", "greater than or equal to 0"),
        ("PRE_DEBIT_NOTICE_DAYS", "1", "25 hours, for cards 36"),
        ("PRE_DEBIT_NOTICE_DAYS", "-1", "greater than or equal to 0"),
        ("PRE_DEBIT_NOTICE_DAYS", "8", "less than or equal to 7"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_wrong(
    environment: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    environment.setenv(variable, value)

    faults = faults_of()

    assert list(faults) == [variable]
    assert sentence in faults[variable]


@pytest.mark.parametrize(
    ("chosen", "needed"),
    [
        ({"email_provider": "ses"}, {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SES_FROM_EMAIL"}),
        ({"email_provider": "smtp"}, {"SMTP_HOST", "SMTP_FROM_EMAIL"}),
        (
            {"email_provider": "sendgrid,ses", "sms_provider": "twilio"},
            {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SES_FROM_EMAIL"},
        ),
        (
            {"sms_provider": "twilio, msg91"},
            {"MSG91_AUTH_KEY"} | {f"MSG91_TEMPLATE_{kind.value.upper()}" for kind in SMS_CONTEXTS},
        ),
        (
            {"sms_provider": "msg91"},
            {"MSG91_AUTH_KEY"} | {f"MSG91_TEMPLATE_{kind.value.upper()}" for kind in SMS_CONTEXTS},
        ),
    ],
)
def test_a_provider_is_refused_without_what_it_needs(
    environment: pytest.MonkeyPatch, chosen: dict[str, str], needed: set[str]
) -> None:
    assert set(faults_of(**chosen)) == needed


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"smtp_username": "shop"}, "SMTP_PASSWORD"),
        ({"smtp_password": "secret"}, "SMTP_USERNAME"),
        ({"smtp_username": "shop", "smtp_password": "secret", "smtp_security": "none"}, "SMTP_SECURITY"),
    ],
)
def test_a_login_is_whole_and_not_readable_on_its_way(
    environment: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    server = {"email_provider": "smtp", "smtp_host": "mail.example", "smtp_from_email": "orders@example.com"}

    assert set(faults_of(**server, **given)) == {named}


def test_providers_are_in_the_order_in_which_they_take_over(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ENVIRONMENT", "development")
    environment.setenv("EMAIL_PROVIDER", "console, sendgrid")
    environment.setenv("SMS_PROVIDER", "")

    settings = read()

    assert settings.email_provider == ("console", "sendgrid")
    assert settings.sms_provider == ("twilio",)


def test_a_variable_may_be_spread_over_several_of_msg91s(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MSG91_TEMPLATE_PAYMENT_FAILED_HI", "65f0c1d2 retry_payment_url=V2+V3+V4")

    template = read().msg91_template_payment_failed_hi

    assert template is not None
    assert template.names == {"order_number": ("order_number",), "retry_payment_url": ("V2", "V3", "V4")}
    assert str(template) == "65f0c1d2 order_number=order_number retry_payment_url=V2+V3+V4"


def test_a_template_says_what_msg91_calls_our_variables(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MSG91_TEMPLATE_ORDER_CONFIRMATION", " 65f0c1d2  order_total=VAR2 ")

    template = read().msg91_template_order_confirmation

    assert template is not None
    assert template.template_id == "65f0c1d2"
    assert template.names == {"order_number": ("order_number",), "order_total": ("VAR2",)}


@pytest.mark.parametrize("kind", SMS_CONTEXTS)
@pytest.mark.parametrize("ending", ["", "_hi"])
def test_the_template_of_each_type_of_sms_has_all_its_variables(
    environment: pytest.MonkeyPatch, kind: NotificationType, ending: str
) -> None:
    environment.setenv(f"MSG91_TEMPLATE_{kind.value.upper()}{ending.upper()}", "65f0c1d2")

    template = getattr(read(), f"msg91_template_{kind.value}{ending}")

    assert template.names.keys() == SMS_CONTEXTS[kind].model_fields.keys()


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ("", ()),
        (" , ", ()),
        ("asha@example.com", ("asha@example.com",)),
        (" asha@example.com,ravi@दूध.example ", ("asha@example.com", "ravi@xn--j2bc4f.example")),
    ],
)
def test_the_owner_may_have_several_addresses(
    environment: pytest.MonkeyPatch, given: str, addresses: tuple[str, ...]
) -> None:
    environment.setenv("OWNER_EMAIL", given)

    assert read().owner_email == addresses


def test_links_to_unsubscribe_become_a_header(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("EMAIL_LIST_UNSUBSCRIBE", "https://shop.example/stop,<mailto:stop@shop.example>")

    assert read().email_list_unsubscribe == "<https://shop.example/stop>, <mailto:stop@shop.example>"


def test_a_senders_domain_is_written_as_every_server_reads_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SENDGRID_FROM_EMAIL", "orders@दूध.example")

    assert read().sendgrid_from_email == "orders@xn--j2bc4f.example"


@pytest.mark.parametrize("variable", sorted(COMPLETE))
def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch, variable: str) -> None:
    environment.delenv(variable)

    assert list(faults_of()) == [variable]


def test_development_goes_without_a_gateway(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ENVIRONMENT", "development")
    environment.delenv("RAZORPAY_KEY_ID")
    environment.delenv("RAZORPAY_KEY_SECRET")

    assert read().razorpay_key_id is None


def test_a_key_pasted_with_its_line_end_is_still_the_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SENDGRID_API_KEY", "SG.sendgrid-secret\n")

    key = read().sendgrid_api_key

    assert key is not None
    assert key.get_secret_value() == "SG.sendgrid-secret"


def test_every_fault_is_told_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LOG_LEVEL", "LOUD")
    environment.delenv("REDIS_URL")
    environment.delenv("TWILIO_AUTH_TOKEN")

    assert set(faults_of()) == {"LOG_LEVEL", "REDIS_URL", "TWILIO_AUTH_TOKEN"}


def test_a_process_stops_with_a_line_a_fault(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setitem(QueueSettings.model_config, "env_file", None)
    environment.setenv("REDIS_URL", "amqp://user:redis-password@localhost")

    with pytest.raises(SystemExit) as exit_:
        settings_or_exit(QueueSettings)

    assert exit_.value.code == 2
    assert capsys.readouterr().err == "REDIS_URL: must begin with redis:// or rediss://\n"


def test_secrets_are_in_no_repr_and_no_fault(environment: pytest.MonkeyPatch) -> None:
    shown = repr(read()) + str(read())
    environment.setenv("DATABASE_URL", "mysql://indostar:database-password@localhost/shop")
    shown += str(faults_of()) + repr(faults_of(redis_url="amqp://:redis-password@localhost"))

    assert [secret for secret in SECRETS if secret in shown] == []


def test_a_backend_that_only_enqueues_needs_only_redis(environment: pytest.MonkeyPatch) -> None:
    for name in COMPLETE:
        if name != "REDIS_URL":
            environment.delenv(name)

    assert QueueSettings(_env_file=None).redis_url.get_secret_value() == COMPLETE["REDIS_URL"]


def test_waits_are_read_with_their_units(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CHARGE_FOLLOW_UPS", "5m, 2h,1d")

    settings = read()

    assert settings.charge_follow_ups == (timedelta(minutes=5), timedelta(hours=2), timedelta(days=1))
