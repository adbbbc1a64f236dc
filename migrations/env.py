"""Runs the migrations, or compares them with the models, on the connection that `app.db.migrate` opened."""

from alembic import context

# Their tables belong to the models.
from app.db import (  # noqa: F401
    charges,
    history,
    leases,
    letters,
    mandates,
    outbox,
    paid_periods,
    provider_outages,
    reminders,
    schedules,
    steering,
    subscription_runs,
)
from app.db.messages import SCHEMA, OwnTable


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "schema" or name == SCHEMA


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=OwnTable.metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=_is_ours,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
