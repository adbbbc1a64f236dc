"""How long it is kept who did what: as long as history has what it was done to."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from app.db.retention import PagedDelete

OLD_AUDIT = PagedDelete(
    text("""
        WITH page AS (
            SELECT id, at FROM tasks.audit
            WHERE (at, id) > (CAST(:after_time AS timestamptz), CAST(:after_id AS uuid)) AND at < :before
            ORDER BY at, id
            LIMIT :most
        ),
        gone AS (DELETE FROM tasks.audit USING page WHERE audit.id = page.id RETURNING audit.id)
        SELECT (SELECT count(*) FROM gone) AS deleted, at AS after_time, id AS after_id
        FROM page ORDER BY at DESC, id DESC LIMIT 1
    """),
    {"after_time": datetime(1, 1, 2, tzinfo=UTC), "after_id": UUID(int=0)},
)
