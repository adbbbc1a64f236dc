"""Watching jobs live as a page does: over HTTP, from a server and a worker that are processes of their own."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from admin_api.application import create_app
from app.jobs.pool import JobPool
from app.settings import Settings
from tests.e2e.admin_server import admin_server
from tests.e2e.commands import command
from tests.settings import OPERATOR_TOKEN, VIEWER_TOKEN, make_settings
from tests.sse import Told, events_in
from tests.waiting import PATIENCE, until

VIEWER = {"Authorization": f"Bearer {VIEWER_TOKEN}"}
MAIL: dict[str, Any] = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}
# With ids so long these are twice what waits for one reader.
BATCHES, JOBS_AT_ONCE, LONG = 8, 150, "x" * 900


class Page:
    """What a page has been told so far."""

    def __init__(self, answer: httpx.Response) -> None:
        self.raw = b""
        self.has_ended = False
        self._reading = asyncio.create_task(self._read(answer))

    async def _read(self, answer: httpx.Response) -> None:
        async for raw in answer.aiter_raw():
            self.raw += raw
        self.has_ended = True

    def told(self, *kinds: str) -> list[Told]:
        return [each for each in events_in(self.raw) if each.event in kinds]

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@asynccontextmanager
async def page(url: str, query: str = "") -> AsyncIterator[Page]:
    async with (
        httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client,
        client.stream("GET", f"/admin/events{query}", headers=VIEWER) as answer,
    ):
        assert answer.status_code == 200
        opened = Page(answer)
        try:
            yield opened
        finally:
            await opened.close()


async def test_a_page_sees_jobs_as_they_happen(environment: Mapping[str, str], pool: JobPool) -> None:
    async with (
        admin_server(environment) as server,
        page(server.url) as everything,
        page(server.url, "?status=succeeded&queue=notifications") as done,
        command("arq", "worker.WorkerSettings", environment=environment),
    ):
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="j1")

        [end] = await until(lambda: done.told("job"))
        story = await until(lambda: [each for each in everything.told("job") if each.data["status"] == "succeeded"])

        assert (end.data["id"], end.data["task"]) == ("j1", "send_email_task")
        assert story[-1].data == end.data
        assert sum(each.data["changes"] for each in everything.told("job")) >= 3
        assert b"asha" not in everything.raw

        # Uvicorn waits for open answers; they are to end by themselves.
        server.process.send(signal.SIGTERM)
        assert await server.process.exit_code() in {0, -signal.SIGTERM}
        await until(lambda: everything.has_ended and done.has_ended)


async def test_what_can_not_be_watched_is_refused_by_name(environment: Mapping[str, str]) -> None:
    # An answer that is none of these would go on for ever.
    async with (
        admin_server(environment) as server,
        httpx.AsyncClient(base_url=server.url) as client,
        asyncio.timeout(PATIENCE),
    ):
        assert (await client.get("/admin/events")).status_code == 401
        for query, named in (
            ("colour=red", "colour"),
            ("queue=milk", "queue"),
            ("status=gone", "status"),
            ("task=send_milk", "send_milk"),
        ):
            answer = await client.get(f"/admin/events?{query}", headers=VIEWER)
            assert (answer.status_code, named in answer.text) == (422, True)
        answer = await client.get("/admin/events", headers={**VIEWER, "Last-Event-ID": "yesterday"})
        assert (answer.status_code, "Last-Event-ID" in answer.text) == (422, True)


@asynccontextmanager
async def stingy_server(settings: Settings) -> AsyncIterator[str]:
    """The admin API on sockets that hold little of what is not read; its URL."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            await until(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def test_a_reader_that_does_not_read_holds_up_nobody(redis_url: str, pool: JobPool) -> None:
    async with stingy_server(make_settings(redis_url=redis_url)) as url, page(url) as quick:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", httpx.URL(url).port))
            request = f"GET /admin/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPERATOR_TOKEN}\r\n\r\n"
            await loop.sock_sendall(slow, request.encode())
            # It has its place when its answer begins.
            raw = await loop.sock_recv(slow, 1)
            for batch in range(1, BATCHES + 1):
                ids = (f"{batch}:{number}:{LONG}" for number in range(JOBS_AT_ONCE))
                await pool.send([pool.new_job("send_email_task", (), MAIL, job_id=job_id) for job_id in ids])
                told = batch * JOBS_AT_ONCE
                await until(lambda told=told: quick.raw.count(b"event: job\n") == told)  # type: ignore[misc]

            async with asyncio.timeout(PATIENCE):
                while b"event: missed" not in raw[-200_000:]:
                    raw += await loop.sock_recv(slow, 1 << 16)

        assert quick.told("missed") == []
        assert raw.count(b"event: job\n") < BATCHES * JOBS_AT_ONCE
