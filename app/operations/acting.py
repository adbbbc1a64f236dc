"""Putting every action on record, whatever becomes of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.db.steering import AuditResult
from app.errors import Refused
from app.history.masking import storable, storable_json
from app.jobs.failures import WrongArguments
from app.operations.actor import Actor
from app.steering.audit import AuditRecord, AuditTrail

LONGEST_REASON = 500
# Of what somebody took for a name.
LONGEST_NAME = 200


class Acting:
    """Tells the audit trail of actions, of those that were refused or failed, too."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    @asynccontextmanager
    async def on(
        self, actor: Actor, action: str, object_type: str, object_id: str | None = None, **details: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """The action is what the block does; it may add to the details: JSON, without values of hidden arguments."""
        result: AuditResult = "failed"
        try:
            yield details
            result = "done"
        except Refused as error:
            result = "refused"
            details["reason"] = _reason(error)
            raise
        except BaseException as error:
            details["reason"] = type(error).__name__
            raise
        finally:
            record = AuditRecord(
                actor=actor.name,
                role=actor.role,
                source=actor.source,
                address=actor.address,
                action=action,
                object_type=object_type,
                object_id=None if object_id is None else storable(object_id),
                details=json.loads(storable_json(details)),
                result=result,
            )
            # It was done, even where whoever asked for it is gone.
            await asyncio.shield(self._trail.record(record))


def _reason(error: Refused) -> str:
    reason = str(error)
    if isinstance(error, WrongArguments):
        # What is wrong with an argument may repeat it; and there may be as many as a body holds.
        reason = f"wrong arguments: {', '.join(sorted({argument for argument, _ in error.faults}))}"
    return reason[:LONGEST_REASON]
