from collections.abc import AsyncIterator

import pytest

from app.dev.postgres import EmbeddedPostgres
from tests.integration.charging_shop import ChargingShop, own_charging_shop


@pytest.fixture(scope="module")
async def opened(postgres_server: EmbeddedPostgres, database_template: str) -> AsyncIterator[ChargingShop]:
    """A shop that is charged, in a database of its own for the tests of a module."""
    async with own_charging_shop(postgres_server, database_template) as shop:
        yield shop


@pytest.fixture
def shop(opened: ChargingShop) -> ChargingShop:
    """`open()` empties it."""
    return opened
