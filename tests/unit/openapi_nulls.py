"""OpenAPI 3.0 says "may be null" in a way that JSON Schema does not know."""

from typing import Any


def with_nulls(document: Any) -> Any:
    """The same document, with `nullable: true` written as JSON Schema writes it."""
    if isinstance(document, list):
        return [with_nulls(value) for value in document]
    if not isinstance(document, dict):
        return document
    schema = {name: with_nulls(value) for name, value in document.items()}
    if schema.get("nullable") is True:
        schema["type"] = [schema["type"], "null"]
    return schema
