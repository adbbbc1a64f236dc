"""How long it is kept what became of a slot. The last run of each schedule stays, for operators ask for it."""

from datetime import UTC, datetime

from sqlalchemy import text

from app.db.retention import PagedDelete

OLD_RUNS = PagedDelete(
    text("""
        WITH page AS (
            SELECT schedule, slot, fired_at IS NULL OR EXISTS (
                       SELECT FROM tasks.schedule_runs AS later
                       WHERE later.schedule = run.schedule AND later.fired_at > run.fired_at) AS is_over
            FROM tasks.schedule_runs AS run
            WHERE (schedule, slot) > (CAST(:after_schedule AS text), CAST(:after_slot AS timestamptz))
                AND slot < :before
            ORDER BY schedule, slot
            LIMIT :most
        ),
        gone AS (
            DELETE FROM tasks.schedule_runs AS run USING page
            WHERE run.schedule = page.schedule AND run.slot = page.slot AND page.is_over
            RETURNING run.slot
        )
        SELECT (SELECT count(*) FROM gone) AS deleted, schedule AS after_schedule, slot AS after_slot
        FROM page ORDER BY schedule DESC, slot DESC LIMIT 1
    """),
    {"after_schedule": "", "after_slot": datetime(1, 1, 2, tzinfo=UTC)},
)
