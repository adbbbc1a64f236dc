"""The fakes on a port of this machine."""

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.dev.fakes.app import Fakes

HOST = "127.0.0.1"


class _Connection(HttpToolsProtocol):
    """Hands its transport to the app, because ASGI has no word for dropping a connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport

    def shutdown(self) -> None:
        # A request that is never to be answered must not hold up the end.
        self.transport.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to whoever runs the loop."""
        yield


@asynccontextmanager
async def running_fakes(port: int = 0, *, smtp_port: int = 0, fakes: Fakes | None = None) -> AsyncIterator[Fakes]:
    """The fakes, serving in this loop at `fakes.url` and `fakes.smtp_port`; port 0 is a free one.

    Raises OSError when a port is taken.
    """
    fakes = fakes or Fakes()
    listener = socket.create_server((HOST, port), backlog=1024)
    fakes.url = f"http://{HOST}:{listener.getsockname()[1]}"
    server = _Server(
        uvicorn.Config(
            fakes.app,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=60,
        )
    )
    # The listener already queues connections, so there is no start to wait for.
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with fakes.smtp.serving(HOST, smtp_port) as fakes.smtp_port:
            yield fakes
    finally:
        server.should_exit = True
        await serving


async def serve(port: int, smtp_port: int = 0) -> None:
    """Serve the fakes on 127.0.0.1 until cancelled. Run it with `uvloop.run(serve(port, smtp_port))`."""
    async with running_fakes(port, smtp_port=smtp_port):
        await asyncio.Event().wait()
