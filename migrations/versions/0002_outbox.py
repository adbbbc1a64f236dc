"""The outbox: jobs written in the caller's own transaction."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("kwargs", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("root", sa.Text(), nullable=True),
        sa.Column("relayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("relayed_epoch", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_pkey")),
        sa.UniqueConstraint("key", name=op.f("outbox_key_key")),
        sa.CheckConstraint("jsonb_typeof(kwargs) = 'object'", name=op.f("outbox_kwargs_check")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("outbox_created_at_check")),
        schema="tasks",
    )
    op.create_index(
        "outbox_unrelayed_idx",
        "outbox",
        [sa.text("coalesce(not_before, created_at)"), "id"],
        schema="tasks",
        postgresql_where=sa.text("relayed_at IS NULL AND ended_at IS NULL"),
    )
    op.create_index(
        "outbox_unfinished_idx",
        "outbox",
        ["id"],
        schema="tasks",
        postgresql_where=sa.text("relayed_at IS NOT NULL AND ended_at IS NULL"),
    )
    op.execute(
        """
        CREATE FUNCTION tasks.tell_of_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('indostar_outbox', '');
            RETURN NULL;
        END $$
        """
    )
    # Once a statement: a thousand rows at once are one wake-up.
    op.execute(
        "CREATE TRIGGER outbox_told AFTER INSERT ON tasks.outbox"
        " FOR EACH STATEMENT EXECUTE FUNCTION tasks.tell_of_outbox()"
    )


def downgrade() -> None:
    op.drop_table("outbox", schema="tasks")
    op.execute("DROP FUNCTION tasks.tell_of_outbox()")
