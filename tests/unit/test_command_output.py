"""What commands print to a terminal, into a pipe, and of live events."""

import io
import re
from contextlib import redirect_stdout

import pytest

from app.cli import output
from app.cli.live import told_in
from app.cli.output import Column
from app.live import rendering

COLUMNS = (
    Column("ID"),
    Column("TASK"),
    Column("STATUS"),
    Column("QUEUE", is_optional=True),
    Column("ERROR", is_optional=True),
)
ROWS = [("j" * 40, "send_email_task", "failed", "notifications", "ProviderRefused")]


class Terminal(io.StringIO):
    """Somebody looks at it."""

    def isatty(self) -> bool:
        return True


def printed(out: io.StringIO) -> str:
    with redirect_stdout(out):
        output.print_table(COLUMNS, ROWS, empty="there is none")
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def test_a_pipe_gets_every_column_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    out = io.StringIO()
    title, row = printed(out).splitlines()

    assert title.split() == ["ID", "TASK", "STATUS", "QUEUE", "ERROR"]
    assert row.split() == list(ROWS[0])
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (200, ["ID", "TASK", "STATUS", "QUEUE", "ERROR"]),
        (90, ["ID", "TASK", "STATUS", "QUEUE"]),
        (70, ["ID", "TASK", "STATUS"]),
    ],
)
def test_a_narrow_terminal_goes_without_what_can_be_spared(
    monkeypatch: pytest.MonkeyPatch, width: int, titles: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")

    assert printed(Terminal()).splitlines()[1].split() == titles


def test_however_narrow_an_id_is_there_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")

    assert printed(Terminal()).count("j") == len(ROWS[0][0])


def test_nothing_is_no_row_for_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(COLUMNS, [], empty="there is none")

    assert capsys.readouterr() == ("", "there is none\n")


def test_of_live_events_all_are_told_that_tell_something() -> None:
    chunk = (
        rendering.outage(is_over=False)
        + rendering.heartbeat("1-0")
        + rendering.outage(is_over=True)
        + rendering.missed(None, "1-0", "2-0", "the stream was cut off")
    )

    assert [kind for kind, _ in told_in(chunk)] == ["outage", "resumed", "missed"]
