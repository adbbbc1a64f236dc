"""Carts and audit logs that are old, and what became of them."""

from datetime import UTC, datetime

from app.db.old_rows import OldRows
from app.db.shop import AuditLog, Cart, CartItem


def carts_older_than(cutoff: datetime) -> OldRows:
    """Carts that were last updated before `cutoff` (in UTC), with their items.

    Adding an item does not update a cart. One that gets an item while the cleanup runs is in use all the same.
    """
    return OldRows(Cart, Cart.updated_at < _as_the_shop_writes_it(cutoff), CartItem.cart_id)


def audit_logs_older_than(cutoff: datetime) -> OldRows:
    """Audit logs that were written before `cutoff` (in UTC)."""
    return OldRows(AuditLog, AuditLog.created_at < _as_the_shop_writes_it(cutoff))


def _as_the_shop_writes_it(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)
