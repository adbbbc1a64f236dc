"""The settings that `make run` gives to everything it starts."""

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from app.dev.fakes import msg91, razorpay, sendgrid, ses, twilio
from app.dev.state import kept_secret
from app.settings import PROJECT_ROOT


def development_settings(state: Path, fakes_url: str, smtp_port: int) -> dict[str, str]:
    """Providers that are the fakes, and an operator's token that is kept in the state folder.

    EMAIL_PROVIDER and SMS_PROVIDER choose among them.
    """
    return {
        "EMAIL_PROVIDER": "sendgrid",
        "SENDGRID_API_KEY": sendgrid.API_KEY,
        "SENDGRID_BASE_URL": fakes_url,
        "AWS_REGION": ses.REGION,
        "AWS_ACCESS_KEY_ID": ses.ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": ses.SECRET_ACCESS_KEY,
        "SES_BASE_URL": fakes_url,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(smtp_port),
        "SMTP_SECURITY": "none",
        "SMS_PROVIDER": "twilio",
        "TWILIO_ACCOUNT_SID": twilio.ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": twilio.AUTH_TOKEN,
        "TWILIO_PHONE_NUMBER": "+15005550006",  # Twilio's own number for tests
        "TWILIO_BASE_URL": fakes_url,
        "MSG91_AUTH_KEY": msg91.AUTH_KEY,
        "MSG91_BASE_URL": fakes_url,
        **{
            f"MSG91_TEMPLATE_{text}": f"flow-{text.lower().replace('_', '-')}"
            for kind in (
                *("ORDER_CONFIRMATION", "ORDER_SHIPPED", "PAYMENT_FAILED"),
                *("SUBSCRIPTION_RENEWAL", "DELIVERY_SKIPPED", "SUBSCRIPTION_PAUSED"),
            )
            for text in (kind, f"{kind}_HI")
        },
        "RAZORPAY_KEY_ID": razorpay.KEY_ID,
        "RAZORPAY_KEY_SECRET": razorpay.KEY_SECRET,
        "RAZORPAY_BASE_URL": fakes_url,
        # There is a day of deliveries then, whatever the time is.
        "SCHEDULE_TIMEZONE": "Asia/Kolkata",
        "ADMIN_API_TOKEN": kept_secret(state / "admin-api-token"),
    }


def shop_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """`.env`, then `ours`, `.env.local` and this process's environment: the later wins, empty means unset."""
    env, local = (dotenv_values(PROJECT_ROOT / name) for name in (".env", ".env.local"))
    layers: tuple[Mapping[str, str | None], ...] = (env, ours, local, os.environ)
    return {name: value for layer in layers for name, value in layer.items() if value}


def write_exports(file: Path, environment: Mapping[str, str], names: Iterable[str]) -> None:
    """Write a shell script, readable by its owner only, that sets these variables in another terminal."""
    file.touch(mode=0o600)
    file.write_text("".join(f"export {name}={shlex.quote(environment[name])}\n" for name in names))
