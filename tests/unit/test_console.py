"""The console in the place of the providers."""

from datetime import UTC, datetime

from structlog.testing import capture_logs

from app.providers.console import Console
from app.providers.mail import EmailProvider, Mail
from app.providers.sms import Sms, SmsProvider

MAIL = Mail(to="asha@example.com", subject="Your order", text="Dear Asha", html=None, key="job-1:email")
SMS = Sms(to="+919812345678", text="Dear Asha", key="job-1:sms")


async def test_each_message_is_one_line_without_address_and_text() -> None:
    mail: EmailProvider = Console()
    sms: SmsProvider = Console()

    with capture_logs() as logs:
        ids = [await mail.send(MAIL), await sms.send(SMS)]

    assert logs == [
        {"event": "console.sent", "log_level": "info", "channel": channel, "key": f"job-1:{channel}", "message_id": id_}
        for channel, id_ in zip(["email", "sms"], ids, strict=True)
    ]
    assert len(set(ids)) == 2


async def test_it_has_no_message_that_was_lost() -> None:
    assert (
        await Console().find(SMS, since=datetime(2026, 3, 1, tzinfo=UTC), until=datetime(2026, 3, 2, tzinfo=UTC))
        is None
    )
