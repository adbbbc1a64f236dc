"""How long it is kept who ran a dead letter again or discarded it: as long as history has that job."""

from datetime import UTC, datetime

from sqlalchemy import text

from app.db.retention import PagedDelete

OLD_ENDS = PagedDelete(
    text("""
        WITH page AS (
            SELECT job_id, enqueued_at, closed_at < :before AND NOT EXISTS (
                       SELECT FROM tasks.jobs AS job WHERE job.id = closed.job_id) AS is_over
            FROM tasks.closed_letters AS closed
            WHERE (job_id, enqueued_at) > (CAST(:after_job AS text), CAST(:after_time AS timestamptz))
            ORDER BY job_id, enqueued_at
            LIMIT :most
        ),
        gone AS (
            DELETE FROM tasks.closed_letters AS closed USING page
            WHERE closed.job_id = page.job_id AND closed.enqueued_at = page.enqueued_at AND page.is_over
            RETURNING closed.job_id
        )
        SELECT (SELECT count(*) FROM gone) AS deleted, job_id AS after_job, enqueued_at AS after_time
        FROM page ORDER BY job_id DESC, enqueued_at DESC LIMIT 1
    """),
    {"after_job": "", "after_time": datetime(1, 1, 2, tzinfo=UTC)},
)
