"""The admin API as an app of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from admin_api.dependencies import services
from admin_api.routes import router
from app.logs import configure_logging
from app.settings import Settings, settings_or_exit


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app with these settings, by default the process's own: then it sets up the process's log, too.

    `/` leads to the page of the API.
    """
    chosen = settings or settings_or_exit(Settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if settings is None:
            configure_logging(chosen)
        async with services(app, chosen):
            yield

    # Its page comes from here and not from a CDN: operators' networks may have none.
    app = FastAPIOffline(
        title="IndoStar background system", version=version("indostar-background"), redoc_url=None, lifespan=lifespan
    )
    app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app
