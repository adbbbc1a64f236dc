"""Reminders of deliveries, and what of a midnight run was reported."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "reminders",
        sa.Column("delivery_date", sa.Date(), nullable=False),
        sa.Column("subscription_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reminded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("delivery_date", "subscription_id", name=op.f("reminders_pkey")),
        schema="tasks",
    )
    op.add_column("subscription_runs", sa.Column("reported", postgresql.JSONB(), nullable=True), schema="tasks")
    op.add_column(
        "subscription_runs", sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True), schema="tasks"
    )


def downgrade() -> None:
    op.drop_column("subscription_runs", "reported_at", schema="tasks")
    op.drop_column("subscription_runs", "reported", schema="tasks")
    op.drop_table("reminders", schema="tasks")
