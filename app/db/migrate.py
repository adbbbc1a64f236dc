"""Brings our own tables up to date; `python -m app.db.migrate revision "..."` writes the next step."""

import argparse
import asyncio
from collections.abc import Callable
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.schema import CreateSchema

from app.db.engine import Database
from app.db.messages import SCHEMA
from app.settings import PROJECT_ROOT, DatabaseSettings, settings_or_exit

# Any number, as long as nothing else in the shop's database locks the same one.
MIGRATION_LOCK = 7_205_759_403_792_793

T = TypeVar("T")


async def migrate(database_url: str) -> list[str]:
    """Bring the schema `tasks` up to date and return the revisions applied, oldest first.

    All or nothing; processes that do it at once wait for each other. The shop's tables are neither read nor changed.
    """
    return await _in_transaction(database_url, _upgrade)


async def write_revision(database_url: str, message: str) -> None:
    """Write the migration that takes the database, brought up to date before, to what the models say."""

    def write(connection: Connection) -> None:
        _upgrade(connection)
        config = alembic_config(connection)
        number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
        command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")

    await _in_transaction(database_url, write)


async def _in_transaction(database_url: str, work: Callable[[Connection], T]) -> T:
    database = Database(database_url, application_name="indostar migrate", pool_size=1)
    try:
        async with database.engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await database.close()


def _upgrade(connection: Connection) -> list[str]:
    # A lock of the transaction, not of the session: behind PgBouncer a session is not ours.
    connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
    # CREATE SCHEMA IF NOT EXISTS wants the right to create it even where it exists.
    if not inspect(connection).has_schema(SCHEMA):
        connection.execute(CreateSchema(SCHEMA))
    config = alembic_config(connection)
    state = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    steps = ScriptDirectory.from_config(config).iterate_revisions("head", state.get_current_revision() or "base")
    pending = [step.revision for step in steps][::-1]
    command.upgrade(config, "head")
    return pending


def alembic_config(connection: Connection) -> Config:
    """What Alembic's commands need to work on `connection`."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(PROJECT_ROOT / "migrations"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app.db.migrate")
    revision = parser.add_subparsers(required=True).add_parser(
        "revision", help="write the migration from the database to the models"
    )
    revision.add_argument("message")
    message = parser.parse_args().message
    settings = settings_or_exit(DatabaseSettings)
    asyncio.run(write_revision(settings.database_url.get_secret_value(), message))


if __name__ == "__main__":
    main()
