"""The measured jobs for systems that run plain functions in processes or threads."""

import threading
import time
from collections.abc import Callable, Mapping

import requests

from bench.measured import work
from bench.measured.assignment import HOLD_SECONDS


def hold(number: int) -> None:
    work.begin_hold(number)
    time.sleep(HOLD_SECONDS)
    work.end_hold(number)


class _Session(threading.local):
    """A session a thread: requests does not promise that they can be shared."""

    def __init__(self) -> None:
        self.requests = requests.Session()
        self.requests.trust_env = False


_session = _Session()


def mail(number: int) -> None:
    answer = _session.requests.post(work.MAIL_URL, json=work.mail_body(number), headers=work.MAIL_HEADERS, timeout=10)
    answer.raise_for_status()


JOBS: Mapping[str, Callable[[int], None]] = {"noop": work.noop, "stamp": work.stamp, "hold": hold, "mail": mail}
