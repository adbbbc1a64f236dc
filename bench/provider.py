"""`python -m bench.provider PORT`: takes mails as SendGrid does, 80 ms each, and counts them.

The fake of `app/dev` keeps and checks every mail; this one must cost less than the clients that it measures.
"""

import asyncio
import sys
import time
from dataclasses import asdict, dataclass
from typing import Self

import uvloop
from aiohttp import ClientSession, web

LATENCY_SECONDS = 0.08


@dataclass(slots=True)
class Seen:
    """Mails answered, when the first came and when the last was answered (ns, monotonic)."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @classmethod
    async def asked(cls, session: ClientSession, url: str) -> Self:
        async with session.get(f"{url}/seen") as answer:
            return cls(**await answer.json())

    @property
    def per_second(self) -> float:
        return self.count / (self.last_ns - self.first_ns) * 1e9


def told(seen: Seen) -> web.Application:
    """An application that tells what was seen."""

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response(asdict(seen))

    application = web.Application()
    application.add_routes([web.get("/seen", tell)])
    return application


def provider() -> web.Application:
    seen = Seen()

    async def take(request: web.Request) -> web.Response:
        seen.first_ns = seen.first_ns or time.monotonic_ns()
        await request.read()
        await asyncio.sleep(LATENCY_SECONDS)
        seen.count += 1
        seen.last_ns = time.monotonic_ns()
        return web.Response(status=202, headers={"X-Message-Id": str(seen.count)})

    application = told(seen)
    application.add_routes([web.post("/v3/mail/send", take)])
    return application


async def serve(application: web.Application, port: int) -> None:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(provider(), int(sys.argv[1])))
