"""Since when the order of a debit's notice is asked for; planned charges may get a receipt of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

# The rest of the function stays as it is found.
_KEEP_CHARGE = """
DO $do$
DECLARE
    before text := pg_get_functiondef(to_regproc('tasks.keep_charge'));
    changed text := replace(before, $a${before}$a$, $a${after}$a$);
BEGIN
    IF changed = before THEN
        RAISE EXCEPTION 'tasks.keep_charge() is another one than expected';
    END IF;
    EXECUTE changed;
END $do$
"""
_NOTIFIED = "WHEN OLD.state = 'notified' AND NEW.receipt"
# An order may have been made for another mandate without our hearing of it.
_WAITING = "WHEN OLD.state IN ('planned', 'notified') AND NEW.receipt"


def upgrade() -> None:
    # A constant: no row is rewritten.
    op.add_column("debit_notices", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True), schema="tasks")
    op.execute(_KEEP_CHARGE.replace("{before}", _NOTIFIED).replace("{after}", _WAITING))


def downgrade() -> None:
    op.execute(_KEEP_CHARGE.replace("{before}", _WAITING).replace("{after}", _NOTIFIED))
    op.drop_column("debit_notices", "asked_at", schema="tasks")
