"""One job, wherever it is known."""

from app.history.reader import HistoryReader
from app.jobs.lookup import JobRecord, find_job
from app.jobs.pool import JobPool


async def find_job_or_record(pool: JobPool, history: HistoryReader, job_id: str) -> JobRecord | None:
    """The job as Redis knows it; where that has forgotten it, as it is on record; None where neither knows it.

    Redis forgets a result after an hour, and everything when it loses its data. Raises DatabaseUnavailable, and what
    Redis raises: whether a job waits or runs, history tells a moment later, and without Redis not at all.
    """
    return await find_job(pool, job_id) or await history.find(job_id)
