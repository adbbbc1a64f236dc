"""Since when a charge is refused, and whether that paused its subscription."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    # Constants: no row is rewritten.
    op.add_column("charges", sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True), schema="tasks")
    op.add_column(
        "charges",
        sa.Column("has_paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="tasks",
    )
    op.execute("UPDATE tasks.charges SET refused_at = moved_at WHERE state = 'refused'")


def downgrade() -> None:
    for column in ("has_paused", "refused_at"):
        op.drop_column("charges", column, schema="tasks")
