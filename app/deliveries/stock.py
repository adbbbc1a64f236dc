"""The stock of products: what deliveries take from it, and what goes back.

The whole shop waits for these rows: what changes them belongs at the very end of a transaction.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import ProductId
from app.errors import NotDone

# NO KEY: rows that refer to a product can be written meanwhile. The order is everybody's, so that nobody dies of it.
_LOCK = text(
    """
    SELECT id, stock_quantity FROM products WHERE id = ANY(CAST(:products AS integer[]))
    ORDER BY id FOR NO KEY UPDATE
    """
)
_CHANGE = text(
    """
    WITH changed AS (
        SELECT * FROM unnest(CAST(:products AS integer[]), CAST(:units AS integer[])) AS changed (id, units)
    ), locked AS MATERIALIZED (
        SELECT p.id FROM products p JOIN changed USING (id) ORDER BY p.id FOR NO KEY UPDATE OF p
    )
    UPDATE products p SET stock_quantity = p.stock_quantity + changed.units, updated_at = now()
    FROM changed JOIN locked USING (id)
    WHERE p.id = changed.id AND (changed.units > 0 OR p.stock_quantity + changed.units >= 0)
    RETURNING p.id
    """
)


class StockSold(NotDone):
    """The shop sold a product while its deliveries were planned, and what is left is not enough for them."""

    def __init__(self, products: Sequence[ProductId]) -> None:
        super().__init__(products)
        self.products = products

    def __str__(self) -> str:
        return f"product {', '.join(map(str, self.products))} was sold meanwhile"


async def take(session: AsyncSession, units: Mapping[ProductId, int]) -> None:
    """Takes so many units of each product.

    Raises StockSold where there is not enough any more, which can't happen while the products are locked.
    """
    taken = await _change(session, {product: -count for product, count in units.items()})
    if sold := units.keys() - taken:
        raise StockSold(sorted(sold))


async def give_back(session: AsyncSession, units: Mapping[ProductId, int]) -> None:
    """Gives back so many units of each product, or takes them where they are less than none: of locked products."""
    await _change(session, {product: count for product, count in units.items() if count})


async def locked(session: AsyncSession, products: Collection[ProductId]) -> dict[ProductId, int]:
    """The units that there are of each of the products, which are locked until the transaction ends."""
    rows = await session.execute(_LOCK, {"products": sorted(products)})
    return {product: units for product, units in rows}  # noqa: C416 -- rows are no tuples to mypy


async def _change(session: AsyncSession, units: Mapping[ProductId, int]) -> set[ProductId]:
    if not units:
        return set()
    return set(await session.scalars(_CHANGE, {"products": list(units), "units": list(units.values())}))
