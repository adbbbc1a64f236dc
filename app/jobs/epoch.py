"""Noticing that Redis lost its data."""

from uuid import uuid4

from redis.asyncio import Redis

from app.jobs.queues import EPOCH


async def current_epoch(redis: Redis) -> str:
    """The word that lasts as long as what Redis holds; a new one where it holds none."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set(EPOCH, uuid4().hex, nx=True)
        pipe.get(EPOCH)
        _, epoch = await pipe.execute()
    return str(epoch.decode())
