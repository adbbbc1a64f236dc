"""What the OpenAPI document shows as examples is what views look like."""

import pytest
from pydantic import BaseModel

from app.operations import views

SHOWN = [
    kind
    for kind in vars(views).values()
    if isinstance(kind, type)
    and issubclass(kind, BaseModel)
    and kind is not BaseModel
    and kind.model_json_schema().get("examples")
]


@pytest.mark.parametrize("kind", SHOWN)
def test_an_example_is_one_of_its_kind(kind: type[BaseModel]) -> None:
    for example in kind.model_json_schema()["examples"]:
        assert kind.model_validate(example).model_dump(mode="json", by_alias=True) == example


def test_there_are_examples_of_all_that_is_listed() -> None:
    assert {views.JobView, views.QueueView, views.WorkerView, views.ScheduleView} <= set(SHOWN)
