"""A worker that is killed in the midst of a cleanup: the next one ends it."""

import signal
from collections.abc import Mapping

from sqlalchemy import text

from app.db.engine import Database
from app.jobs.pool import JobPool
from app.tasks.cleanup import cleanup_expired_carts
from tests.e2e.commands import command
from tests.waiting import until

OLD, YOUNG = 1_200, 5
# A cart of the second batch, which takes until `held` is empty to be deleted.
HELD = (
    "CREATE TABLE held AS SELECT 700 AS cart_id",
    """
    CREATE FUNCTION wait_while_held() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      WHILE EXISTS (SELECT FROM held WHERE cart_id = OLD.id) LOOP PERFORM pg_sleep(0.02); END LOOP;
      RETURN OLD;
    END $$
    """,
    "CREATE TRIGGER hold BEFORE DELETE ON carts FOR EACH ROW EXECUTE FUNCTION wait_while_held()",
)
OLD_AND_YOUNG = f"""
    INSERT INTO carts (id, user_id, updated_at)
    SELECT n, n, CASE WHEN n <= {OLD} THEN timestamp '2020-01-01' ELSE now() END
    FROM generate_series(1, {OLD + YOUNG}) n
"""


async def test_killed_in_the_midst_and_run_again_it_ends_where_one_run_would_have(
    environment: Mapping[str, str], database_url: str, pool: JobPool
) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    async with database.session() as session:
        for statement in HELD:
            await session.execute(text(statement))
        # Without the customers that the carts belong to.
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(text(OLD_AND_YOUNG))

    async def left() -> int:
        async with database.session() as session:
            return int(await session.scalar(text("SELECT count(*) FROM carts")) or 0)

    async def connections() -> int:
        async with database.session() as session:
            theirs = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'indostar worker'"
            return int(await session.scalar(text(theirs)) or 0)

    job = await cleanup_expired_carts.enqueue(pool)
    assert job is not None
    async with command("arq", "worker.DefaultWorker", environment=environment) as worker:

        async def is_in_the_midst() -> bool:
            return await left() < OLD + YOUNG

        await until(is_in_the_midst)
        worker.send(signal.SIGKILL)
        await worker.exit_code()
    remained = await left()
    async with database.session() as session:
        await session.execute(text("DELETE FROM held"))

    async def are_gone() -> bool:
        return not await connections()

    # Until the server has noticed, the dead one's rows are locked.
    await until(are_gone)
    async with command("arq", "worker.DefaultWorker", environment=environment):

        async def is_recorded() -> bool:
            return bool(await pool.exists(f"arq:result:{job.job_id}"))

        await until(is_recorded)
    result = await job.result(timeout=1)

    assert YOUNG < remained < OLD + YOUNG
    assert await left() == YOUNG
    assert result["total_expired"] == result["deleted"] == remained - YOUNG
    await database.close()
