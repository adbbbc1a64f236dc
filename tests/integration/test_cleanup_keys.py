"""Abandoned tokens and sessions are found in one pass, and what is alive stays."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.cleanup.keys import AbandonedKeys, KeyTally, TokensRedis, TokensRedisUnavailable
from tests.endings import ended_at
from tests.waiting import PATIENCE

TOKENS = ("otp:", "password_reset:", "email_verification:")
HOUR = timedelta(hours=1)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield redis


async def call(redis: Redis, command: tuple[Any, ...]) -> Any:
    return await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # its stub has none


async def remove(redis_url: str, abandoned: AbandonedKeys) -> AbandonedKeys:
    tokens = TokensRedis.from_url(redis_url)
    try:
        await tokens.remove(abandoned, lambda _seen, _there_are: None)
    finally:
        await tokens.aclose()
    return abandoned


def counted(abandoned: AbandonedKeys) -> dict[str, tuple[int, int]]:
    return {prefix: (tally.total, tally.deleted) for prefix, tally in abandoned.tallies.items()}


names = st.text("abc:*[]?é\\", max_size=4)
prefixes = st.sampled_from([*TOKENS, "session:", "otp", "email:", "arq:job:", "arq:queue", "indostar:claims", ""])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.builds("".join, st.tuples(prefixes, names)), st.booleans(), max_size=30))
async def test_exactly_the_tokens_without_expiry_go(redis_url: str, redis: Redis, keys: dict[str, bool]) -> None:
    """Keys, and whether they expire."""
    await redis.flushall()
    for key, expires in keys.items():
        await redis.set(key, "x", ex=600 if expires else None)

    abandoned = await remove(redis_url, AbandonedKeys(TOKENS))

    assert set(await redis.keys()) == {key for key, expires in keys.items() if expires or not key.startswith(TOKENS)}
    for prefix, tally in abandoned.tallies.items():
        of_kind = [expires for key, expires in keys.items() if key.startswith(prefix)]
        assert tally == KeyTally(total=len(of_kind), deleted=of_kind.count(False))


async def test_thousands_of_keys_of_all_kinds_are_passed_over_once(redis_url: str, redis: Redis) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(6_000):
            kind = ("otp", "password_reset", "email_verification", "session", "arq:job", "order")[number % 6]
            pipe.set(f"{kind}:{number}", "x", ex=600 if number % 4 else None)
        await pipe.execute()

    abandoned = await remove(redis_url, AbandonedKeys(TOKENS))

    assert counted(abandoned) == {"otp:": (1000, 500), "password_reset:": (1000, 0), "email_verification:": (1000, 500)}
    assert await redis.dbsize() == 5_000


async def test_a_dry_run_counts_and_removes_nothing(redis_url: str, redis: Redis) -> None:
    await redis.mset({"otp:1": "x", "otp:2": "x", "session:1": "x"})

    abandoned = await remove(redis_url, AbandonedKeys(TOKENS, dry_run=True))

    assert counted(abandoned)["otp:"] == (2, 0)
    assert await redis.dbsize() == 3


async def test_sessions_go_that_do_not_expire_or_were_not_used_for_long(redis_url: str, redis: Redis) -> None:
    await redis.set("session:eternal", "x")
    await redis.set("session:used", "x", ex=90_000)
    # RESTORE sets how long ago a key was used.
    dumped = await _dump(redis_url, "session:used")
    async with Redis.from_url(redis_url) as raw:
        await raw.restore("session:idle", 90_000_000, dumped, idletime=3_600)
        await raw.restore("session:nearly", 90_000_000, dumped, idletime=1_000)

    abandoned = await remove(redis_url, AbandonedKeys(["session:"], idle=HOUR))

    assert sorted(await redis.keys()) == ["session:nearly", "session:used"]
    assert counted(abandoned) == {"session:": (4, 2)}
    assert abandoned.knows_idle_time


async def _dump(redis_url: str, key: str) -> bytes:
    async with Redis.from_url(redis_url) as raw:
        dumped: bytes = await raw.dump(key)
        return dumped


async def test_under_an_lfu_policy_only_the_expiry_counts(redis_url: str, redis: Redis) -> None:
    await redis.mset({"session:eternal": "x", "session:other": "x"})
    await redis.set("session:used", "x", ex=90_000)
    await redis.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        abandoned = await remove(redis_url, AbandonedKeys(["session:"], idle=HOUR))
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")

    assert await redis.keys() == ["session:used"]
    assert counted(abandoned) == {"session:": (3, 2)}
    assert not abandoned.knows_idle_time


async def test_a_token_set_anew_after_it_was_judged_stays(redis_url: str, redis: Redis) -> None:
    await redis.mset({"otp:again": "old", "otp:gone": "old", "otp:left": "old"})
    abandoned = AbandonedKeys(TOKENS)
    keys = [b"otp:again", b"otp:gone", b"otp:left"]
    questions = [await call(redis, question) for question in abandoned.questions(keys)]
    doomed = abandoned.judge(keys, iter(questions))
    await redis.setex("otp:again", 600, "new")
    await redis.delete("otp:gone")

    for key in doomed:
        abandoned.removed(key, await call(redis, abandoned.removal(key)))

    assert doomed == keys
    assert await redis.get("otp:again") == "new"
    assert await redis.keys() == ["otp:again"]
    assert counted(abandoned)["otp:"] == (3, 1)


async def test_a_session_used_after_it_was_judged_stays(redis_url: str, redis: Redis) -> None:
    await redis.set("session:1", "x", ex=90_000)
    dumped = await _dump(redis_url, "session:1")
    async with Redis.from_url(redis_url) as raw:
        await raw.restore("session:1", 90_000_000, dumped, replace=True, idletime=7_200)
    abandoned = AbandonedKeys(["session:"], idle=HOUR)
    questions = [await call(redis, question) for question in abandoned.questions([b"session:1"])]

    doomed = abandoned.judge([b"session:1"], iter(questions))
    await redis.get("session:1")
    removed = await call(redis, abandoned.removal(b"session:1"))

    assert doomed == [b"session:1"]
    assert removed == 0


async def test_tokens_set_all_the_time_are_all_there_in_the_end(redis_url: str, redis: Redis) -> None:
    """Orphans become tokens under the cleanup's hands."""
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(5_000):
            pipe.set(f"otp:{number}", "old")
        await pipe.execute()
    is_over = asyncio.Event()
    renewed: list[str] = []

    async def backend() -> None:
        for number in count():
            if is_over.is_set():
                return
            key = f"otp:{number * 7 % 5_000}"
            await redis.setex(key, 600, "new")
            renewed.append(key)

    setting = asyncio.create_task(backend())
    await remove(redis_url, AbandonedKeys(TOKENS))
    is_over.set()
    await setting

    assert set(await redis.keys()) == set(renewed)


async def test_ended_at_any_await_and_run_again_it_ends_where_one_run_would_have(redis_url: str, redis: Redis) -> None:
    async with asyncio.timeout(5 * PATIENCE):
        for step in count(1):
            await redis.mset({f"otp:{number}": "x" for number in range(20)})
            await redis.set("otp:young", "x", ex=600)
            tokens, abandoned = TokensRedis.from_url(redis_url), AbandonedKeys(TOKENS)
            has_ended = await ended_at(step, tokens.remove(abandoned, lambda _seen, _there_are: None))
            await tokens.aclose()
            left = await redis.dbsize() - 1
            again = await remove(redis_url, AbandonedKeys(TOKENS))

            assert counted(again)["otp:"] == (left + 1, left)
            assert await redis.keys() == ["otp:young"]
            if has_ended:
                break
    assert step > 3


async def test_a_redis_that_is_away_is_waited_for() -> None:
    with pytest.raises(TokensRedisUnavailable, match="not available"):
        await remove("redis://127.0.0.1:9/0", AbandonedKeys(TOKENS))


async def test_a_redis_that_says_nothing_counts_as_away() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with asyncio.timeout(PATIENCE), await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        tokens = TokensRedis(Redis.from_url(url), answer_within=timedelta(seconds=0.1))

        with pytest.raises(TokensRedisUnavailable, match="not available"):
            await tokens.remove(AbandonedKeys(TOKENS), lambda _seen, _there_are: None)

        await tokens.aclose()
