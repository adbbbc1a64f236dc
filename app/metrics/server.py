"""Showing a worker process's metrics on a port of its own."""

import asyncio
from threading import Thread
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import start_http_server

from app.metrics.worker import WorkerMetrics

log = structlog.stdlib.get_logger(__name__)

# The loop's turns that are timed (seconds apart).
TURN = 0.5
# Whoever had the port before lets it go when it begins to drain.
TAKE_OVER_EVERY = 0.5


class MetricsServer:
    """A companion of a worker: serves in a thread, so that a loop that stands still is told of.

    It ends when the worker begins to drain, and its successor takes the port over.
    """

    name = "metrics"

    def __init__(self, metrics: WorkerMetrics, port: int, address: str = "0.0.0.0") -> None:  # noqa: S104 -- scraped from elsewhere
        self._metrics = metrics
        self._port = port
        self._address = address

    async def run(self) -> None:
        server, thread = await self._open()
        try:
            await self._time_turns()
        finally:
            # It looks up every half a second only.
            await asyncio.shield(asyncio.to_thread(_close, server, thread))

    async def _open(self) -> tuple[WSGIServer, Thread]:
        is_told = False
        while True:
            try:
                return start_http_server(self._port, self._address, self._metrics.registry)
            except OSError as error:
                if not is_told:
                    is_told = True
                    log.info("metrics.port_taken", port=self._port, error=error.strerror)
            await asyncio.sleep(TAKE_OVER_EVERY)

    async def _time_turns(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + TURN
            await asyncio.sleep(TURN)
            self._metrics.count_turn(clock() - due)


def _close(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
