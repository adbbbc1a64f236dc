"""Mandates, charges and the runs that plan them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "charge_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("delivery_date", sa.Date(), nullable=False),
        sa.Column("subscription_id", sa.Integer(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("answer", postgresql.JSONB(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("charge_events_pkey")),
        schema="tasks",
    )
    op.create_index(
        "charge_events_charge_idx", "charge_events", ["delivery_date", "subscription_id"], unique=False, schema="tasks"
    )
    op.create_table(
        "charges",
        sa.Column("delivery_date", sa.Date(), nullable=False),
        sa.Column("subscription_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("amount_paise", sa.BigInteger(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("units_held", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_owed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("razorpay_order_id", sa.Text(), nullable=True),
        sa.Column("razorpay_payment_id", sa.Text(), nullable=True),
        sa.Column("razorpay_invoice_id", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Integer(), nullable=True),
        sa.Column("answer", postgresql.JSONB(), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'captured' OR razorpay_payment_id IS NOT NULL", name=op.f("charges_razorpay_payment_id_check")
        ),
        sa.CheckConstraint("state = 'skipped' OR amount_paise >= 100", name=op.f("charges_amount_paise_check")),
        sa.CheckConstraint(
            "state IN ('planned', 'notified', 'submitting', 'pending', 'captured', 'refused', 'unknown', 'skipped')",
            name=op.f("charges_state_check"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('skipped', 'refused', 'unknown') OR reason IS NOT NULL", name=op.f("charges_reason_check")
        ),
        sa.CheckConstraint(
            "units_held = 0 OR units_held = 1 AND state NOT IN ('skipped', 'refused')",
            name=op.f("charges_units_held_check"),
        ),
        sa.CheckConstraint("way IN ('mandate', 'invoice')", name=op.f("charges_way_check")),
        sa.PrimaryKeyConstraint("delivery_date", "subscription_id", name=op.f("charges_pkey")),
        schema="tasks",
    )
    op.create_index(
        "charges_open_idx",
        "charges",
        ["subscription_id", "delivery_date"],
        unique=False,
        schema="tasks",
        postgresql_where=sa.text("state IN ('planned', 'notified', 'submitting', 'pending', 'unknown')"),
    )
    op.create_table(
        "debit_notices",
        sa.Column("delivery_date", sa.Date(), nullable=False),
        sa.Column("subscription_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("amount_paise", sa.BigInteger(), nullable=False),
        sa.Column("razorpay_order_id", sa.Text(), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount_paise >= 100", name=op.f("debit_notices_amount_paise_check")),
        sa.PrimaryKeyConstraint("delivery_date", "subscription_id", name=op.f("debit_notices_pkey")),
        schema="tasks",
    )
    op.create_table(
        "mandates",
        sa.Column("subscription_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("max_amount", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("mandates_pkey")),
        schema="tasks",
    )
    op.create_table(
        "subscription_runs",
        sa.Column("delivery_date", sa.Date(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("charges", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("charges_paise", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("notices", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_because", sa.Text(), nullable=True),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resumed_by", sa.Text(), nullable=True),
        sa.Column("outcomes", postgresql.JSONB(), nullable=True),
        sa.Column("outcomes_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(paused_at IS NULL) = (paused_because IS NULL)", name=op.f("subscription_runs_paused_because_check")
        ),
        sa.PrimaryKeyConstraint("delivery_date", name=op.f("subscription_runs_pkey")),
        schema="tasks",
    )

    op.execute(
        """
        CREATE FUNCTION tasks.keep_charge() RETURNS trigger LANGUAGE plpgsql AS $$
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
                OLD.amount_paise, OLD.receipt, OLD.planned_at)
            THEN
                RAISE EXCEPTION 'charge % stays for what it was planned', OLD.receipt
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            IF NEW.state <> OLD.state AND (OLD.way, OLD.state, NEW.state) NOT IN (VALUES
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
                ('invoice', 'unknown', 'refused'))
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
    )
    op.execute(
        """
        CREATE FUNCTION tasks.keep_charge_event() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'what became of a charge is evidence and is never changed'
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    # WHEN: a night's million new charges do not call the function.
    op.execute(
        "CREATE TRIGGER charges_begun BEFORE INSERT ON tasks.charges FOR EACH ROW"
        " WHEN (NEW.state NOT IN ('planned', 'notified', 'skipped')) EXECUTE FUNCTION tasks.keep_charge()"
    )
    op.execute(
        "CREATE TRIGGER charges_kept BEFORE UPDATE OR DELETE ON tasks.charges"
        " FOR EACH ROW EXECUTE FUNCTION tasks.keep_charge()"
    )
    op.execute(
        "CREATE TRIGGER charge_events_kept BEFORE UPDATE OR DELETE ON tasks.charge_events"
        " FOR EACH ROW EXECUTE FUNCTION tasks.keep_charge_event()"
    )


def downgrade() -> None:
    for table in ("subscription_runs", "mandates", "debit_notices", "charges", "charge_events"):
        op.drop_table(table, schema="tasks")
    op.execute("DROP FUNCTION tasks.keep_charge()")
    op.execute("DROP FUNCTION tasks.keep_charge_event()")
