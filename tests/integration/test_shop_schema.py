"""The copy of the shop's tables against the facts that its backend's schema states."""

from collections import defaultdict

from sqlalchemy import insert, select, text

from app.db.engine import Database
from app.db.shop import Category
from app.dev.demo_shop import create_shop_tables

CREATED = "created_at timestamp without time zone DEFAULT now()"
UPDATED = "updated_at timestamp without time zone DEFAULT now()"

# Type and default as PostgreSQL spells them; every column is NOT NULL unless it ends in NULL.
COLUMNS = {
    "users": [
        "email character varying(255) NULL",
        "phone character varying(20)",
        "name character varying(255)",
        "hashed_password character varying(255) NULL",
        "role user_role",
        "google_id character varying(255) NULL",
        "is_email_verified boolean DEFAULT false",
        "is_phone_verified boolean DEFAULT false",
        "is_active boolean DEFAULT true",
        "distributor_status distributor_status NULL",
        CREATED,
        UPDATED,
    ],
    "addresses": [
        "user_id integer",
        "name character varying(255)",
        "phone character varying(20)",
        "address_line1 character varying(500)",
        "address_line2 character varying(500) NULL",
        "city character varying(100)",
        "state character varying(100)",
        "postal_code character varying(20)",
        "country character varying(100) DEFAULT 'India'::character varying",
        "is_default boolean DEFAULT false",
        CREATED,
        UPDATED,
    ],
    "categories": [
        "name character varying(255)",
        "slug character varying(255)",
        "parent_id integer NULL",
        "display_order integer DEFAULT 0",
        CREATED,
        UPDATED,
    ],
    "products": [
        "owner_id integer",
        "title character varying(255)",
        "description text",
        "category_id integer",
        "sku character varying(100)",
        "unit_size character varying(100)",
        "consumer_price numeric(10,2)",
        "distributor_price numeric(10,2)",
        "stock_quantity integer DEFAULT 0",
        "is_subscription_available boolean DEFAULT false",
        "is_active boolean DEFAULT true",
        CREATED,
        UPDATED,
    ],
    "subscriptions": [
        "user_id integer",
        "product_id integer",
        "razorpay_subscription_id character varying(255)",
        "plan_frequency subscription_frequency",
        "start_date date",
        "next_delivery_date date",
        "delivery_address_id integer",
        "status subscription_status DEFAULT 'active'::subscription_status",
        CREATED,
        UPDATED,
    ],
    "orders": [
        "user_id integer",
        "order_number character varying(100)",
        "total_amount numeric(10,2)",
        "discount_amount numeric(10,2) DEFAULT 0.00",
        "final_amount numeric(10,2)",
        "payment_status payment_status DEFAULT 'pending'::payment_status",
        "order_status order_status DEFAULT 'pending'::order_status",
        "delivery_address_id integer",
        "notes text NULL",
        CREATED,
        UPDATED,
    ],
    "order_items": [
        "order_id integer",
        "product_id integer",
        "quantity integer",
        "unit_price numeric(10,2)",
        "total_price numeric(10,2)",
    ],
    "payments": [
        "order_id integer NULL",
        "subscription_id integer NULL",
        "razorpay_payment_id character varying(255)",
        "razorpay_order_id character varying(255) NULL",
        "amount numeric(10,2)",
        "currency character varying(10) DEFAULT 'INR'::character varying",
        "status payment_status DEFAULT 'pending'::payment_status",
        "payment_method character varying(100) NULL",
        CREATED,
        UPDATED,
    ],
    "carts": [
        "user_id integer",
        "coupon_code character varying(100) NULL",
        "discount_amount numeric(10,2) DEFAULT 0.00",
        CREATED,
        UPDATED,
    ],
    "cart_items": [
        "cart_id integer",
        "product_id integer",
        "quantity integer DEFAULT 1",
        "unit_price numeric(10,2)",
        CREATED,
    ],
    "audit_logs": [
        "actor_id integer",
        "action_type character varying(100)",
        "object_type character varying(100)",
        "object_id integer",
        "details json",
        "ip_address character varying(45) NULL",
        CREATED,
    ],
}

# Beyond PRIMARY KEY (id), which every table has.
CONSTRAINTS = {
    "users": {"UNIQUE (email)", "UNIQUE (phone)"},
    "addresses": {"FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE"},
    "categories": {"UNIQUE (slug)", "FOREIGN KEY (parent_id) REFERENCES categories(id)"},
    "products": {
        "UNIQUE (sku)",
        "CHECK ((stock_quantity >= 0))",
        "FOREIGN KEY (owner_id) REFERENCES users(id)",
        "FOREIGN KEY (category_id) REFERENCES categories(id)",
    },
    "subscriptions": {
        "UNIQUE (razorpay_subscription_id)",
        "FOREIGN KEY (user_id) REFERENCES users(id)",
        "FOREIGN KEY (product_id) REFERENCES products(id)",
        "FOREIGN KEY (delivery_address_id) REFERENCES addresses(id)",
    },
    "orders": {
        "UNIQUE (order_number)",
        "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE",
        "FOREIGN KEY (delivery_address_id) REFERENCES addresses(id) ON DELETE RESTRICT",
    },
    "order_items": {
        "FOREIGN KEY (order_id) REFERENCES orders(id) ON DELETE CASCADE",
        "FOREIGN KEY (product_id) REFERENCES products(id) ON DELETE RESTRICT",
    },
    "payments": {
        "UNIQUE (razorpay_payment_id)",
        "FOREIGN KEY (order_id) REFERENCES orders(id) ON DELETE CASCADE",
        "FOREIGN KEY (subscription_id) REFERENCES subscriptions(id)",
    },
    "carts": {"UNIQUE (user_id)", "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE"},
    "cart_items": {
        "FOREIGN KEY (cart_id) REFERENCES carts(id) ON DELETE CASCADE",
        "FOREIGN KEY (product_id) REFERENCES products(id) ON DELETE CASCADE",
    },
    "audit_logs": {"FOREIGN KEY (actor_id) REFERENCES users(id) ON DELETE CASCADE"},
}

# Those of keys apart.
INDEXES = {
    "subscriptions": {"(next_delivery_date, status)", "(user_id, status)"},
    "orders": {"(order_status, created_at DESC)", "(user_id, created_at DESC)"},
    "order_items": {"(order_id)", "(product_id)"},
    "payments": {"(razorpay_order_id)", "(subscription_id, status)"},
    "cart_items": {"(cart_id)", "(product_id)"},
    "audit_logs": {"(created_at)", "(actor_id, created_at DESC)", "(action_type, created_at DESC)"},
}

LABELS = {
    "user_role": ["consumer", "distributor", "owner"],
    "distributor_status": ["pending", "approved", "rejected"],
    "payment_status": ["pending", "paid", "failed", "refunded"],
    "order_status": ["pending", "confirmed", "packed", "out_for_delivery", "delivered", "cancelled", "refunded"],
    "subscription_frequency": ["daily", "alternate_days", "weekly"],
    "subscription_status": ["active", "paused", "cancelled"],
}


async def lists_by_name(database_url: str, query: str) -> dict[str, list[str]]:
    """The second column's values for each value of the first."""
    database = Database(database_url, application_name="indostar test", pool_size=1)
    found = defaultdict(list)
    async with database.session() as session:
        for name, value in await session.execute(text(query)):
            found[name].append(value)
    await database.close()
    return dict(found)


async def test_tables_and_columns_are_the_shops(database_url: str) -> None:
    found = await lists_by_name(
        database_url,
        """
        SELECT relname, concat_ws(' ', attname, format_type(atttypid, atttypmod),
            'DEFAULT ' || pg_get_expr(adbin, adrelid), CASE WHEN NOT attnotnull THEN 'NULL' END)
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
    )

    assert found == {
        table: [f"id integer DEFAULT nextval('{table}_id_seq'::regclass)", *columns]
        for table, columns in COLUMNS.items()
    }


async def test_keys_and_checks_are_the_shops(database_url: str) -> None:
    found = await lists_by_name(
        database_url,
        """
        SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f', 'c')
        """,
    )

    assert {table: sorted(keys) for table, keys in found.items()} == {
        table: sorted(["PRIMARY KEY (id)", *keys]) for table, keys in CONSTRAINTS.items()
    }


async def test_indexes_are_the_shops(database_url: str) -> None:
    found = await lists_by_name(
        database_url,
        """
        SELECT indrelid::regclass::text, split_part(pg_get_indexdef(indexrelid), 'USING btree ', 2)
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid)
        """,
    )

    assert {table: sorted(indexes) for table, indexes in found.items()} == {
        table: sorted(indexes) for table, indexes in INDEXES.items()
    }


async def test_enum_labels_are_the_shops_in_their_order(database_url: str) -> None:
    found = await lists_by_name(
        database_url,
        "SELECT typname, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid ORDER BY enumsortorder",
    )

    assert found == LABELS


async def test_tables_that_exist_are_left_as_they_are(database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=1)
    async with database.session() as session:
        await session.execute(insert(Category).values(name="Milk", slug="milk"))

    await create_shop_tables(database_url)

    async with database.session() as session:
        assert await session.scalar(select(Category.name)) == "Milk"
    await database.close()
