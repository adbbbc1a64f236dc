"""Providers whose calls are timed, for whoever counts them."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from app.providers.mail import EmailProvider, Mail
from app.providers.sms import Sms, SmsProvider

T = TypeVar("T")

# Is told of each call when it has ended: the provider's name, the seconds that it took, and what it raised.
CallHook = Callable[[str, float, BaseException | None], None]


class TimedEmail:
    """An EmailProvider with a hook at the end of each call."""

    def __init__(self, provider: EmailProvider, on_call: CallHook) -> None:
        self.name = provider.name
        self._provider = provider
        self._on_call = on_call

    async def send(self, mail: Mail, /) -> str:
        return await _timed(self.name, self._provider.send(mail), self._on_call)


class TimedSms:
    """An SmsProvider, likewise."""

    def __init__(self, provider: SmsProvider, on_call: CallHook) -> None:
        self.name = provider.name
        self._provider = provider
        self._on_call = on_call

    def carries(self, template: str | None, locale: str, /) -> bool:
        return self._provider.carries(template, locale)

    async def send(self, sms: Sms, /) -> str:
        return await _timed(self.name, self._provider.send(sms), self._on_call)

    async def find(self, sms: Sms, /, *, since: datetime, until: datetime) -> str | None:
        return await _timed(self.name, self._provider.find(sms, since=since, until=until), self._on_call)


async def _timed(provider: str, call: Awaitable[T], on_call: CallHook) -> T:
    started = time.perf_counter()
    error: BaseException | None = None
    try:
        return await call
    except BaseException as raised:
        error = raised
        raise
    finally:
        on_call(provider, time.perf_counter() - started, error)
