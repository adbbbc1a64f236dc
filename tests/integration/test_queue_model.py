"""Any order of events against the real scripts: no job is ever lost, doubled, stuck or mistold.

`pytest tests/integration/test_queue_model.py --hypothesis-profile thorough` plays some thousand of them.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, Literal, TypeVar

import pytest
from arq.jobs import Job
from arq.utils import timestamp_ms
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from app.dev.valkey import EmbeddedValkey
from app.jobs.control import AbortAnswer, abort, pause, resume
from app.jobs.payload import Payload
from app.jobs.pool import NewJob
from app.jobs.progress import Progress
from app.jobs.queues import PAYLOAD, RESULT, Queue
from app.jobs.serializer import deserialize
from app.jobs.store import ClaimedJob, Finish
from tests.integration.queue_connections import QueueConnections
from tests.integration.queue_model import LEASE, ModelJob, QueueModel
from tests.integration.queue_view import Story, keys_in_redis

T = TypeVar("T")

RESULT_TTL = 3_600_000
LONGEST_WAIT = 3 * LEASE

# Few, so that the same one meets itself again.
ids = st.sampled_from(["a", "b", "c", "d"])
queues = st.sampled_from([*Queue])
limits = st.integers(1, 4)
# Nothing, a part of a lease, a lease and more.
times = st.sampled_from([0, 1, 300, LEASE // 3, LEASE, LEASE + 1, LONGEST_WAIT])


class QueueMachine(RuleBasedStateMachine):
    """Does to Redis what workers, enqueuers and operators do, and to the model what should become of it."""

    claimed = Bundle("claimed")
    finished = Bundle("finished")
    unanswered = Bundle("unanswered")

    def __init__(self, server: QueueConnections, set_clock: Callable[[int], None]) -> None:
        super().__init__()
        self.do = server.do
        self.pool, self.store, self.stock = server.pool, server.store, server.stock
        self._set_clock = set_clock
        self._numbers = count(1)
        self.do(self.pool.flushall())
        self.model = QueueModel(timestamp_ms())
        self.story = Story()
        self._pass(0)

    def _pass(self, milliseconds: int) -> None:
        self.model.now += milliseconds
        self.store.now_ms = self.model.now
        self._set_clock(self.model.now)

    def _token(self) -> str:
        return f"worker:{next(self._numbers)}"

    # Enqueuers

    @rule(job_id=ids, queue=queues, wait=times)
    def enqueue(self, job_id: str, queue: Queue, wait: int) -> None:
        payload = Payload("note", self.model.now, kwargs={"number": next(self._numbers)}).to_bytes()
        due = self.model.now + wait

        [is_new] = self.do(self.pool.send([NewJob(job_id, queue, payload, str(due))]))

        assert is_new == (not self.model.knows(job_id))
        if is_new:
            self.model.enqueue(job_id, queue, payload, due, is_told=True)
            # By another enqueuer in the same millisecond.
            assert self.do(self.pool.send([NewJob(job_id, queue, payload, str(due))])) == [False]

    @rule(job_id=ids, wait=times)
    def enqueue_by_stock_arq(self, job_id: str, wait: int) -> None:
        due = self.model.now + wait

        job = self.do(
            self.stock.enqueue_job("note", _job_id=job_id, _defer_until=datetime.fromtimestamp(due / 1000, UTC))
        )

        assert (job is not None) == (not self.model.knows(job_id))
        if job is not None:
            payload = self.do(self.pool.get(PAYLOAD + job_id))
            self.model.enqueue(job_id, Queue.DEFAULT, payload, due, is_told=False)

    # Workers

    @rule(target=claimed, queue=queues, limit=limits, silent=st.none() | times)
    def claim(self, queue: Queue, limit: int, silent: int | None) -> Any:
        silent_since = None if silent is None else self.model.now - silent
        token = self._token()
        expected = self.model.claim(queue, token, limit, silent_since)

        claim = self.do(self.store.claim(queue, token, limit, silent_since))

        assert claim.is_paused == (queue in self.model.paused)
        self._check_claimed(claim.jobs, expected)
        return multiple(*claim.jobs)

    @rule(target=unanswered, queue=queues, limit=limits)
    def claim_without_hearing_of_it(self, queue: Queue, limit: int) -> tuple[Queue, str]:
        token = self._token()
        self.do(self.store.claim(queue, token, limit))
        self.model.claim(queue, token, limit, None)
        return queue, token

    @rule(claim=unanswered)
    def release(self, claim: tuple[Queue, str]) -> None:
        assert self.do(self.store.release(claim[0], [claim[1]])) == self.model.release(*claim)

    @rule(target=claimed, job_id=ids)
    def take(self, job_id: str) -> Any:
        token = self._token()
        expected = self.model.take(job_id, token)

        job = self.do(self.store.take(job_id, token))

        jobs = [] if job is None else [job]
        self._check_claimed(jobs, [] if expected is None else [expected])
        return multiple(*jobs)

    def _check_claimed(self, claimed: list[ClaimedJob], expected: list[ModelJob]) -> None:
        told = [(job.id, job.queue, job.token, job.payload, job.tries, job.memory, job.lost) for job in claimed]
        assert told == [
            (job.id, job.queue, job.holder, job.payload, job.tries or 0, job.memory, job.lost) for job in expected
        ]
        assert [job.abort_ms is not None for job in claimed] == [job.id in self.model.aborts for job in expected]

    @rule(job=claimed)
    def renew(self, job: ClaimedJob) -> None:
        assert self.do(self.store.renew([job])) == [self.model.renew(job)]

    @rule(job=claimed, done=st.integers(0, 9))
    def publish_progress(self, job: ClaimedJob, done: int) -> None:
        progress = Progress(done, None, None)
        self.do(self.store.publish_progress([(job, progress)]))
        self.model.publish(job, progress.to_bytes())

    @rule(target=finished, job=claimed, op=st.sampled_from(["done", "fail"]))
    def end(self, job: ClaimedJob, op: Literal["done", "fail"]) -> Finish:
        model = self.model.jobs.get(job.id)
        arrival = Queue.DEFAULT.key if model is not None and model.mark is not None else ""
        return self._finish(Finish(op, job, RESULT_TTL, self._text(), other_queue=arrival))

    @rule(target=finished, job=claimed, wait=times, tries=st.integers(0, 1))
    def try_again(self, job: ClaimedJob, wait: int, tries: int) -> Finish:
        return self._finish(Finish("again", job, wait, self._text(), tries=job.tries + tries))

    @rule(target=finished, job=claimed)
    def put_back_as_it_was(self, job: ClaimedJob) -> Finish:
        return self._finish(Finish("keep", job, job.due_ms, self._text(), tries=job.tries))

    @rule(target=finished, job=claimed, to=st.sampled_from([Queue.NOTIFICATIONS, Queue.SUBSCRIPTIONS]))
    def move_to_its_own_queue(self, job: ClaimedJob, to: Queue) -> Any:
        if job.queue is not Queue.DEFAULT:
            return multiple()
        return self._finish(Finish("move", job, job.due_ms, self._text(), tries=job.tries, other_queue=to.key))

    @rule(finish=finished)
    def finish_again_because_the_answer_was_lost(self, finish: Finish) -> None:
        self._finish(finish)

    def _text(self) -> bytes:
        return b'{"number":%d}' % next(self._numbers)

    def _finish(self, finish: Finish) -> Finish:
        [held] = self.do(self.store.finish([finish]))
        assert held is self.model.finish(finish)
        return finish

    # Operators, and what happens to servers

    @rule(milliseconds=times)
    def time_passes(self, milliseconds: int) -> None:
        self._pass(milliseconds)

    @rule(queue=queues)
    def pause(self, queue: Queue) -> None:
        self.do(pause(self.pool, queue))
        self.model.paused.add(queue)

    @rule(queue=queues)
    def resume(self, queue: Queue) -> None:
        self.do(resume(self.pool, queue))
        self.model.paused.discard(queue)

    @rule(job_id=ids)
    def abort(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)

        answer = self.do(abort(self.pool, job_id))

        if job is None:
            assert answer is AbortAnswer.NO_SUCH_JOB
        else:
            assert answer is (AbortAnswer.ENDED_BEFORE if job.state == "ended" else AbortAnswer.ASKED)
        if answer is AbortAnswer.ASKED:
            self.model.aborts.add(job_id)

    @rule(job_id=ids)
    def abort_by_stock_arq(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.state == "ended":
            return
        handle = Job(job_id, self.stock, job.queue.key, deserialize)
        with pytest.raises(TimeoutError):
            self.do(handle.abort(timeout=0, poll_delay=0))
        self.model.hurry(job)
        self.model.aborts.add(job_id)

    @rule(job_id=ids)
    def abort_by_stock_arq_that_comes_half_way(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is not None and self.model.hurry(job):
            self.do(self.pool.zadd(job.queue.key, {job_id: 1}))

    @rule(job_id=ids)
    def forget_abort(self, job_id: str) -> None:
        self.do(self.store.forget_abort(job_id))
        self.model.aborts.discard(job_id)

    @rule(job_id=ids)
    def a_result_expires(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is not None and job.state == "ended" and job_id not in self.model.failed:
            self.do(self.pool.delete(RESULT + job_id))
            del self.model.jobs[job_id]

    @rule()
    def flushall(self) -> None:
        self.do(self.pool.flushall())
        self.model.flush()
        self.story.forget()

    @rule()
    def the_server_forgets_its_scripts(self) -> None:
        self.do(self.pool.script_flush())

    @invariant()
    def redis_holds_what_the_jobs_need_and_nothing_else(self) -> None:
        assert self.do(keys_in_redis(self.pool)) == self.model.keys()

    @invariant()
    def the_stream_tells_the_same(self) -> None:
        self.do(self.story.read_on(self.pool))
        # A job of a stock pool is told of when it is first claimed.
        told = {job.id: job for job in self.model.jobs.values() if job.is_told}
        states = {job_id: state for job_id, state in self.story.states.items() if job_id in told}
        assert states == {job_id: job.state for job_id, job in told.items()}
        for job_id, job in told.items():
            if job.progress is not None:
                assert self.story.progress[job_id] == job.progress

    def teardown(self) -> None:
        """Whatever state this is, workers that live get every job to its end."""
        for queue in Queue:
            self.resume(queue)
        for _ in range(4):
            self._pass(LONGEST_WAIT)
            for queue in Queue:
                for job in self.do(self.store.claim(queue, self._token(), 100)).jobs:
                    self.do(self.store.finish([Finish("done", job, RESULT_TTL, b"{}", other_queue=Queue.DEFAULT.key)]))
        keys = self.do(keys_in_redis(self.pool))
        assert set(keys[RESULT]) == set(self.model.jobs)
        assert keys["queues"] == {}
        super().teardown()


@pytest.fixture
def server(valkey_server: EmbeddedValkey) -> Iterator[QueueConnections]:
    server = QueueConnections(valkey_server.url)
    yield server
    server.close()


def test_no_order_of_events_loses_doubles_or_mistells_a_job(
    server: QueueConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_clock(now: int) -> None:
        monkeypatch.setattr("arq.jobs.timestamp_ms", lambda: now)

    class Machine(QueueMachine):
        def __init__(self) -> None:
            super().__init__(server, set_clock)

    run_state_machine_as_test(Machine, settings=settings(stateful_step_count=40, suppress_health_check=[*HealthCheck]))
