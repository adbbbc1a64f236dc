"""What the log says of calls that were turned away: few lines, whatever comes, and no token."""

from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from admin_api.turned_away import TurnedAway
from tests.waiting import until


def told(logs: list[Any]) -> list[tuple[Any, ...]]:
    assert {line["log_level"] for line in logs} <= {"warning"}
    return [(line["address"], line.get("why"), line.get("caller"), line["calls"]) for line in logs]


async def test_an_address_is_told_of_once_with_how_often_it_came() -> None:
    turned_away = TurnedAway()
    for _ in range(5):
        turned_away.note("203.0.113.7", "wrong token")
    turned_away.note("203.0.113.7", "too many wrong tokens")
    turned_away.note("203.0.113.8", "only reads", "till")

    with capture_logs() as logs:
        turned_away.tell()
        turned_away.tell()

    assert told(logs) == [
        ("203.0.113.7", "wrong token", None, 5),
        ("203.0.113.7", "too many wrong tokens", None, 1),
        ("203.0.113.8", "only reads", "till", 1),
    ]


async def test_it_is_told_by_itself_each_time_again() -> None:
    turned_away = TurnedAway(every=timedelta(0))

    with capture_logs() as logs:
        for calls in (1, 2):
            turned_away.note("203.0.113.7", "wrong token")
            await until(lambda: len(logs) == calls)  # noqa: B023 -- waited for here

    assert told(logs) == [("203.0.113.7", "wrong token", None, 1)] * 2


async def test_of_more_addresses_than_anybody_reads_there_is_a_number() -> None:
    turned_away = TurnedAway(most_lines=2)
    for last in (1, 2, 3, 4, 1):
        turned_away.note(f"203.0.113.{last}", "wrong token")
    turned_away.note("2001:db8:1:2::1", "wrong token")

    with capture_logs() as logs:
        turned_away.tell()

    assert told(logs) == [
        ("203.0.113.1", "wrong token", None, 2),
        ("203.0.113.2", "wrong token", None, 1),
        ("others", None, None, 3),
    ]


async def test_the_addresses_of_one_network_are_one() -> None:
    turned_away = TurnedAway()
    for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::1"):
        turned_away.note(address, "wrong token")

    with capture_logs() as logs:
        turned_away.tell()

    assert told(logs) == [("2001:db8:1:2::/64", "wrong token", None, 2)]
