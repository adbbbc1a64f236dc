"""Schedules and what became of their slots."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("settled_until", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("schedules_pkey")),
        schema="tasks",
    )
    op.create_table(
        "schedule_runs",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("schedule", "slot", name=op.f("schedule_runs_pkey")),
        sa.ForeignKeyConstraint(["schedule"], ["tasks.schedules.name"], name=op.f("schedule_runs_schedule_fkey")),
        sa.CheckConstraint(
            "outcome IN ('fired', 'missed', 'skipped_paused', 'by_hand')", name=op.f("schedule_runs_outcome_check")
        ),
        sa.CheckConstraint(
            "(fired_at IS NOT NULL) = (outcome IN ('fired', 'by_hand'))", name=op.f("schedule_runs_fired_at_check")
        ),
        schema="tasks",
    )
    op.create_index(
        "schedule_runs_fired_idx",
        "schedule_runs",
        ["schedule", "fired_at"],
        schema="tasks",
        postgresql_where=sa.text("fired_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("schedule_runs", schema="tasks")
    op.drop_table("schedules", schema="tasks")
