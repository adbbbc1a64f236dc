"""Every answer of the admin API is one that its OpenAPI document promises, whatever is sent."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from admin_api.application import create_app
from app.dev.fakes import running_fakes
from app.dev.fakes.razorpay import KEY_ID, KEY_SECRET
from tests.settings import OPERATOR_TOKEN, make_settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 25
RAZORPAY = {"razorpay_key_id": KEY_ID, "razorpay_key_secret": KEY_SECRET}
# That stream never ends.
ENDLESS = "/admin/events"


def operations(schema: schemathesis.BaseSchema) -> Iterator[Any]:
    for result in schema.exclude(path=ENDLESS).get_all_operations():
        assert isinstance(result, Ok)
        yield result.ok()


def try_out(app: Any) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for operation in operations(schema):
        for mode in schemathesis.GenerationMode:

            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(case=operation.as_strategy(mode))
            def answers_as_promised(case: Any) -> None:
                answer = case.call(headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"})
                case.validate_response(answer, checks=CHECKS)

            # Where nothing can be sent, nothing wrong can be.
            with suppress(Unsatisfiable):
                answers_as_promised()


async def test_nothing_that_is_sent_breaks_the_contract(database_url: str, redis_url: str) -> None:
    async with running_fakes() as fakes:
        app = create_app(
            make_settings(database_url=database_url, redis_url=redis_url, razorpay_base_url=fakes.url, **RAZORPAY)
        )
        try:
            await asyncio.to_thread(try_out, app)
        finally:
            await asyncio.to_thread(shutdown_lifespans)
