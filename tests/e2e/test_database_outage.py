"""PostgreSQL goes away under a real worker and comes back."""

from app.dev.fakes import running_fakes
from app.dev.fakes.inbox import Provider
from app.dev.postgres import EmbeddedPostgres
from app.jobs.lookup import JobState, find_job
from app.jobs.memory import AttemptOutcome
from app.tasks import TASKS
from app.tasks.notifications import send_email_task
from tests.e2e.commands import command
from tests.running import open_pool
from tests.settings import as_environment, make_settings
from tests.waiting import until

MAIL = ("asha@example.com", "Hello", "Milk")


async def test_jobs_are_put_off_while_postgres_is_away_and_use_no_try(
    postgres_server: EmbeddedPostgres, database_url: str, redis_url: str
) -> None:
    jobs = [f"j{number}" for number in range(5)]
    async with running_fakes() as fakes, open_pool(redis_url, TASKS) as pool:
        settings = make_settings(database_url=database_url, redis_url=redis_url, fakes_url=fakes.url)
        async with command("arq", "worker.WorkerSettings", environment=as_environment(settings)) as worker:
            before = await send_email_task.enqueue(pool, *MAIL)
            assert before is not None
            await before.result(timeout=30, poll_delay=0.05)

            await postgres_server.stop()
            try:
                for job_id in jobs:
                    await send_email_task.using(job_id=job_id).enqueue(pool, *MAIL)
                await until(lambda: worker.output.count("job.put_off") >= len(jobs))
            finally:
                await postgres_server.start()

            async def all_have_succeeded() -> bool:
                records = [await find_job(pool, job_id) for job_id in jobs]
                return all(record is not None and record.state is JobState.SUCCEEDED for record in records)

            await until(all_have_succeeded)

        for job_id in jobs:
            record = await find_job(pool, job_id)
            assert record is not None
            *earlier, last = [attempt.outcome for attempt in record.attempts]
            assert (set(earlier), last) == ({AttemptOutcome.PUT_OFF}, AttemptOutcome.SUCCEEDED)
            assert record.tries == 1
        assert len(fakes.inbox.find(Provider.SENDGRID)) == 1 + len(jobs)
