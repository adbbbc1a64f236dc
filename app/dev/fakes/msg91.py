"""MSG91's `POST /api/v5/flow`."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.dev.fakes.inbox import Message, Provider
from app.dev.fakes.provider import Clock, Reply, media_type, telling_headers

AUTH_KEY = "authkey-of-the-fake"
_FLOWS: Mapping[str, frozenset[str]] = {
    "flow-order-confirmation": frozenset({"order_number", "order_total"}),
    "flow-order-shipped": frozenset({"order_number", "tracking_info", "expected_delivery"}),
    "flow-payment-failed": frozenset({"order_number", "retry_payment_url"}),
    "flow-subscription-renewal": frozenset({"product_name", "amount"}),
    "flow-delivery-skipped": frozenset({"product_name", "delivery_dates", "reason", "subscription_url"}),
    "flow-subscription-paused": frozenset({"product_name", "refusals", "subscription_url"}),
}
# Template ids with the variables of the flows behind them: our own names, so that settings need only the id. Those in
# Hindi have the same.
TEMPLATES: Mapping[str, frozenset[str]] = {**_FLOWS, **{f"{flow}-hi": names for flow, names in _FLOWS.items()}}
# By code. The flow API tells most of these with status 200.
REFUSALS: Mapping[int, str] = {
    202: "Invalid mobile number {}",
    207: "Invalid authentication key",
    301: "Insufficient balance to send SMS",
    310: "SMS is too long",
    418: "IP is not whitelisted",
}

_REPEATED_WITHIN: Final = timedelta(seconds=10)


class _Recipient(BaseModel):
    """Whatever stands beside the number is a variable, by its name."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, str]

    mobiles: str

    def variables(self) -> dict[str, str]:
        return dict(self.__pydantic_extra__)


class _Flow(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    template_id: str
    short_url: Annotated[str, Field(pattern="^[01]$")] = "0"
    recipients: list[_Recipient] = Field(min_length=1)
    sender: str | None = None


@dataclass
class FakeMsg91:
    clock: Clock
    auth_key: str = AUTH_KEY
    templates: Mapping[str, frozenset[str]] = field(default_factory=lambda: TEMPLATES)
    _seen: dict[str, datetime] = field(default_factory=dict)

    async def reply(self, request: Request) -> Reply:
        if request.headers.get("authkey") != self.auth_key:
            answer = {"status": "fail", "hasError": True, "errors": "Unauthorized", "code": "401", "apiError": "201"}
            return Reply(JSONResponse(answer, 401))
        if request.scope["path"].rstrip("/") != "/api/v5/flow" or request.method != "POST":
            return Reply(_error("no such API", status=404))
        body = await request.body()
        if media_type(request) != "application/json":
            return Reply(_error("the body must be JSON", status=400))
        try:
            flow = _Flow.model_validate_json(body)
        except ValidationError as invalid:
            return Reply(_error(f"{'.'.join(map(str, invalid.errors()[0]['loc']))} is missing or wrong"))
        if problem := self._problem(flow):
            return Reply(problem)
        now, repeated = self.clock(), body.decode()
        if now - self._seen.get(repeated, datetime.min.replace(tzinfo=now.tzinfo)) < _REPEATED_WITHIN:
            return Reply(_error("the same request was made within 10 seconds", code="311"))
        self._seen[repeated] = now
        request_id = secrets.token_hex(12)
        messages = tuple(
            Message(
                id=request_id,
                provider=Provider.MSG91,
                sender=flow.sender or "the flow's",
                to=(f"+{recipient.mobiles}",),
                text=None,
                details={"template_id": flow.template_id, **recipient.variables()},
                headers=telling_headers(request),
                received_at=now,
            )
            for recipient in flow.recipients
        )
        return Reply(JSONResponse({"type": "success", "message": request_id}), messages)

    def forget(self) -> None:
        """As if ten seconds had gone by: nothing is a repetition."""
        self._seen.clear()

    def failure(self, status: int) -> Response:
        return _error("Too many requests" if status == 429 else "Internal error", status=status)

    def refusal(self, code: str, recipient: str) -> Response:
        return _error(REFUSALS[int(code)].format(recipient), code=code)

    def _problem(self, flow: _Flow) -> Response | None:
        variables = self.templates.get(flow.template_id)
        if variables is None:
            return _error("template id is invalid")
        for recipient in flow.recipients:
            if not re.fullmatch(r"91[6-9]\d{9}", recipient.mobiles):
                return _error(f"Invalid mobile number {recipient.mobiles}", code="202")
            # The real one sends the text with a gap in it, which the operators then drop.
            if recipient.variables().keys() != variables:
                return _error(f"the variables are {', '.join(sorted(variables))}")
        return None


def _error(message: str, *, code: str | None = None, status: int = 200) -> Response:
    return JSONResponse({"type": "error", "message": message} | ({"code": code} if code else {}), status)
