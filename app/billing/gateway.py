"""Razorpay as charges use it: left alone while it fails, and with its calls told to whoever counts them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr

from app.jobs.breaker import Breaker, BreakerOpen, Passage
from app.jobs.breaker_state import Verdict
from app.notify.ways import verdict_on
from app.providers.failures import ProviderUnreachable
from app.providers.payments.answers import failure
from app.providers.payments.razorpay import Razorpay
from app.providers.timed import CallHook


class GuardedRazorpay(Razorpay):
    """Raises ProviderUnreachable without a call while it is left alone. `on_call` is told of each call, and what
    its answer means."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        breaker: Breaker,
        *,
        base_url: str,
        key_id: str,
        key_secret: SecretStr,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_call: CallHook | None = None,
    ) -> None:
        super().__init__(client, base_url=base_url, key_id=key_id, key_secret=key_secret, now=now)
        self._breaker = breaker
        self._on_call = on_call

    async def aclose(self) -> None:
        """Returns when the other workers have been told what happened here."""
        await self._breaker.aclose()

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        try:
            async with self._breaker.passage() as passage:
                return await self._timed(request, passage)
        except BreakerOpen as left_alone:
            # As whoever asks it knows it: nothing was sent.
            raise ProviderUnreachable(
                self.name, "left_alone", left_alone.reason, retry_after=left_alone.retry_after
            ) from left_alone

    async def _timed(self, request: httpx.Request, passage: Passage) -> httpx.Response:
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            answer = await super()._exchange(request)
        except BaseException as raised:
            error = raised
            passage.note(verdict_on(raised), type(raised).__name__)
            raise
        else:
            if not answer.is_success:
                # By its code alone: its words may quote the request.
                error = problem = failure(answer, hide=(), now=self._now())
                passage.note(verdict_on(problem), problem.code)
            else:
                passage.note(Verdict.WELL)
            return answer
        finally:
            if self._on_call is not None:
                self._on_call(self.name, time.perf_counter() - started, error)
