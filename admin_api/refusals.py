"""What is answered where operators don't get what they asked for."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import HTTPException, status
from redis.exceptions import ResponseError
from sqlalchemy.exc import DBAPIError

from app.db.engine import DatabaseUnavailable, is_passing
from app.history.masking import storable
from app.history.reader import WrongCursor
from app.jobs.failures import UnknownQueue, UnknownTask, WrongArguments
from app.jobs.outage import REDIS_DOWN, is_outage
from app.letters.letter import NotALetter
from app.operations.failures import JobHasEnded, JobIdReserved, JobIdTaken, NoSuchJob
from app.schedules.control import UnknownSchedule


async def answer_refusals() -> AsyncIterator[None]:
    """Says what can't be found or done, and what is away, instead of an internal error."""
    try:
        yield
    except (NoSuchJob, UnknownTask, UnknownQueue, UnknownSchedule) as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, storable(str(error))) from None
    except (JobIdTaken, JobHasEnded, NotALetter) as error:
        raise HTTPException(status.HTTP_409_CONFLICT, storable(str(error))) from None
    except WrongArguments as error:
        faults = [
            _fault("wrong_argument", ["body", "kwargs", *filter(None, argument.split("."))], sentence)
            for argument, sentence in error.faults
        ]
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, faults) from None
    except JobIdReserved as error:
        fault = _fault("reserved", ["body", "job_id"], str(error))
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, [fault]) from None
    except WrongCursor as error:
        fault = _fault("wrong_cursor", ["query", "cursor"], str(error))
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, [fault]) from None
    except DatabaseUnavailable as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "PostgreSQL can't be reached") from error
    except DBAPIError as error:
        if not is_passing(error):
            raise
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "PostgreSQL can't answer now") from error
    except (*REDIS_DOWN, ResponseError) as error:
        if not is_outage(error):
            raise
        detail = f"Redis can't be reached ({type(error).__name__})"
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, detail) from error


def _fault(kind: str, loc: list[str], sentence: str) -> dict[str, Any]:
    return {"type": kind, "loc": [storable(part) for part in loc], "msg": storable(sentence)}
