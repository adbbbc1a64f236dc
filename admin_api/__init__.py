"""The admin API: `uvicorn admin_api:app`, or `from admin_api import router` for another FastAPI app.

A foreign app enters `admin_api.services(app, settings)` in its lifespan, or overrides the dependencies of
`admin_api.dependencies`: `require_viewer` and `require_operator` say who may call, `get_actor` who is recorded.
"""

from typing import TYPE_CHECKING, Any

from admin_api.dependencies import services
from admin_api.routes import router

if TYPE_CHECKING:
    from fastapi import FastAPI

    app: FastAPI

__all__ = ["app", "router", "services"]


def __getattr__(name: str) -> Any:
    # Made when it is asked for: a foreign app that mounts the router need not have our settings.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from admin_api.application import create_app  # noqa: PLC0415

    globals()["app"] = create_app()
    return globals()["app"]
