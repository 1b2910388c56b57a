"""The HTTP application: assembled here, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from provisioning_pipeline.api import problems
from provisioning_pipeline.api.ledger import LedgerAccess, LedgerAway
from provisioning_pipeline.api.reports import report_router
from provisioning_pipeline.api.webhooks import webhook_router
from provisioning_pipeline.ledger.marks import Marks
from provisioning_pipeline.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings. It starts without its ledger, and takes events once that is there."""
    ledger = LedgerAccess(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with ledger:
            with suppress(LedgerAway):
                # the first event then finds a connection that is open
                await ledger.ask(lambda database: Marks(database).now())
            yield

    app = FastAPI(title="Provisioning", lifespan=lifespan, openapi_url=None)
    problems.install(app)
    app.include_router(webhook_router(settings, ledger))
    app.include_router(report_router(settings, ledger))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The server runs; whether anything behind it does is not asked."""
        return {"status": "ok"}

    return app
