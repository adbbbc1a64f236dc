"""Dead letters: who ran them again or discarded them, and as which job."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "closed_letters",
        sa.Column("job_id", sa.Text(collation="C"), nullable=False),
        sa.Column("enqueued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("retried_as", sa.Text(collation="C"), nullable=True),
        sa.CheckConstraint("action IN ('retried', 'discarded')", name=op.f("closed_letters_action_check")),
        sa.CheckConstraint(
            "(retried_as IS NOT NULL) = (action = 'retried')", name=op.f("closed_letters_retried_as_check")
        ),
        sa.PrimaryKeyConstraint("job_id", "enqueued_at", name=op.f("closed_letters_pkey")),
        schema="tasks",
    )
    op.add_column("outbox", sa.Column("retry_of", sa.Text(), nullable=True), schema="tasks")


def downgrade() -> None:
    op.drop_column("outbox", "retry_of", schema="tasks")
    op.drop_table("closed_letters", schema="tasks")
