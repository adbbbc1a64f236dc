import asyncio
import json
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.serializer import ErrorRecord, JobFailed, deserialize, serialize

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))))
    | st.decimals(allow_nan=False)
    | st.uuids()
)
# Keys that look like our own tags are the interesting ones.
KEYS = st.text(max_size=5) | st.sampled_from(["$", "v"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(VALUES)
def test_every_value_survives_the_trip(value: Any) -> None:
    assert deserialize(serialize({"k": value})) == {"k": value}


@given(VALUES)
def test_a_payload_is_strict_json(value: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(serialize({"k": value}), parse_constant=refuse)


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 5, 9, 30, tzinfo=UTC), date(2026, 1, 5), Decimal("1.10"), UUID(int=7), float("inf")],
)
def test_types_come_back_as_themselves(value: Any) -> None:
    returned = deserialize(serialize({"r": value}))["r"]

    assert returned == value
    assert type(returned) is type(value)


def test_user_data_that_looks_like_a_tag_stays_user_data() -> None:
    tricky = {"k": {"$": "decimal", "v": "1"}, "when": date(2026, 1, 5), "text": '"$":'}

    assert deserialize(serialize(tricky)) == tricky


def test_an_exception_comes_back_readable_with_its_traceback() -> None:
    def fail() -> None:
        raise ValueError("no such order")

    try:
        fail()
    except ValueError as error:
        returned = deserialize(serialize({"r": error}))["r"]

    assert isinstance(returned, JobFailed)
    assert str(returned) == "ValueError: no such order"
    assert "in fail" in returned.traceback


def test_a_cancellation_comes_back_as_one() -> None:
    returned = deserialize(serialize({"r": asyncio.CancelledError()}))["r"]

    assert isinstance(returned, asyncio.CancelledError)


def test_an_exception_that_cannot_be_printed_is_still_told() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    record = ErrorRecord.of(Broken())

    assert record.type == "Broken"
    assert "without a readable message" in record.message


def test_what_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(ValueError, match="within itself"):
        serialize({"r": endless})


def test_what_json_cannot_hold_becomes_its_repr() -> None:
    assert deserialize(serialize({"r": {1, 2}}))["r"] == "{1, 2}"


@pytest.mark.parametrize(
    "raw",
    [
        pickle.dumps({"f": "x"}),
        b"",
        b"[]",
        b"null",
        b'{"k":{"$":"decimal","v":"x"}}',
        b'{"k":{"$":"exception","v":[]}}',
        b'{"k":{"$":"date","v":5}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_anything_else_is_refused_and_never_executed(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        deserialize(raw)
