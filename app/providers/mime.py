"""A mail as the bytes that SMTP carries."""

import re
from base64 import encodebytes
from binascii import b2a_qp
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final
from uuid import uuid4

from app.providers.mail import Mail, Sender

# Seven bits, because not every server on the way takes eight.
_POLICY: Final = SMTP.clone(cte_type="7bit")
# What needs neither quotes nor encoding, in one line. Source: RFC 5322 3.4.1, 2.1.1.
_PLAIN_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+")
_PLAIN_SUBJECT: Final = re.compile(r"(?!.*=\?)[!-~][ -~]{0,67}")
_LINE_END: Final = re.compile(r"\r\n?|\n")
# With the line's end it is one that every server takes. Source: RFC 5321 4.5.3.1.6.
_LONGEST_LINE: Final = 998
# Of the bytes, from where on base64 is shorter than escaping each.
_MUCH: Final = 1 / 6


def message_id(mail: Mail, sender: Sender) -> str:
    """The Message-ID without its brackets: the same each time this mail is sent, and no other mail's."""
    return f"{sha256(mail.key.encode()).hexdigest()[:40]}@{sender.email.rpartition('@')[2]}"


def as_bytes(mail: Mail, sender: Sender, date: datetime) -> bytes:
    """Headers and parts in ASCII, text before HTML, with CRLF at each line's end.

    Python's EmailMessage would take a worker longer than everything else about a mail: it parses each header that it
    is given. It writes here only what is the same in every mail.
    """
    headers = (
        *_of_sender(sender),
        _to(mail.to),
        _subject(mail.subject),
        f"Date: {format_datetime(date)}",
        f"Message-ID: <{message_id(mail, sender)}>",
        "MIME-Version: 1.0",
    )
    head = "\r\n".join(headers).encode("ascii")
    text = _part("plain", mail.text)
    if mail.html is None:
        return head + b"\r\n" + text
    boundary = f"=_{uuid4().hex}".encode()
    return b"\r\n".join(
        (
            head,
            b'Content-Type: multipart/alternative; boundary="' + boundary + b'"',
            b"",
            b"--" + boundary,
            text,
            b"--" + boundary,
            _part("html", mail.html),
            b"--" + boundary + b"--",
            b"",
        )
    )


@lru_cache(maxsize=8)
def _of_sender(sender: Sender) -> tuple[str, ...]:
    headers = [_written("From", Address(sender.name, addr_spec=sender.email))]
    if sender.reply_to:
        headers.append(_written("Reply-To", Address(addr_spec=sender.reply_to)))
    if sender.list_unsubscribe:
        # Python would fold a long URL into encoded words, which nobody decodes here.
        headers.append(f"List-Unsubscribe: {sender.list_unsubscribe}")
    return tuple(headers)


def _to(address: str) -> str:
    if _PLAIN_ADDRESS.fullmatch(address):
        return f"To: {address}"
    return _written("To", Address(addr_spec=address))


def _subject(subject: str) -> str:
    if _PLAIN_SUBJECT.fullmatch(subject):
        return f"Subject: {subject}"
    # Always as encoded words: a long word could not be folded, and spaces at folds would be lost.
    return f"Subject: {Header(subject, 'utf-8', header_name='Subject').encode(linesep=chr(13) + chr(10))}"


def _written(name: str, value: Address) -> str:
    """A header as Python writes it, folded and encoded where it must be."""
    message = EmailMessage(_POLICY)
    message[name] = value
    return message.as_string(policy=_POLICY).rstrip("\r\n")


def _part(subtype: str, content: str) -> bytes:
    """Headers and body of a text, which ends with a line's end."""
    text = _LINE_END.sub("\r\n", content)
    if not text.endswith("\r\n"):
        text += "\r\n"
    data = text.encode()
    if text.isascii() and len(max(text.split("\r\n"), key=len)) <= _LONGEST_LINE:
        encoding, body = b"7bit", data
    elif len(data) - len(text.encode("ascii", "ignore")) > _MUCH * len(data):
        encoding, body = b"base64", encodebytes(data).replace(b"\n", b"\r\n")
    else:
        encoding, body = b"quoted-printable", b2a_qp(data, istext=True)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: '.encode()
    return head + encoding + b"\r\n\r\n" + body
