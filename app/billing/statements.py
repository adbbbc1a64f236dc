"""What the ledger of charges says to PostgreSQL, many charges to a statement."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text

from app.db.charges import DEBIT_STATES, IS_ANSWERED, WAITING_STATES
from app.db.frozen import patience
from app.deliveries.names import OWN

# Whoever begins a debit of a mandate's token and whoever ends one see each other by this; the number is ours alone.
TOKEN_LOCK: Final = 0x1D57
_KEYS = """
    unnest(CAST(:days AS date[]), CAST(:subscriptions AS integer[])) AS wanted (delivery_date, subscription_id)
"""
# The first statement of each transaction: a worker that stands still must not hold up the others, nor somebody's open
# psql all of them.
PATIENCE = patience(idle=timedelta(seconds=10), lock=timedelta(seconds=5))
# Everybody locks in this order: tokens, charges, orders, then the shop's other rows, and the products at the very end.
LOCK_TOKENS = text(f"""
    SELECT count(pg_advisory_xact_lock({TOKEN_LOCK}, key)) FROM (
        SELECT DISTINCT hashtext(token) AS key FROM unnest(CAST(:tokens AS text[])) AS token ORDER BY 1
    ) AS keys
""")  # noqa: S608 -- our own number
LOCK_CHARGES = text(f"""
    SELECT c.order_id FROM {_KEYS} JOIN tasks.charges c USING (delivery_date, subscription_id)
    ORDER BY c.delivery_date, c.subscription_id FOR UPDATE OF c
""")  # noqa: S608
LOCK_ORDERS = text("SELECT id FROM orders WHERE id = ANY(CAST(:ids AS integer[])) ORDER BY id FOR NO KEY UPDATE")
# One that must wait keeps the token that it waits for, by which the end of the earlier debit finds it, and comes back
# at the end of its day in any case. What is announced for another mandate than that, or may be without our having heard
# of it, is charged by an order of its own.
BEGIN = text(f"""
    WITH wanted AS (
        SELECT DISTINCT * FROM unnest(CAST(:days AS date[]), CAST(:subscriptions AS integer[]), CAST(:tokens AS text[]),
            CAST(:ends AS timestamptz[])) AS wanted (delivery_date, subscription_id, token_id, ends_at)
    ), ranked AS (
        SELECT wanted.*,
            row_number() OVER (PARTITION BY wanted.token_id ORDER BY c.delivery_date, c.subscription_id) > 1 OR EXISTS (
                SELECT FROM tasks.charges other
                WHERE other.token_id = wanted.token_id AND other.state IN {DEBIT_STATES}
            ) AS waits,
            n.token_id IS DISTINCT FROM wanted.token_id
                AND (c.state = 'notified' OR n.token_id IS NOT NULL AND c.receipt NOT LIKE '%-own') AS is_others
        FROM wanted JOIN tasks.charges c USING (delivery_date, subscription_id)
        JOIN subscriptions s ON s.id = c.subscription_id AND s.status = 'active'
        JOIN users u ON u.id = c.user_id AND u.is_active
        JOIN tasks.mandates m ON m.subscription_id = c.subscription_id AND m.token_id = wanted.token_id
        LEFT JOIN tasks.debit_notices n
            ON n.delivery_date = c.delivery_date AND n.subscription_id = c.subscription_id
        WHERE c.state IN {WAITING_STATES}
    ), come_back AS (
        INSERT INTO tasks.outbox (task, kwargs, key, not_before)
        SELECT CAST(:task AS text),
            jsonb_build_object('subscription_id', subscription_id, 'delivery_date', delivery_date),
            concat_ws(':', 'delivery', subscription_id, delivery_date, 'end'), ends_at
        FROM ranked WHERE waits ORDER BY subscription_id
        ON CONFLICT (key) DO NOTHING
    )
    UPDATE tasks.charges c
    SET state = CASE WHEN waits THEN c.state ELSE 'submitting' END, token_id = ranked.token_id,
        receipt = CASE WHEN is_others AND NOT waits THEN c.receipt || '{OWN}' ELSE c.receipt END,
        razorpay_order_id = CASE WHEN NOT is_others OR waits THEN c.razorpay_order_id END
    FROM ranked
    WHERE c.delivery_date = ranked.delivery_date AND c.subscription_id = ranked.subscription_id
        AND c.state IN {WAITING_STATES}
    RETURNING c.delivery_date, c.subscription_id, waits
""")  # noqa: S608
# Written twice it is the same right: an answer that was lost is asked for by the same words. By now it is a while since
# the charge was read.
TAKE_RIGHT = text("""
    UPDATE tasks.charges c SET razorpay_order_id = wanted.order_id, payer = wanted.payer, paying_since = :now
    FROM unnest(CAST(:days AS date[]), CAST(:subscriptions AS integer[]), CAST(:orders AS text[]),
        CAST(:payers AS text[])) AS wanted (delivery_date, subscription_id, order_id, payer)
    JOIN subscriptions s ON s.id = wanted.subscription_id AND s.status = 'active'
    JOIN users u ON u.id = s.user_id AND u.is_active
    JOIN tasks.mandates m ON m.subscription_id = wanted.subscription_id
    WHERE c.delivery_date = wanted.delivery_date AND c.subscription_id = wanted.subscription_id
        AND c.token_id = m.token_id
        AND c.state = 'submitting' AND (c.payer IS NULL OR c.payer = wanted.payer)
        AND (c.razorpay_order_id IS NULL OR c.razorpay_order_id = wanted.order_id)
    RETURNING c.payer
""")
GIVE_BACK_RIGHT = text("""
    UPDATE tasks.charges SET payer = NULL, paying_since = NULL
    WHERE delivery_date = :delivery_date AND subscription_id = :subscription_id
        AND state = 'submitting' AND payer = :payer
""")
# `payer` says what whoever asked the gateway knew: nobody can have begun to pay since. Where a payment is known, no
# list of the gateway's proves that there is none.
BEGIN_AGAIN = text("""
    UPDATE tasks.charges SET state = 'submitting', payer = NULL, paying_since = NULL
    WHERE delivery_date = :delivery_date AND subscription_id = :subscription_id
        AND state = 'unknown' AND razorpay_payment_id IS NULL AND payer IS NOT DISTINCT FROM CAST(:payer AS text)
""")
SETTLE = text("""
    WITH settled AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:settlements AS jsonb)) AS settled (
            delivery_date date, subscription_id integer, state text, reason text, units_held smallint,
            is_owed boolean, looks smallint, next_look_at timestamptz, refused_at timestamptz, answer jsonb,
            razorpay_order_id text, razorpay_payment_id text, razorpay_invoice_id text, user_id integer,
            product_id integer, address_id integer, rupees numeric(10, 2), order_id integer, order_number text,
            order_payment text, order_status text, notes text, payment text, method text, known_payment_id text,
            known_subscription_id integer
        )
    ), made AS (
        INSERT INTO orders (user_id, order_number, total_amount, final_amount, payment_status, order_status,
            delivery_address_id, notes)
        SELECT user_id, order_number, rupees, rupees, CAST(order_payment AS payment_status),
            CAST(order_status AS order_status), address_id, notes
        FROM settled WHERE order_status IS NOT NULL AND order_id IS NULL ORDER BY order_number
        ON CONFLICT (order_number) DO UPDATE SET payment_status = excluded.payment_status,
            order_status = excluded.order_status, notes = coalesce(excluded.notes, orders.notes), updated_at = now()
        RETURNING id, order_number, xmax = 0 AS is_new
    ), moved AS (
        UPDATE orders o SET payment_status = CAST(order_payment AS payment_status),
            order_status = CAST(settled.order_status AS order_status), notes = coalesce(settled.notes, o.notes),
            updated_at = now()
        FROM settled WHERE o.id = settled.order_id AND settled.order_status IS NOT NULL
    ), lines AS (
        INSERT INTO order_items (order_id, product_id, quantity, unit_price, total_price)
        SELECT made.id, product_id, 1, rupees, rupees
        FROM made JOIN settled USING (order_number) WHERE is_new ORDER BY made.id
    ), paid AS (
        INSERT INTO payments (order_id, subscription_id, razorpay_payment_id, razorpay_order_id, amount, status,
            payment_method)
        SELECT coalesce(settled.order_id, made.id), known_subscription_id, razorpay_payment_id, razorpay_order_id,
            rupees, CAST(payment AS payment_status), method
        FROM settled LEFT JOIN made USING (order_number)
        WHERE payment IS NOT NULL AND razorpay_payment_id IS NOT NULL ORDER BY razorpay_payment_id
        ON CONFLICT (razorpay_payment_id) DO UPDATE SET status = excluded.status,
            order_id = coalesce(payments.order_id, excluded.order_id), updated_at = now()
    ), failed AS (
        -- Another attempt than this one was what paid the order, or failed last.
        UPDATE payments SET status = 'failed', updated_at = now()
        FROM settled WHERE payments.razorpay_payment_id = settled.known_payment_id AND payments.status = 'pending'
            AND settled.known_payment_id <> settled.razorpay_payment_id AND payment IS NOT NULL
    )
    UPDATE tasks.charges c SET state = settled.state, reason = settled.reason, units_held = settled.units_held,
        is_owed = settled.is_owed, looks = settled.looks, next_look_at = settled.next_look_at,
        refused_at = settled.refused_at,
        answer = coalesce(settled.answer, c.answer),
        razorpay_order_id = coalesce(c.razorpay_order_id, settled.razorpay_order_id),
        razorpay_payment_id = coalesce(settled.razorpay_payment_id, c.razorpay_payment_id),
        razorpay_invoice_id = coalesce(settled.razorpay_invoice_id, c.razorpay_invoice_id),
        order_id = coalesce(made.id, settled.order_id)
    FROM settled LEFT JOIN made USING (order_number)
    WHERE c.delivery_date = settled.delivery_date AND c.subscription_id = settled.subscription_id
    RETURNING c.delivery_date, c.subscription_id, c.order_id
""")
# One payment of many deliveries, whichever of them comes first, and what it is for.
KEEP_PERIODS = text("""
    WITH period AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:periods AS jsonb)) AS period (
            subscription_id integer, razorpay_subscription_id text, razorpay_invoice_id text, razorpay_payment_id text,
            razorpay_order_id text, amount numeric(10, 2), first date, "end" date
        )
    ), kept AS (
        INSERT INTO tasks.paid_periods AS known (subscription_id, razorpay_subscription_id, razorpay_invoice_id,
            first_date, end_date)
        SELECT DISTINCT ON (subscription_id) subscription_id, period.razorpay_subscription_id,
            period.razorpay_invoice_id, first, "end"
        FROM period LEFT JOIN tasks.paid_periods k USING (subscription_id)
        WHERE k.end_date IS NULL OR k.end_date < "end" OR k.razorpay_subscription_id <> period.razorpay_subscription_id
        ORDER BY subscription_id, "end" DESC
        ON CONFLICT (subscription_id) DO UPDATE SET razorpay_subscription_id = excluded.razorpay_subscription_id,
            razorpay_invoice_id = excluded.razorpay_invoice_id, first_date = excluded.first_date,
            end_date = excluded.end_date
        WHERE known.end_date < excluded.end_date OR known.razorpay_subscription_id <> excluded.razorpay_subscription_id
    )
    INSERT INTO payments (subscription_id, razorpay_payment_id, razorpay_order_id, amount, status)
    SELECT DISTINCT ON (razorpay_payment_id) subscription_id, razorpay_payment_id, razorpay_order_id, amount, 'paid'
    FROM period
    ORDER BY razorpay_payment_id
    ON CONFLICT (razorpay_payment_id) DO NOTHING
""")
# What else there is of a window that turns out to be paid. What was skipped is owed: what was missed as well as what
# there was no milk for, but not what is made up for. What was refused, or asked about in vain, is asked about again,
# once for each of the window's deliveries that finds it paid.
OWE = text("""
    WITH of_window AS MATERIALIZED (
        SELECT c.delivery_date, c.subscription_id, c.state, found_by
        FROM jsonb_to_recordset(CAST(:periods AS jsonb)) AS period (
            subscription_id integer, first date, "end" date, found_by date
        )
        CROSS JOIN LATERAL generate_series(first, "end" - 1, interval '1 day') AS each
        JOIN tasks.charges c ON c.delivery_date = CAST(each AS date) AND c.subscription_id = period.subscription_id
        WHERE c.way = 'invoice' AND c.state IN ('skipped', 'refused', 'pending', 'unknown') AND NOT c.is_owed
            AND NOT coalesce(c.answer ? 'made_up_on', false)
    ), asked AS (
        INSERT INTO tasks.outbox (task, kwargs, key)
        SELECT CAST(:task AS text),
            jsonb_build_object('subscription_id', subscription_id, 'delivery_date', delivery_date),
            concat_ws(':', 'delivery', subscription_id, delivery_date, 'paid', found_by)
        FROM of_window WHERE state <> 'skipped' ORDER BY subscription_id, delivery_date
        ON CONFLICT (key) DO NOTHING
    )
    UPDATE tasks.charges c SET is_owed = true
    FROM of_window
    WHERE c.delivery_date = of_window.delivery_date AND c.subscription_id = of_window.subscription_id
        AND c.state = 'skipped' AND NOT c.is_owed
""")
ENQUEUE = text("""
    INSERT INTO tasks.outbox (task, kwargs, key, not_before)
    SELECT task, kwargs, key, not_before FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS job (
        task text, kwargs jsonb, key text, not_before timestamptz
    )
    ORDER BY key
    ON CONFLICT (key) DO NOTHING
""")
# All who wait for these tokens: each tries, and one of them is the next.
WAKE = text(f"""
    INSERT INTO tasks.outbox (task, kwargs, key)
    SELECT CAST(:task AS text), jsonb_build_object('subscription_id', subscription_id, 'delivery_date', delivery_date),
        concat_ws(':', 'delivery', subscription_id, delivery_date, 'after', ended.earlier)
    FROM unnest(CAST(:tokens AS text[]), CAST(:keys AS text[])) AS ended (token_id, earlier)
    JOIN tasks.charges c USING (token_id)
    WHERE c.state IN {WAITING_STATES} AND c.token_id IS NOT NULL
    ORDER BY subscription_id, delivery_date
    ON CONFLICT (key) DO NOTHING
""")  # noqa: S608
# Those whose latest charges up to today were all refused, since they were paused for it last. What has invoices can't
# be paused here: Razorpay bills on.
REFUSED_AGAIN = text(f"""
    WITH again AS (
        SELECT refused.id, day, way
        FROM unnest(CAST(:ids AS integer[]), CAST(:days AS date[]), CAST(:ways AS text[])) AS refused (id, day, way)
        CROSS JOIN LATERAL (
            SELECT c.state, c.has_paused FROM generate_series(refused.day - CAST(:days_back AS integer),
                greatest(refused.day, current_date), interval '1 day') AS each
            JOIN tasks.charges c ON c.delivery_date = CAST(each AS date) AND c.subscription_id = refused.id
            WHERE {IS_ANSWERED} ORDER BY c.delivery_date DESC LIMIT :refusals
        ) AS latest
        GROUP BY refused.id, day, way
        HAVING count(*) = :refusals AND bool_and(latest.state = 'refused' AND NOT latest.has_paused)
    ), locked AS MATERIALIZED (
        SELECT s.id FROM subscriptions s JOIN again USING (id)
        WHERE s.status = 'active' AND way = 'mandate' ORDER BY s.id FOR NO KEY UPDATE OF s
    ), paused AS (
        UPDATE subscriptions s SET status = 'paused', updated_at = now() FROM locked WHERE s.id = locked.id
        RETURNING s.id
    ), noted AS (
        UPDATE tasks.charges c SET has_paused = true FROM again JOIN paused USING (id)
        WHERE c.delivery_date = again.day AND c.subscription_id = again.id
    )
    SELECT again.id, paused.id IS NOT NULL, EXISTS (
        SELECT FROM tasks.subscription_runs r WHERE r.delivery_date = day AND r.reported_at IS NOT NULL
    ) FROM again LEFT JOIN paused USING (id) ORDER BY again.id
""")  # noqa: S608 -- our own words
