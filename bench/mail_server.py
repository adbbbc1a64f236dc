"""`python -m bench.mail_server PORT SMTP_PORT`: takes mails by SMTP, and counts them for whoever asks on PORT."""

import asyncio
import sys
import time

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

from bench.provider import Seen, serve, told


class Taker:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def handle_DATA(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802 -- aiosmtpd's name
        self._seen.first_ns = self._seen.first_ns or time.monotonic_ns()
        self._seen.count += 1
        self._seen.last_ns = time.monotonic_ns()
        return "250 OK"


async def main(port: int, smtp_port: int) -> None:
    loop, seen = asyncio.get_running_loop(), Seen()
    taker = Taker(seen)
    server = await loop.create_server(lambda: SMTP(taker, hostname="bench", loop=loop), "127.0.0.1", smtp_port)
    async with server:
        await serve(told(seen), port)


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
