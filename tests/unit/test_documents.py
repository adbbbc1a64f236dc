"""Documents that are made from the code say what the code says."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from app.cli import cli
from app.cli.task_list import task_page
from app.reconciliation.discrepancies import DiscrepancyKind
from app.settings import PROJECT_ROOT, Settings


def test_the_page_of_tasks_is_current() -> None:
    assert (PROJECT_ROOT / "docs" / "tasks.md").read_text() == task_page(), "run `make docs`"


def test_env_shows_every_setting_and_no_secret() -> None:
    lines = (PROJECT_ROOT / ".env").read_text().splitlines()
    shown = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert set(shown) == {field.upper() for field in Settings.model_fields}
    for name, value in shown.items():
        if "SecretStr" in str(Settings.model_fields[name.lower()].annotation):
            assert value == ""


def command_lines() -> Iterator[tuple[str, str]]:
    """Every `indostar ...` in the documents for operators, with the document's name."""
    for page in [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md"))]:
        text = page.read_text()
        spans = re.findall(r"`(indostar [^`]+)`", text)
        blocks = re.findall(r"^ *(indostar [^#\n]+)", text, flags=re.MULTILINE)
        for line in dict.fromkeys([*spans, *blocks]):
            # The help is no command, and what is left out can't be told.
            if "..." not in line and "--help" not in line:
                yield page.name, line.strip()


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_each_command_of_the_documents_is_one(page: str, line: str) -> None:
    command: Any = get_command(cli)
    words = shlex.split(line)[1:]

    # What is wrong with it is raised; it is not run.
    while True:
        context = command.make_context(command.name, words)
        if not hasattr(command, "resolve_command"):
            break
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])

    assert command.callback is not None


def test_operators_can_read_what_each_finding_means() -> None:
    page = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    [table] = re.findall(r"\| finding \|.*?\n\n", page, flags=re.DOTALL)
    cells = re.findall(r"^ *\| (.+?) \| ", table, flags=re.MULTILINE)[2:]

    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(DiscrepancyKind)
