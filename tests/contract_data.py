"""Requests as the official SDKs send them, and the providers' own descriptions of their interfaces."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry
from referencing.jsonschema import DRAFT202012

CONTRACTS = Path(__file__).parent / "contracts"


def captured(name: str) -> httpx.Request:
    """The request of `contracts/captures/{name}.http`."""
    head, _, body = (CONTRACTS / "captures" / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    return httpx.Request(
        method,
        f"https://provider.example{target}",
        headers=[(name, value) for name, _, value in (header.partition(": ") for header in headers)],
        content=body,
    )


def form(request: httpx.Request) -> dict[str, str]:
    """The fields of a form, of which none comes twice."""
    pairs = parse_qsl(request.content.decode(), keep_blank_values=True, strict_parsing=True)
    fields = dict(pairs)
    assert len(fields) == len(pairs)
    return fields


def address(request: httpx.Request) -> tuple[str, str, str, str]:
    """Where a request goes, as whom and with what kind of content."""
    return (
        request.method,
        request.url.path,
        request.headers["Authorization"],
        request.headers.get("Content-Type", ""),
    )


def specification(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CONTRACTS / "openapi" / name).read_text())
    return document


def faults(document: dict[str, Any], pointer: str, value: object) -> list[str]:
    """What is wrong with `value` by the schema at `pointer` in an OpenAPI document."""
    registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(document))
    validator = Draft202012Validator({"$ref": f"urn:api#{pointer}"}, registry=registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
