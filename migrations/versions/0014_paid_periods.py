"""What is paid for in advance by an invoice."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "paid_periods",
        sa.Column("subscription_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("razorpay_subscription_id", sa.Text(), nullable=False),
        sa.Column("razorpay_invoice_id", sa.Text(), nullable=False),
        sa.Column("first_date", sa.Date(), nullable=False),
        sa.Column("end_date", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("paid_periods_pkey")),
        schema="tasks",
    )


def downgrade() -> None:
    op.drop_table("paid_periods", schema="tasks")
