"""Reports of runs and timelines of tenants, for people who may read them."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from provisioning_pipeline.decide.timeline import Position, position_from
from provisioning_pipeline.http.access import reader
from provisioning_pipeline.http.documents import AnyName, TimelinePage
from provisioning_pipeline.http.keys import KeyGuard, either
from provisioning_pipeline.http.problems import Problem, responses, several_tenants
from provisioning_pipeline.ledger.serving import LedgerAccess
from provisioning_pipeline.model.api_key import EVERY_TENANT, KeyRefusal, Reach, Scope
from provisioning_pipeline.report import page, timeline_page
from provisioning_pipeline.report.timeline_page import Timeline, event_json
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.views import report_files as reports
from provisioning_pipeline.views.tenant_timeline import MOST_EVENTS, SeveralTenants, timeline

_MOST_EVENTS = 1000
_RUN_ID = re.compile(r"[0-9A-Za-z_-]{1,100}")
_PRIVATE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
PAGE_HEADERS = _PRIVATE | {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""Of every page: it is not stored, loads nothing, sends nothing and stands in no other page."""
_PROBLEMS = responses(400, 401, 403, 404, 409, 422, 429, 503)
_HTML: dict[str, Any] = {
    "response_class": HTMLResponse,
    "responses": _PROBLEMS,
    "openapi_extra": {"security": [{"reportPassword": []}]},
}
_PAGING: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
        for name, description, schema in (
            (
                "limit",
                "Events of one page.",
                {"type": "integer", "minimum": 1, "maximum": _MOST_EVENTS, "default": MOST_EVENTS},
            ),
            ("before", "`next` of the page before, or a time such as 2026-08-01T12:00:00Z.", {"type": "string"}),
        )
    ]
}
_NO_RUN = "No run has finished yet. Launch the job reconcile_tenants in Dagster, or run `provisioning apply`."
_NO_REPORT = "There is no report of such a run: no finished run has this id. /reports/latest has the last run's."
_NO_TENANT = "The ledger knows no such tenant. `provisioning status` lists them."


def report_router(settings: Settings, ledger: LedgerAccess, guard: KeyGuard) -> APIRouter:
    """The routes that people read; a tenant's timeline is for services too."""
    router = APIRouter(tags=["reports"])
    read = reader(settings)
    people = [Depends(read)]
    seen_by = Annotated[Reach, Depends(either(guard, read))]
    # one report at a time: to draw one takes a processor, which webhooks need too
    drawer = ThreadPoolExecutor(1, thread_name_prefix="drawing")

    async def drawn(draw: Callable[[], str]) -> Response:
        return HTMLResponse(await asyncio.get_running_loop().run_in_executor(drawer, draw), headers=PAGE_HEADERS)

    @router.get("/reports/latest", dependencies=people, **_HTML)
    async def latest_report() -> Response:
        """The last finished run's report, drawn anew: with the tenants as they are now."""
        summary = await ledger.ask(lambda database: reports.latest(database, settings))
        if summary is None:
            raise _missing(_NO_RUN)
        return await drawn(lambda: page.render(summary))

    @router.get("/reports/{run_id}", dependencies=people, **_HTML)
    async def report_of(run_id: str) -> Response:
        """A run's report as it was written when the run ended; where that file is not here, drawn anew."""
        if not _RUN_ID.fullmatch(run_id):
            raise _missing(_NO_REPORT)
        path = await ledger.ask(lambda database: reports.stored(database, run_id))
        found = await asyncio.to_thread(reports.read, path, run_id, settings.report_path) if path else None
        if found is not None:
            return HTMLResponse(found, headers=PAGE_HEADERS)
        summary = await ledger.ask(lambda database: reports.afterwards(database, settings, run_id))
        if summary is None:
            raise _missing(_NO_REPORT)
        return await drawn(lambda: page.render(summary, afterwards=True))

    @router.get("/tenants/{name}", dependencies=people, **_HTML)
    async def tenant_page(name: AnyName, request: Request) -> Response:
        """A tenant, by slug or database name, and what happened to it: a page."""
        found = await _timeline(ledger, name, request, EVERY_TENANT)
        limit = _limit(request) if "limit" in request.query_params else None
        return await drawn(lambda: timeline_page.render(found, limit=limit))

    @router.get(
        "/v1/tenants/{slug}/timeline",
        response_model=TimelinePage,
        responses=_PROBLEMS,
        openapi_extra={**_PAGING, "security": [{"apiKey": [Scope.READ]}, {"reportPassword": []}]},
        tags=["tenants"],
    )
    async def tenant_timeline(slug: AnyName, request: Request, reach: seen_by) -> Response:
        """The same for a machine; `next` is what to give as `before` for older events."""
        return JSONResponse(_document(await _timeline(ledger, slug, request, reach)), headers=_PRIVATE)

    return router


async def _timeline(ledger: LedgerAccess, name: str, request: Request, reach: Reach) -> Timeline:
    most, begin = _limit(request), _begin(request)
    if "\x00" in name:
        # PostgreSQL holds no such name
        raise _missing(_NO_TENANT)
    try:
        found = await ledger.ask(lambda database: timeline(database, name, most=most, begin=begin))
    except SeveralTenants as several:
        if not reach.covers(name):
            raise _missing(_NO_TENANT, KeyRefusal.OUT_OF_REACH) from None
        raise several_tenants(several) from None
    if found is None:
        raise _missing(_NO_TENANT)
    if not reach.covers(found.tenant.slug):
        # the answer to a name that no tenant has
        raise _missing(_NO_TENANT, KeyRefusal.OUT_OF_REACH)
    return found


def _limit(request: Request) -> int:
    given = request.query_params.get("limit", str(MOST_EVENTS))
    if not re.fullmatch(r"[0-9]{1,4}", given) or not 1 <= int(given) <= _MOST_EVENTS:
        raise Problem(HTTPStatus.BAD_REQUEST, f"`limit` is a number from 1 to {_MOST_EVENTS}.")
    return int(given)


def _begin(request: Request) -> Position | None:
    given = request.query_params.get("before")
    try:
        return position_from(given) if given else None
    except ValueError:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "`before` is the `next` of an earlier answer, or a time such as 2026-08-01T12:00:00Z.",
        ) from None


def _missing(detail: str, why: KeyRefusal | None = None) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, detail, why=why)


def _document(found: Timeline) -> dict[str, Any]:
    tenant = found.tenant
    return {
        "tenant": {
            "slug": tenant.slug,
            "database_name": tenant.database_name,
            "server": tenant.server,
            "workspace_id": tenant.workspace_id,
            "workspace_url": tenant.workspace_url,
            "clerk_org_id": found.organization,
            "state": tenant.state,
        },
        "events": [event_json(event) for event in found.events],
        "next": found.next,
    }
