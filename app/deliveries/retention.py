"""How long it is kept how a midnight run went: as long as history. The charges themselves are never deleted here."""

from datetime import date

from sqlalchemy import text

from app.db.retention import OldRows

# One that was never finished, or stands at its brake, still waits for a person.
OLD_SUBSCRIPTION_RUNS = OldRows(
    text("""
        WITH page AS (
            SELECT delivery_date,
                   coalesce(finished_at < :before, false) AND (paused_at IS NULL OR resumed_at IS NOT NULL) AS is_over
            FROM tasks.subscription_runs
            WHERE delivery_date > CAST(:after_date AS date) AND delivery_date < :before
            ORDER BY delivery_date
            LIMIT :most
        ),
        gone AS (
            DELETE FROM tasks.subscription_runs AS run USING page
            WHERE run.delivery_date = page.delivery_date AND page.is_over
            RETURNING run.delivery_date
        )
        SELECT (SELECT count(*) FROM gone) AS deleted, max(delivery_date) AS after_date
        FROM page HAVING count(*) > 0
    """),
    {"after_date": date(1, 1, 2)},
)
