"""Where the owner's mail goes."""

from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from app.db.engine import Database
from app.notify.owners import owner_addresses
from tests.integration.delivery_shop import DeliveryShop


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


async def addresses(shop: DeliveryShop, *configured: str) -> Sequence[str]:
    async with shop.database.session() as session:
        return await owner_addresses(session, configured)


async def test_the_setting_comes_first_and_else_the_owners(shop: DeliveryShop) -> None:
    await shop.open(4)
    await shop.sql("UPDATE users SET email = id || '@example.com', role = 'owner' WHERE id < 4")
    await shop.sql("UPDATE users SET email = 'customer@example.com' WHERE id = 4")
    await shop.sql("UPDATE users SET is_active = false WHERE id = 3")

    assert await addresses(shop) == ["1@example.com", "2@example.com"]
    assert await addresses(shop, "a@example.com", "b@example.com", "a@example.com") == [
        "a@example.com",
        "b@example.com",
    ]


async def test_nobody_to_tell_is_a_warning(shop: DeliveryShop) -> None:
    await shop.open(1)

    with capture_logs() as logs:
        assert await addresses(shop) == []

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("owner.without_address", "warning")]


# The second has a character more before the @ than there may be.
@pytest.mark.parametrize("email", ["none", f"{65 * 'a'}@example.com", "", "a@example.com\nBcc: b@example.com"])
async def test_an_owner_to_whom_no_mail_can_go_is_left_out_with_a_warning(shop: DeliveryShop, email: str) -> None:
    await shop.open(3)
    await shop.sql("UPDATE users SET email = id || '@example.com', role = 'owner' WHERE id < 4")
    await shop.sql("UPDATE users SET email = :email WHERE id = 2", email=email)

    with capture_logs() as logs:
        assert await addresses(shop) == ["1@example.com", "3@example.com"]

    assert logs == [{"event": "owner.address_unusable", "log_level": "warning", "users": [2]}]
