"""Documents that are made from the code say what the code says."""

from app.cli.task_list import task_page
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
