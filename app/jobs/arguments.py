"""A task's arguments as a pydantic model built from its signature."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticSerializationError, PydanticUndefined

from app.jobs.failures import WrongArguments

# What a cross-argument check raises: (argument, what is wrong); argument "" for several at once.
ArgumentCheck = Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]]


class TaskArguments:
    """Validates what a task is called with. The first parameter (the context) is not an argument."""

    def __init__(self, function: Callable[..., Any], check: ArgumentCheck | None = None) -> None:
        self.task = function.__name__
        self._check = check
        hints = get_type_hints(function, include_extras=True)
        self._parameters = list(inspect.signature(function).parameters.values())[1:]
        fields: dict[str, Any] = {
            parameter.name: (
                hints[parameter.name],
                PydanticUndefined if parameter.default is parameter.empty else parameter.default,
            )
            for parameter in self._parameters
        }
        self.names = list(fields)
        self.model: type[BaseModel] = create_model(
            self.task, __config__=ConfigDict(extra="forbid", hide_input_in_errors=True), **fields
        )

    def validated(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, in the types that the task declares. Raises WrongArguments, naming each."""
        return self._typed(self._validate(args, kwargs))

    def payload(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name as plain JSON values, defaults left out. Raises WrongArguments, naming each."""
        model = self._validate(args, kwargs)
        try:
            return model.model_dump(mode="json", exclude_unset=True)
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise WrongArguments(self.task, [("", f"JSON can't hold them: {type(error).__name__}")]) from error

    def _validate(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BaseModel:
        if len(args) > len(self._parameters):
            fault = f"takes {len(self._parameters)} arguments, {len(args)} were given by position"
            raise WrongArguments(self.task, [("", fault)])
        named = {parameter.name: value for parameter, value in zip(self._parameters, args, strict=False)}
        twice = named.keys() & kwargs.keys()
        if twice:
            raise WrongArguments(self.task, [(name, "is given twice") for name in sorted(twice)])
        try:
            model = self.model.model_validate({**named, **kwargs})
        except ValidationError as error:
            raise WrongArguments(self.task, [_fault(details) for details in error.errors()]) from None
        if self._check and (faults := self._check(self._typed(model))):
            raise WrongArguments(self.task, faults)
        return model

    def _typed(self, model: BaseModel) -> dict[str, Any]:
        return {parameter.name: getattr(model, parameter.name) for parameter in self._parameters}

    def json_schema(self) -> dict[str, Any]:
        """JSON schema of the arguments, for forms and documents."""
        return self.model.model_json_schema()


def _fault(details: ErrorDetails) -> tuple[str, str]:
    argument = ".".join(str(part) for part in details["loc"])
    sentence = {"missing": "is missing", "extra_forbidden": "is no argument of this task"}.get(details["type"])
    return argument, sentence or details["msg"].removeprefix("Value error, ")
