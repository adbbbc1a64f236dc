"""What the measured jobs do, the same for every system. Each takes one number.

Only the standard library: it runs in the peers' environment too.
"""

import time
from pathlib import Path
from typing import Any

from bench.measured.assignment import Assignment
from bench.measured.tally import Teller

ASSIGNMENT = Assignment.given()
TELLER = Teller(Path(ASSIGNMENT.tally))

MAIL_URL = f"{ASSIGNMENT.provider_url}/v3/mail/send"
MAIL_HEADERS = {"Authorization": "Bearer SG.bench"}
SUBJECT = "Your order"
TEXT = "Your milk is on its way. " * 40


def noop(_number: int) -> None:
    """Nothing, and is counted."""
    TELLER.ran(time.monotonic_ns())


def stamp(sent_ns: int) -> None:
    """Notes how long it was on its way."""
    TELLER.note("waited", time.monotonic_ns() - sent_ns)


def begin_hold(number: int) -> None:
    TELLER.note("started", number)


def end_hold(number: int) -> None:
    TELLER.note("done", number)


def mail_body(number: int) -> dict[str, Any]:
    """What SendGrid wants of a mail like ours."""
    return {
        "personalizations": [{"to": [{"email": "asha@example.com"}], "custom_args": {"message_key": str(number)}}],
        "from": {"email": "orders@example.com", "name": "IndoStar Naturals"},
        "subject": SUBJECT,
        "content": [{"type": "text/plain", "value": TEXT}],
    }
