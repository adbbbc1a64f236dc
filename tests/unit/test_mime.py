"""What SMTP carries says what the mail says, in lines that every server takes."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import example, given
from hypothesis import strategies as st

from app.providers.mail import Mail, Sender
from app.providers.mime import as_bytes, message_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINK = f"<https://dairy.example/unsubscribe/{'u' * 300}>"
SENDER = Sender(email="orders@dairy.example", name="Śri, “Dairy”", reply_to="h@dairy.example", list_unsubscribe=LINK)

# What a subject and a body may hold: app/notify/content.py sees to it.
SUBJECTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(
    lambda subject: subject == subject.strip()
)
BODIES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def read(content: bytes) -> EmailMessage:
    """As a mail program does. Fails for a line that is too long, and for bytes that are not ASCII."""
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.isascii()
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    return message


def text_of(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return lines(part.get_content())


def lines(text: str) -> str:
    """`text` with line ends of one kind, the last line's among them."""
    return re.sub("\r\n?", "\n", text).removesuffix("\n")


def mail(subject: str = "s", text: str = "t", html: str | None = None, to: str = "asha@example.com") -> Mail:
    return Mail(to=to, subject=subject, text=text, html=html, key="k")


@given(SUBJECTS)
@example("x " * 200 + "y" * 400)
@example("₹" * 998)
def test_a_subject_is_read_as_it_was_written(subject: str) -> None:
    assert read(as_bytes(mail(subject), SENDER, NOW))["Subject"] == subject


@given(BODIES)
@example(".\n..\n.\r\n")
@example("From me\n")
@example("x" * 5000)
@example("दूध\r\n" * 500)
def test_text_and_html_are_read_as_they_were_written(text: str) -> None:
    message = read(as_bytes(mail(text=text, html=f"<p>{text}</p>"), SENDER, NOW))

    assert text_of(message, "plain") == lines(text)
    assert text_of(message, "html") == lines(f"<p>{text}</p>")
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_the_longest_addresses_and_links_stay_whole() -> None:
    domain = ".".join(["d" * 60] * 3) + ".example"
    to = f"{'a' * 64}@{domain}"
    sender = Sender(email=f"{'o' * 60}@{domain}", reply_to=f"{'h' * 64}@{domain}", list_unsubscribe=LINK)
    letter = mail(to=to)

    content = as_bytes(letter, sender, NOW)

    message = read(content)
    assert (message["To"], message["Reply-To"]) == (to, sender.reply_to)
    assert message["From"].addresses[0].addr_spec == sender.email
    assert message["Message-ID"] == f"<{message_id(letter, sender)}>"
    # On one line and as it is: programs look for the link, and decode nothing.
    assert f"List-Unsubscribe: {LINK}\r\n".encode() in content


def test_a_name_is_shown_as_it_was_given() -> None:
    message = read(as_bytes(mail(), SENDER, NOW))

    assert message["From"].addresses[0].display_name == "Śri, “Dairy”"
    assert message["Date"].datetime == NOW
