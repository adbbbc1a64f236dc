"""The encoding and the segments of each SMS."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # NULL for mail, and for the SMS that were sent before: adding them rewrites no row.
    op.add_column("messages", sa.Column("encoding", sa.Text(), nullable=True), schema="tasks")
    op.add_column("messages", sa.Column("segments", sa.SmallInteger(), nullable=True), schema="tasks")
    op.create_check_constraint(
        op.f("messages_encoding_check"), "messages", "encoding IN ('GSM-7', 'UCS-2')", schema="tasks"
    )


def downgrade() -> None:
    op.drop_column("messages", "segments", schema="tasks")
    op.drop_column("messages", "encoding", schema="tasks")
