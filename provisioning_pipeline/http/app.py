"""The HTTP application: assembled here, and nothing else."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from provisioning_pipeline.clients import tracing
from provisioning_pipeline.clients.dagster import DagsterClient
from provisioning_pipeline.gateway.resolver import Resolver
from provisioning_pipeline.http import openapi, problems
from provisioning_pipeline.http.access import LimitOfAll, reader
from provisioning_pipeline.http.health import health_router
from provisioning_pipeline.http.keys import KeyGuard, either
from provisioning_pipeline.http.many_requests import ManyRequests, many_router
from provisioning_pipeline.http.metrics import FleetFigures, metrics_router
from provisioning_pipeline.http.metrics import Requests as RequestFigures
from provisioning_pipeline.http.middleware import BodyLimit, EncodedNames, RequestLog
from provisioning_pipeline.http.refusals import RefusalLog
from provisioning_pipeline.http.reports import report_router
from provisioning_pipeline.http.sessions import ForwardAuthentication, report_token_mismatch, session_router
from provisioning_pipeline.http.sign_in import SignIns
from provisioning_pipeline.http.tenant_requests import Requests
from provisioning_pipeline.http.tenants import tenant_router
from provisioning_pipeline.http.traced import Traced
from provisioning_pipeline.http.twenty_link import link_router
from provisioning_pipeline.http.webhooks import webhook_router
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.pending import PendingReviews
from provisioning_pipeline.ledger.revisions import OtherLedger
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_TRY_LEDGER_EVERY_SECONDS = 2.0


def create_app(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> FastAPI:
    """The application for these settings. It starts without its ledger, and answers once that is there.

    Args:
        settings: all of them.
        stopping: whether the server is about to end: no request waits then.
    """
    ledger = LedgerAccess(settings.registry_url.get_secret_value())
    resolver = Resolver(
        settings.sessions, ledger, on_token_mismatch=lambda context: report_token_mismatch(ledger, context)
    )
    location = settings.dagster_location
    dagster = DagsterClient(settings.graphql_url, location=location) if settings.graphql_url else None
    figures = CollectorRegistry()
    guard = KeyGuard(settings, ledger)
    refusals = RefusalLog(ledger)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(ledger)
            stack.push_async_callback(refusals.close)
            await stack.enter_async_context(resolver)
            if dagster:
                await stack.enter_async_context(dagster)
            making = asyncio.create_task(_make_ledger(settings, ledger))
            stack.callback(making.cancel)
            # the first request then finds a ledger and a connection that is open, if there is one to be had at all
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(making), _TRY_LEDGER_EVERY_SECONDS)
            yield

    app = FastAPI(
        title=openapi.TITLE,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # a redirect would send who asks, with key and body, to http:// and to whatever Host was named
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        # FastAPI's own spans and logs hold paths, queries and the texts of errors; ours are in Traced
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    problems.install(app, refusals.note)
    openapi.install(app, version("provisioning-pipeline"))
    # what is asked for most stands first: routes are tried in turn
    sign_ins = SignIns(settings, resolver)
    per_member = LimitOfAll(ledger, settings.sign_ins_per_minute, "sign-ins of this member")
    app.include_router(session_router(resolver, sign_ins, per_member))
    app.include_router(link_router(settings, resolver, sign_ins, per_member))
    app.include_router(tenant_router(settings, Requests(settings, ledger, dagster, stopping), guard))
    app.include_router(many_router(ManyRequests(settings, ledger, dagster), guard))
    app.include_router(webhook_router(settings, ledger))
    app.include_router(report_router(settings, ledger, guard))
    app.include_router(health_router(ledger, resolver, stopping))
    fleet = FleetFigures(figures, settings, ledger, resolver.member_checks)
    app.include_router(metrics_router(figures, fleet, guard=either(guard, reader(settings), with_all=True)))
    app.add_middleware(ForwardAuthentication, resolver=resolver)
    app.add_middleware(EncodedNames)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestLog, count=RequestFigures(figures).count)
    if tracing.is_on():
        app.add_middleware(Traced)
    return app


async def _make_ledger(settings: Settings, ledger: LedgerAccess) -> None:
    """Make or update the ledger's tables, as soon as its database is there. A run does the same."""
    while True:
        try:
            await asyncio.to_thread(schema.migrate, settings.registry_url.get_secret_value())
            await ledger.ask(lambda database: PendingReviews(database).now())
        except (Fault, LedgerAway) as error:
            _LOG.warning("The ledger cannot be made or updated yet: %s", error)
            await asyncio.sleep(_TRY_LEDGER_EVERY_SECONDS)
        except OtherLedger as error:
            # known before the server was started, unless the ledger was away then: no wait helps
            _LOG.error("%s", error)
            return
        else:
            return
