"""The measured jobs for systems that run coroutines."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from bench.measured import work
from bench.measured.assignment import HOLD_SECONDS


async def noop(number: int) -> None:
    work.noop(number)


async def stamp(number: int) -> None:
    work.stamp(number)


async def hold(number: int) -> None:
    work.begin_hold(number)
    await asyncio.sleep(HOLD_SECONDS)
    work.end_hold(number)


class Mailer:
    """One session a process, made in the loop that uses it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def send(self, number: int) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), headers=work.MAIL_HEADERS, trust_env=False
            )
        async with self._session.post(work.MAIL_URL, json=work.mail_body(number)) as answer:
            await answer.read()
            answer.raise_for_status()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


MAILER = Mailer()


async def mail(number: int) -> None:
    await MAILER.send(number)


JOBS: Mapping[str, Callable[[int], Awaitable[None]]] = {
    "noop": noop,
    "stamp": stamp,
    "hold": hold,
    "mail": mail,
}
