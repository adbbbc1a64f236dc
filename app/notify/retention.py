"""How long it is kept what was sent: as long as history has a job of the line that sent it.

A dead letter keeps its line: were its messages forgotten, running it again would send them twice.
"""

from datetime import UTC, datetime

from sqlalchemy import text

from app.db.retention import PagedDelete

OLD_MESSAGES = PagedDelete(
    text("""
        WITH page AS (
            SELECT id, created_at, updated_at < :before
                   AND NOT EXISTS (SELECT FROM tasks.jobs AS job WHERE job.id = message.root_job_id)
                   AND NOT EXISTS (
                       SELECT FROM tasks.jobs AS job
                       WHERE job.root_id = message.root_job_id AND job.retry_of IS NOT NULL) AS is_over
            FROM tasks.messages AS message
            WHERE (created_at, id) > (CAST(:after_time AS timestamptz), CAST(:after_id AS bigint))
                AND created_at < :before
            ORDER BY created_at, id
            LIMIT :most
        ),
        gone AS (
            DELETE FROM tasks.messages AS message USING page WHERE message.id = page.id AND page.is_over
            RETURNING message.id
        )
        SELECT (SELECT count(*) FROM gone) AS deleted, created_at AS after_time, id AS after_id
        FROM page ORDER BY created_at DESC, id DESC LIMIT 1
    """),
    {"after_time": datetime(1, 1, 2, tzinfo=UTC), "after_id": 0},
)
