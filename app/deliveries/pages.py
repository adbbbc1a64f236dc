"""Going through all subscriptions page by page, in the order of their ids."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import SubscriptionId
from app.deliveries.decisions import IS_DUE, Terms

# Subscriptions in one transaction. More of them are hardly faster, and hold their rows and the products' for longer.
PAGE = 2000

# Begins a transaction that sees one state of the database in all its pages, and in which nothing can be written.
ONE_STATE = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

# The next subscriptions whether due or not: each is looked at once, by the primary key, whatever the statistics say.
_NEXT = text(
    f"""
    SELECT max(s.id), array_agg(s.id ORDER BY s.id) FILTER (WHERE {IS_DUE})
    FROM (SELECT * FROM subscriptions WHERE id > :after ORDER BY id LIMIT :most) AS s
    """  # noqa: S608 -- our own condition
)


class Page(NamedTuple):
    """Those of the subscriptions up to the id `last` that are due."""

    last: SubscriptionId
    due: Sequence[SubscriptionId]


async def next_page(session: AsyncSession, terms: Terms, after: SubscriptionId, most: int) -> Page | None:
    """What is due of the next so many subscriptions behind the id `after`; None where there are none."""
    last, due = (await session.execute(_NEXT, {**terms.parameters, "after": after, "most": most})).one()
    return None if last is None else Page(last, due or [])
