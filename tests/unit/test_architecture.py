"""Imports point one way, as docs/architecture.md draws it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each layer may import itself and what stands below it.
LAYERS = (
    ("worker", "admin_api", "app.cli", "app.dev", "app.client", "app.__main__"),
    ("app.operations",),
    ("app.tasks", "app.reconciliation"),
    ("app.billing",),
    ("app.schedules", "app.letters", "app.deliveries", "app.live", "app.metrics"),
    ("app.notify", "app.outbox", "app.history", "app.cleanup", "app.steering"),
    ("app.logs",),
    ("app.supervisor",),
    ("app.providers", "app.db", "app.jobs"),
    ("app.settings", "app.setting_values", "app.addresses", "app.errors", "app.money", "app.india"),
)
# An entry point is started by the system or by a person, never by another one. The command line starts the fakes,
# and what `make run` starts it starts as processes.
ALLOWED_BETWEEN_ENTRIES = {("app.cli", "app.dev"), ("app.__main__", "app.cli")}
# Neighbours that know nothing of each other.
STRANGERS = {
    ("app.jobs", "app.db"),
    ("app.db", "app.jobs"),
    ("app.jobs", "app.providers"),
    ("app.providers", "app.jobs"),
    ("app.notify", "app.outbox"),
    ("app.outbox", "app.notify"),
    ("app.notify", "app.history"),
    ("app.history", "app.notify"),
    ("app.outbox", "app.history"),
    ("app.history", "app.outbox"),
    ("app.letters", "app.notify"),
    ("app.letters", "app.schedules"),
    ("app.schedules", "app.letters"),
    ("app.cleanup", "app.notify"),
    ("app.cleanup", "app.outbox"),
    ("app.notify", "app.cleanup"),
    ("app.outbox", "app.cleanup"),
    ("app.steering", "app.outbox"),
    ("app.outbox", "app.steering"),
    ("app.steering", "app.history"),
    ("app.history", "app.steering"),
    ("app.steering", "app.notify"),
    ("app.notify", "app.steering"),
    ("app.reconciliation", "app.tasks"),
    ("app.tasks", "app.reconciliation"),
    ("app.schedules", "app.deliveries"),
    ("app.deliveries", "app.schedules"),
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in [*ROOT.glob("app/**/*.py"), *ROOT.glob("admin_api/**/*.py"), ROOT / "worker.py"]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str | None:
    """The longest part of the drawing that the module lies in."""
    parts = [part for layer in LAYERS for part in layer if module == part or module.startswith(f"{part}.")]
    return max(parts, key=len, default=None)


def layer_of(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


def faults_of(name: str, imported: str) -> str | None:
    """What is wrong with this module importing that one."""
    here, there = part_of(name), part_of(imported)
    if here is None:
        return f"{name} has no place in the drawing"
    if there is None or there == here:
        return None
    if layer_of(there) < layer_of(here):
        return f"{name} imports {imported}, which stands above it"
    if (here, there) in STRANGERS:
        return f"{name} imports {imported}, which it should know nothing of"
    if layer_of(here) == layer_of(there) == 0 and (here, there) not in ALLOWED_BETWEEN_ENTRIES:
        return f"{name} imports the entry point {imported}"
    return None


@pytest.mark.parametrize(("name", "path"), [pytest.param(*module, id=module[0]) for module in modules()])
def test_imports_point_one_way(name: str, path: Path) -> None:
    # `app` itself only names the homes of what it gives away.
    faults = [] if name == "app" else [fault for module in imports(path) if (fault := faults_of(name, module))]

    assert faults == []


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("app.jobs.store", "app.tasks.notifications"),
        ("app.settings", "app.db.engine"),
        ("app.jobs.pool", "app.db.engine"),
        ("app.tasks.serving", "app.operations.opening"),
        ("app.operations.jobs", "admin_api.routes"),
        ("admin_api.routes", "worker"),
        ("app.elsewhere", "app.errors"),
    ],
)
def test_an_arrow_that_turns_round_is_noticed(name: str, imported: str) -> None:
    assert faults_of(name, imported) is not None
