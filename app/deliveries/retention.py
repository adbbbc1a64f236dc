"""How long it is kept how a midnight run went, and who was reminded: as long as history.

The charges themselves are never deleted here.
"""

from datetime import date

from sqlalchemy import text

from app.db.retention import PagedDelete

# One that was never finished, or is on hold, still waits for a person.
OLD_SUBSCRIPTION_RUNS = PagedDelete(
    text("""
        WITH page AS (
            SELECT delivery_date,
                   coalesce(finished_at < :before, false) AND paused_at IS NULL AS is_over
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
# A date that is yet to come may still be reminded of.
OLD_REMINDERS = PagedDelete(
    text("""
        WITH page AS (
            SELECT delivery_date, subscription_id, reminded_at < :before AS is_over FROM tasks.reminders
            WHERE (delivery_date, subscription_id) > (CAST(:after_date AS date), CAST(:after_id AS integer))
                AND delivery_date < :before
            ORDER BY delivery_date, subscription_id
            LIMIT :most
        ),
        gone AS (
            DELETE FROM tasks.reminders AS reminder USING page
            WHERE (reminder.delivery_date, reminder.subscription_id) = (page.delivery_date, page.subscription_id)
                AND page.is_over
            RETURNING reminder.subscription_id
        )
        SELECT (SELECT count(*) FROM gone) AS deleted, delivery_date AS after_date, subscription_id AS after_id
        FROM page ORDER BY delivery_date DESC, subscription_id DESC LIMIT 1
    """),
    {"after_date": date(1, 1, 2), "after_id": 0},
)
