"""History of jobs: what became of each, their attempts and payloads, and how far the stream of events is read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Text(collation="C"), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_try", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_traceback", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("attempts_pkey")),
        schema="tasks",
    )
    op.create_table(
        "history_gaps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("after_event", sa.Text(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("history_gaps_pkey")),
        schema="tasks",
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("kwargs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("terms", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("enqueued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("max_tries", sa.Integer(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_traceback", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("root_id", sa.Text(collation="C"), nullable=False),
        sa.Column("retry_of", sa.Text(collation="C"), nullable=True),
        sa.Column("last_event", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'retrying', 'succeeded', 'failed', 'cancelled')",
            name=op.f("jobs_status_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
        schema="tasks",
    )
    op.create_index(op.f("jobs_enqueued_at_id_idx"), "jobs", ["enqueued_at", "id"], schema="tasks")
    op.create_index(op.f("jobs_queue_enqueued_at_id_idx"), "jobs", ["queue", "enqueued_at", "id"], schema="tasks")
    op.create_index(
        op.f("jobs_root_id_idx"), "jobs", ["root_id"], schema="tasks", postgresql_where=sa.text("retry_of IS NOT NULL")
    )
    op.create_index(op.f("jobs_status_enqueued_at_id_idx"), "jobs", ["status", "enqueued_at", "id"], schema="tasks")
    op.create_index(op.f("jobs_task_enqueued_at_id_idx"), "jobs", ["task", "enqueued_at", "id"], schema="tasks")
    op.create_index(
        op.f("jobs_terms_idx"),
        "jobs",
        ["terms"],
        schema="tasks",
        postgresql_using="gin",
        postgresql_where=sa.text("terms <> '{}'"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("leases_pkey")),
        schema="tasks",
    )
    op.create_table(
        "payloads",
        sa.Column("job_id", sa.Text(collation="C"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("payloads_pkey")),
        schema="tasks",
    )
    op.create_table(
        "projection",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("last_event", sa.Text(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("projection_pkey")),
        schema="tasks",
    )


def downgrade() -> None:
    for table in ("projection", "payloads", "leases", "jobs", "history_gaps", "attempts"):
        op.drop_table(table, schema="tasks")
