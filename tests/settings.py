"""Settings for tests: the fakes as providers, and nothing from .env files."""

from typing import Any

from app.dev.fakes import sendgrid, twilio
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
        "sms_provider": "twilio",
        "twilio_account_sid": twilio.ACCOUNT_SID,
        "twilio_auth_token": twilio.AUTH_TOKEN,
        "twilio_phone_number": "+15005550006",
        "twilio_base_url": fakes_url,
        "admin_api_token": OPERATOR_TOKEN,
        "admin_api_readonly_token": VIEWER_TOKEN,
    }
    return Settings(_env_file=None, **(values | others))


def as_environment(settings: Settings) -> dict[str, str]:
    """The same settings as environment variables for a process."""
    values = settings.model_dump(exclude_unset=True)
    return {
        name.upper(): value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in values.items()
    }
