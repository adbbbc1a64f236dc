"""How long rows of the outbox are kept, and their keys with them: as long as history has their jobs."""

from sqlalchemy import text

from app.db.retention import PagedDelete

# Rows are as old as their ids, but for those that wait for a time of their own: a page or two are looked at in vain.
OLD_ROWS = PagedDelete(
    text("""
        WITH page AS (
            SELECT id, created_at < :before AS is_old,
                   ended_at < :before AND NOT EXISTS (
                       SELECT FROM tasks.jobs AS job WHERE job.id = 'outbox:' || outbox.id) AS is_over
            FROM tasks.outbox
            WHERE id > :after_id
            ORDER BY id
            LIMIT :most
        ),
        gone AS (
            DELETE FROM tasks.outbox USING page WHERE outbox.id = page.id AND page.is_over RETURNING outbox.id
        )
        SELECT (SELECT count(*) FROM gone) AS deleted, max(id) AS after_id FROM page HAVING bool_or(is_old)
    """),
    {"after_id": 0},
)
