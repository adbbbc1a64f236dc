"""Whom the owner's mail goes to."""

from collections.abc import Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import User, UserRole
from app.notify.recipients import usable_email

log = structlog.stdlib.get_logger(__name__)


async def owner_addresses(session: AsyncSession, configured: Sequence[str]) -> Sequence[str]:
    """The configured addresses, else those of the active users whose role is owner, each once.

    What the shop keeps of these may be no address: a user to whom no mail can go is left out. That, and nobody being
    left, is a warning in the log.
    """
    if configured:
        return list(dict.fromkeys(configured))
    owners = await session.execute(
        select(User.id, User.email)
        .where(User.role == UserRole.OWNER, User.is_active, User.email.is_not(None))
        .order_by(User.id)
    )
    addresses = {user_id: usable_email(email) for user_id, email in owners}
    if unusable := [user_id for user_id, address in addresses.items() if address is None]:
        log.warning("owner.address_unusable", users=unusable)
    usable = list(dict.fromkeys(address for address in addresses.values() if address))
    if not usable:
        log.warning("owner.without_address", setting="OWNER_EMAIL")
    return usable
