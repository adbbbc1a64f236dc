"""Which errors are the world's and not the program's, and what a person is told of them."""

from dataclasses import dataclass

from alembic.util import CommandError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.cli.group import FAILED, WRONG_CALL
from app.errors import NotDone, OutcomeUnknown, Refused
from app.history.reader import WrongCursor
from app.jobs.failures import UnknownQueue, UnknownTask, WrongArguments
from app.jobs.outage import REDIS_DOWN
from app.operations.failures import JobIdReserved
from app.schedules.control import UnknownSchedule

# What is wrong with the call, whatever the world is like.
OF_THE_CALL = (JobIdReserved, UnknownQueue, UnknownSchedule, UnknownTask, WrongArguments, WrongCursor)
OF_THE_WORLD = (Refused, NotDone, OutcomeUnknown, OSError, RedisError, SQLAlchemyError, CommandError)
# A table, a column, a schema that there is none of. Source: PostgreSQL, appendix A.
NOT_MIGRATED = frozenset({"42P01", "42703", "3F000"})


@dataclass(frozen=True, slots=True)
class Mishap:
    """One line, and the exit code."""

    sentence: str
    exit_code: int


def mishap(error: Exception) -> Mishap | None:
    """What to tell of it; None for a fault of the program."""
    if isinstance(error, OF_THE_CALL):
        return Mishap(str(error), WRONG_CALL)
    if not isinstance(error, OF_THE_WORLD):
        return None
    if isinstance(error, RedisError) and isinstance(error, REDIS_DOWN):
        return Mishap(f"Redis can't be reached: {_line(error)}", FAILED)
    # SQLAlchemy adds lines of its own to what the server said.
    cause = getattr(error, "orig", None) or error
    said = _line(cause)
    if getattr(cause, "sqlstate", None) in NOT_MIGRATED:
        said += "; `indostar migrate` brings the tables up to date"
    return Mishap(said, FAILED)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
