"""Settings for tests: the fakes as providers, and nothing from .env files."""

from typing import Any

from app.dev.fakes import msg91, razorpay, sendgrid, ses, twilio
from app.settings import Settings

OPERATOR_TOKEN = "operator-token-for-tests-0123456789"
VIEWER_TOKEN = "viewer-token-for-tests-0123456789ab"


def make_settings(
    *,
    database_url: str = "postgresql://nobody@localhost/none",
    redis_url: str = "redis://localhost/0",
    fakes_url: str = "http://localhost",
    **others: Any,
) -> Settings:
    values: dict[str, Any] = {
        "environment": "development",
        "database_url": database_url,
        "redis_url": redis_url,
        "frontend_url": "https://shop.example",
        "email_provider": "sendgrid",
        "sendgrid_api_key": sendgrid.API_KEY,
        "sendgrid_from_email": "orders@example.com",
        "sendgrid_base_url": fakes_url,
        "aws_region": ses.REGION,
        "aws_access_key_id": ses.ACCESS_KEY_ID,
        "aws_secret_access_key": ses.SECRET_ACCESS_KEY,
        "ses_from_email": "orders@example.com",
        "ses_base_url": fakes_url,
        "smtp_host": "127.0.0.1",
        "smtp_security": "none",
        "smtp_from_email": "orders@example.com",
        "sms_provider": "twilio",
        "twilio_account_sid": twilio.ACCOUNT_SID,
        "twilio_auth_token": twilio.AUTH_TOKEN,
        "twilio_phone_number": "+15005550006",
        "twilio_base_url": fakes_url,
        "msg91_auth_key": msg91.AUTH_KEY,
        "msg91_base_url": fakes_url,
        **{f"msg91_{flow.replace('flow-', 'template-').replace('-', '_')}": flow for flow in msg91.TEMPLATES},
        "razorpay_key_id": razorpay.KEY_ID,
        "razorpay_key_secret": razorpay.KEY_SECRET,
        "razorpay_base_url": fakes_url,
        "admin_api_token": OPERATOR_TOKEN,
        "admin_api_readonly_token": VIEWER_TOKEN,
    }
    return Settings(_env_file=None, **(values | others))


def as_environment(settings: Settings) -> dict[str, str]:
    """The same settings as environment variables for a process."""
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    return {name.upper(): _as_written(value) for name, value in values.items()}


def _as_written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
