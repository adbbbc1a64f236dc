"""The shop's worker as a process: its settings, its fake providers, and a pool to enqueue with."""

from collections.abc import AsyncIterator, Mapping

import pytest

from app.dev.fakes import Fakes, running_fakes
from app.jobs.pool import JobPool
from app.tasks import TASKS
from tests.running import open_pool
from tests.settings import as_environment, make_settings


@pytest.fixture
async def fakes() -> AsyncIterator[Fakes]:
    async with running_fakes() as fakes:
        yield fakes


@pytest.fixture
def environment(database_url: str, redis_url: str, fakes: Fakes) -> Mapping[str, str]:
    settings = make_settings(database_url=database_url, redis_url=redis_url, fakes_url=fakes.url)
    return as_environment(settings) | {"JOB_LEASE_SECONDS": "3"}


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, TASKS) as pool:
        yield pool
