"""Log lines: readable in development, JSON in production, one form for our own and for libraries' lines."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

from app.jobs.running import add_current_job
from app.settings import Environment, Settings

# Loggers that arq and uvicorn give handlers of their own; their lines are to look like all others.
_WITH_OWN_HANDLERS = ("arq", "uvicorn", "uvicorn.error", "uvicorn.access")
# They log a line a request or statement where ours already says what it was for.
_TOO_TALKATIVE = ("httpx", "aiohttp", "asyncio")


def configure_logging(settings: Settings) -> None:
    """Sets up structlog and the standard library's logging; may be called again after a library set up its own."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_current_job,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    is_development = settings.environment is Environment.DEVELOPMENT
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if is_development
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer if is_development else _as_json_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        logger_factory=(
            structlog.PrintLoggerFactory(sys.stderr)
            if is_development
            else structlog.BytesLoggerFactory(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in _WITH_OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    # Of the stock worker only the shell is left: what it says of jobs and of Redis is not so. A filter, because arq's
    # command line sets the levels of its loggers after this.
    logging.getLogger("arq.worker").addFilter(_is_serious)
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_serious(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _as_json_bytes(_logger: object, _method: str, event: Mapping[str, Any]) -> bytes:
    """A worker writes thousands of lines a second; orjson writes them in a tenth of the time."""
    return orjson.dumps(event, default=repr)
