"""Who may have a charge paid, which mandate it debits, and when it is asked about again."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_DRAWN = """
    ('mandate', 'planned', 'notified'),
    ('mandate', 'planned', 'submitting'),
    ('mandate', 'planned', 'skipped'),
    ('mandate', 'notified', 'submitting'),
    ('mandate', 'notified', 'skipped'),
    ('mandate', 'submitting', 'pending'),
    ('mandate', 'submitting', 'captured'),
    ('mandate', 'submitting', 'refused'),
    ('mandate', 'submitting', 'unknown'),
    ('mandate', 'pending', 'captured'),
    ('mandate', 'pending', 'refused'),
    ('mandate', 'pending', 'unknown'),
    ('mandate', 'refused', 'captured'),
    ('mandate', 'unknown', 'submitting'),
    ('mandate', 'unknown', 'pending'),
    ('mandate', 'unknown', 'captured'),
    ('mandate', 'unknown', 'refused'),
    ('invoice', 'planned', 'pending'),
    ('invoice', 'planned', 'captured'),
    ('invoice', 'planned', 'refused'),
    ('invoice', 'planned', 'skipped'),
    ('invoice', 'pending', 'captured'),
    ('invoice', 'pending', 'refused'),
    ('invoice', 'pending', 'unknown'),
    ('invoice', 'refused', 'captured'),
    ('invoice', 'unknown', 'pending'),
    ('invoice', 'unknown', 'captured'),
    ('invoice', 'unknown', 'refused')
"""
_ALSO_DRAWN = """,
    ('invoice', 'planned', 'unknown'),
    ('mandate', 'submitting', 'skipped')
"""
_KEEP_CHARGE = """
CREATE OR REPLACE FUNCTION tasks.keep_charge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'charge % is evidence and is never deleted', OLD.receipt
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'charge % can not begin as %', NEW.receipt, NEW.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (NEW.delivery_date, NEW.subscription_id, NEW.user_id, NEW.product_id, NEW.way, NEW.amount_paise,
        NEW.receipt, NEW.planned_at)
        IS DISTINCT FROM (OLD.delivery_date, OLD.subscription_id, OLD.user_id, OLD.product_id, OLD.way,
        OLD.amount_paise, {receipt}, OLD.planned_at)
    THEN
        RAISE EXCEPTION 'charge % stays for what it was planned', OLD.receipt
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.way, OLD.state, NEW.state) NOT IN (VALUES
        {drawn})
    THEN
        RAISE EXCEPTION 'charge % (%) can not go from % to %', OLD.receipt, OLD.way, OLD.state, NEW.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state <> OLD.state OR NEW.answer IS DISTINCT FROM OLD.answer THEN
        NEW.moved_at := clock_timestamp();
        INSERT INTO tasks.charge_events
            (delivery_date, subscription_id, from_state, to_state, reason, answer, at)
        VALUES (OLD.delivery_date, OLD.subscription_id, OLD.state, NEW.state, NEW.reason, NEW.answer,
            NEW.moved_at);
    END IF;
    RETURN NEW;
END $$
"""
# An order that was announced for another mandate has the receipt already.
_OWN_RECEIPT = """
        CASE WHEN OLD.state = 'notified' AND NEW.receipt = OLD.receipt || '-own' THEN NEW.receipt ELSE OLD.receipt END
"""


def upgrade() -> None:
    # Constants: no row is rewritten.
    op.add_column("charges", sa.Column("token_id", sa.Text(), nullable=True), schema="tasks")
    op.add_column("charges", sa.Column("payer", sa.Text(), nullable=True), schema="tasks")
    op.add_column("charges", sa.Column("paying_since", sa.DateTime(timezone=True), nullable=True), schema="tasks")
    op.add_column(
        "charges", sa.Column("looks", sa.SmallInteger(), server_default=sa.text("0"), nullable=False), schema="tasks"
    )
    op.add_column("charges", sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=True), schema="tasks")
    op.create_index(
        "charges_debited_token_idx",
        "charges",
        ["token_id"],
        unique=True,
        schema="tasks",
        postgresql_where=sa.text("state IN ('submitting', 'pending', 'unknown') AND token_id IS NOT NULL"),
    )
    op.create_index(
        "charges_waiting_token_idx",
        "charges",
        ["token_id"],
        unique=False,
        schema="tasks",
        postgresql_where=sa.text("state IN ('planned', 'notified') AND token_id IS NOT NULL"),
    )
    op.add_column("debit_notices", sa.Column("token_id", sa.Text(), nullable=True), schema="tasks")
    op.add_column("debit_notices", sa.Column("product_id", sa.Integer(), nullable=True), schema="tasks")
    op.add_column("debit_notices", sa.Column("refusal", sa.Text(), nullable=True), schema="tasks")
    op.execute(_KEEP_CHARGE.replace("{drawn}", _DRAWN + _ALSO_DRAWN).replace("{receipt}", _OWN_RECEIPT.strip()))


def downgrade() -> None:
    op.execute(_KEEP_CHARGE.replace("{drawn}", _DRAWN).replace("{receipt}", "OLD.receipt"))
    op.drop_column("debit_notices", "refusal", schema="tasks")
    op.drop_column("debit_notices", "product_id", schema="tasks")
    op.drop_column("debit_notices", "token_id", schema="tasks")
    op.drop_index("charges_waiting_token_idx", table_name="charges", schema="tasks")
    op.drop_index("charges_debited_token_idx", table_name="charges", schema="tasks")
    for column in ("next_look_at", "looks", "paying_since", "payer", "token_id"):
        op.drop_column("charges", column, schema="tasks")
