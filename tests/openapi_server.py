"""A server made from a provider's own OpenAPI document: checks what it is sent, and answers with the examples in it."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.unit.openapi_nulls import with_nulls

FORM = "application/x-www-form-urlencoded"


@dataclass
class Mock:
    """`faults` are what was wrong with each request, by the document: empty for one that is as it should be."""

    document: Mapping[str, Any]
    url: str = ""
    faults: list[list[str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        operation, path = self._operation(request)
        if operation is None:
            self.faults.append([f"there is no {request.method} {request.path}"])
            return web.Response(status=404)
        if unknown := self._unknown_caller(operation, request):
            self.faults.append([unknown])
            return web.Response(status=401)
        faults = [*self._wrong_parameters(operation, request, path), *await self._wrong_body(operation, request)]
        self.faults.append(faults)
        if faults:
            return web.json_response({"faults": faults}, status=422)
        status, response = min(operation["responses"].items())
        examples = response.get("content", {}).get("application/json", {}).get("examples", {})
        if not examples:
            return web.Response(status=int(status))
        return web.json_response(next(iter(examples.values()))["value"], status=int(status))

    def _operation(self, request: web.Request) -> tuple[Any, Mapping[str, str]]:
        for template, item in self.document["paths"].items():
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
            match = re.fullmatch(pattern, request.path)
            if match and request.method.lower() in item:
                return item[request.method.lower()], match.groupdict()
        return None, {}

    def _unknown_caller(self, operation: Any, request: web.Request) -> str | None:
        schemes = self.document["components"]["securitySchemes"]
        for alternative in operation.get("security", self.document.get("security", [])):
            for name in alternative:
                scheme = schemes[name]
                wanted = "Basic " if scheme["type"] == "http" else ""
                given = request.headers.get(scheme.get("name", "Authorization"), "")
                if given.startswith(wanted) and given != wanted:
                    return None
        return "nobody says who asks"

    def _wrong_parameters(self, operation: Any, request: web.Request, path: Mapping[str, str]) -> Iterator[str]:
        given = {"path": path, "query": dict(request.query)}
        known: dict[str, set[str]] = {"path": set(), "query": set()}
        for parameter in operation.get("parameters", []):
            name, place, schema = parameter["name"], parameter["in"], parameter["schema"]
            known[place].add(name)
            value: Any = given[place].get(name)
            if value is None:
                if parameter.get("required"):
                    yield f"{name} is missing"
                continue
            if schema["type"] == "integer" and value.isdecimal():
                value = int(value)
            yield from (f"{name}: {fault}" for fault in self._faults(schema, value))
        yield from (f"{name} is not known" for name in given["query"].keys() - known["query"])

    async def _wrong_body(self, operation: Any, request: web.Request) -> list[str]:
        contents = operation.get("requestBody", {}).get("content", {})
        if not contents:
            return ["there is a body"] if await request.read() else []
        if request.content_type not in contents:
            return [f"{request.content_type} is none of {', '.join(contents)}"]
        body = await request.read()
        value = (
            dict(parse_qsl(body.decode(), strict_parsing=True)) if request.content_type == FORM else json.loads(body)
        )
        schema = contents[request.content_type]["schema"]
        extra = sorted(value.keys() - schema.get("properties", value).keys())
        return self._faults(schema, value) + [f"{name} is not known" for name in extra]

    def _faults(self, schema: Any, value: object) -> list[str]:
        # References in the schema are to the whole document.
        whole = {**self.document, "checked": schema}
        registry: Any = Registry().with_resource("urn:api", DRAFT202012.create_resource(whole))
        validator = Draft202012Validator({"$ref": "urn:api#/checked"}, registry=registry)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


@asynccontextmanager
async def mocking(document: Mapping[str, Any]) -> AsyncIterator[Mock]:
    """A server on this machine that is what the document describes."""
    mock = Mock(with_nulls(document))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", mock.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        mock.url = f"http://{host}:{port}"
        yield mock
    finally:
        await runner.cleanup()
