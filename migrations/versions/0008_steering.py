"""What operators did, and which queues they paused."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "queue_pauses",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("queue", name=op.f("queue_pauses_pkey")),
        schema="tasks",
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.CheckConstraint("result IN ('done', 'refused', 'failed')", name=op.f("audit_result_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
        schema="tasks",
    )
    op.create_index(op.f("audit_at_id_idx"), "audit", ["at", "id"], unique=False, schema="tasks")
    # What is over may go with its time; what is there is as it was written.
    op.execute("""
        CREATE FUNCTION tasks.keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'tasks.audit is only added to' USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER audit_keep BEFORE UPDATE ON tasks.audit
        FOR EACH STATEMENT EXECUTE FUNCTION tasks.keep_audit()
    """)


def downgrade() -> None:
    op.drop_table("audit", schema="tasks")
    op.execute("DROP FUNCTION tasks.keep_audit()")
    op.drop_table("queue_pauses", schema="tasks")
