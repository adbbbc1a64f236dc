"""A mail as the bytes that SMTP carries."""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256
from typing import Final

from app.providers.mail import Mail, Sender

# Seven bits, because not every server on the way takes eight.
_POLICY: Final = SMTP.clone(cte_type="7bit")


def message_id(mail: Mail, sender: Sender) -> str:
    """The Message-ID without its brackets: the same each time this mail is sent, and no other mail's."""
    return f"{sha256(mail.key.encode()).hexdigest()[:40]}@{sender.email.rpartition('@')[2]}"


def as_bytes(mail: Mail, sender: Sender, date: datetime) -> bytes:
    """Headers and parts in ASCII, text before HTML, with CRLF at each line's end."""
    message = EmailMessage(_POLICY)
    message["From"] = Address(sender.name, addr_spec=sender.email)
    message["To"] = Address(addr_spec=mail.to)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(date)
    message["Message-ID"] = f"<{message_id(mail, sender)}>"
    if sender.reply_to:
        message["Reply-To"] = Address(addr_spec=sender.reply_to)
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
    if sender.list_unsubscribe is None:
        return message.as_bytes()
    # Python would fold a long URL into encoded words, which nobody decodes here.
    return f"List-Unsubscribe: {sender.list_unsubscribe}\r\n".encode("ascii") + message.as_bytes()
