"""When providers were left alone, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "provider_outages",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("provider", "opened_at", name=op.f("provider_outages_pkey")),
        schema="tasks",
    )


def downgrade() -> None:
    op.drop_table("provider_outages", schema="tasks")
