"""Whom the owner's mail goes to."""

from collections.abc import Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import User, UserRole
from app.notify.recipients import usable_email

log = structlog.stdlib.get_logger(__name__)


async def owner_addresses(session: AsyncSession, configured: Sequence[str]) -> Sequence[str]:
    """The configured addresses, else those of the active users whose role is owner; none is a warning in the log."""
    if configured:
        return list(dict.fromkeys(configured))
    owners = await session.scalars(
        select(User.email).where(User.role == UserRole.OWNER, User.is_active, User.email.is_not(None)).order_by(User.id)
    )
    addresses = [address for kept in owners if (address := usable_email(kept))]
    if not addresses:
        log.warning("owner.without_address", setting="OWNER_EMAIL")
    return list(dict.fromkeys(addresses))
