"""Tenants, for services: ask for one, see how far it is."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from provisioning_pipeline.gateway.problems import NO_STORE
from provisioning_pipeline.http.documents import Name, PutTenant, Tenant, Tenants, tenant_document
from provisioning_pipeline.http.keys import KeyGuard
from provisioning_pipeline.http.problems import Problem, away, responses, several_tenants
from provisioning_pipeline.http.tenant_requests import (
    OutOfReach,
    Requests,
    TenantState,
    UnknownTenant,
    place_of,
    tenant_page,
)
from provisioning_pipeline.model.api_key import ApiKey, KeyRefusal, Reach, Scope
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.names import is_slug
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.views.tenant_timeline import SeveralTenants

T = TypeVar("T")
_ASK_AGAIN_SECONDS = "2"
_LONGEST_WAIT = 60
_NO_TENANT = (
    "There is no such tenant: GET /v1/tenants lists them. A new one is registered by PUT with its `database_name`."
)
_READS: dict[str, Any] = {"security": [{"apiKey": [Scope.READ]}]}
_WRITES: dict[str, Any] = {"security": [{"apiKey": [Scope.WRITE]}]}
_COMMON = responses(401, 403, 422, 429, 503)
_ONE = {**_COMMON, **responses(404, 409)}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": Tenant,
        "description": "A run is, or will be, at it; or it is not ready, and its conditions say why.",
        "headers": {
            "Location": {"description": "Where to ask how far it is.", "schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds until asking is worth while.", "schema": {"type": "integer"}},
        },
    }
}
Wait = Annotated[float, Query(ge=0, le=_LONGEST_WAIT, description="Seconds to wait until it is ready.", examples=[30])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Your own name for this request: sent again under it, it has no second effect. The answer is the "
        "tenant as it stands by then. Kept for 90 days (PROVISIONING_KEEP_OUTCOMES_DAYS).",
        examples=["5f0c6f7a-3c1e-4a55-9d0f-1f0a8a4e2d11"],
    ),
]


def tenant_router(settings: Settings, requests: Requests, guard: KeyGuard) -> APIRouter:
    """The routes that want an API key."""
    router = APIRouter(tags=["tenants"])
    reading = Annotated[ApiKey, Depends(guard.may(Scope.READ))]
    writing = Annotated[ApiKey, Depends(guard.may(Scope.WRITE))]

    @router.put(
        "/v1/tenants/{slug}",
        response_model=Tenant,
        responses={
            **_ONE,
            **_ACCEPTED,
            **responses(400, 413),
        },
        openapi_extra=_WRITES,
    )
    async def put_tenant(
        request: Request,
        slug: Name,
        key: writing,
        body: Annotated[PutTenant | None, Body()] = None,
        wait: Wait = 0,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Register or update a tenant, and have it made ready. Asking again is safe; for a tenant that is ready it
        starts nothing. What the body leaves out stays as it is; a new tenant needs its `database_name`."""
        request.state.tenant = slug
        caller = _caller(key, idempotency_key, "PUT", slug, body)
        registration = await _registration(requests, settings, slug, body or PutTenant(), key.reach)
        if not key.reach.covers(registration.slug):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"The API key is for {key.reach}, and registers no other.",
                why=KeyRefusal.OUT_OF_REACH,
            )
        state = await _as_problems(lambda: requests.put(registration, caller, wait=wait), key.reach)
        return _answer(state, request, settings)

    @router.post(
        "/v1/tenants/{slug}/reconcile",
        response_model=Tenant,
        responses={**_ONE, **_ACCEPTED},
        openapi_extra=_WRITES,
    )
    async def reconcile_tenant(
        request: Request, slug: Name, key: writing, wait: Wait = 0, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Have a tenant looked at, ready or not; what differs from what should be is put right."""
        request.state.tenant = slug
        caller = _caller(key, idempotency_key, "POST", slug, None)
        state = await _as_problems(lambda: requests.reconcile(slug, caller, wait=wait), key.reach)
        return _answer(state, request, settings)

    @router.get("/v1/tenants", response_model=Tenants, responses=_COMMON, openapi_extra=_READS)
    async def list_tenants(
        request: Request,
        key: reading,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
        state: Annotated[Literal["ready", "unwell", "aside"] | None, Query(description="Only these.")] = None,
        lifecycle: Annotated[Lifecycle | None, Query(description="Only those in this part of their life.")] = None,
        clerk_org_id: Annotated[
            str | None, Query(pattern=r"^[!-~]{1,200}$", description="Only this organization's.")
        ] = None,
    ) -> Response:
        """Every tenant that the key is for, a page at a time, by database name."""
        try:
            page = await requests.ledger.ask(
                lambda database: tenant_page(
                    database,
                    limit=limit,
                    cursor=cursor,
                    state=state,
                    lifecycle=lifecycle,
                    clerk_org_id=clerk_org_id,
                    reach=key.reach,
                )
            )
        except ValueError:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "`cursor` is the `next` of an earlier answer.") from None
        items = [tenant_document(tenant, _base(request, settings)) for tenant in page.tenants]
        return JSONResponse(Tenants(items=items, next=page.next).model_dump(mode="json"), headers=NO_STORE)

    @router.get("/v1/tenants/{slug}", response_model=Tenant, responses=_ONE, openapi_extra=_READS)
    async def get_tenant(request: Request, slug: Name, key: reading) -> Response:
        """One tenant as it stands."""
        request.state.tenant = slug
        state = await _as_problems(lambda: requests.state(slug, key.reach), key.reach)
        return JSONResponse(tenant_document(state, _base(request, settings)).model_dump(mode="json"), headers=NO_STORE)

    return router


async def _registration(
    requests: Requests, settings: Settings, slug: str, body: PutTenant, reach: Reach
) -> Registration:
    ours = {server.service_email.strip().lower() for server in settings.servers}
    if body.admin_email and body.admin_email.strip().lower() in ours:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "`admin_email` is the address of this program's own account at Twenty. Name a person of the tenant.",
        )
    name = body.database_name
    plain = is_slug(slug)
    if name is None or not plain:
        # by what it has already: a registry may hold slugs that cannot be registered here
        try:
            known, own_slug = await _as_problems(
                lambda: requests.ledger.ask(lambda database: place_of(database, settings, slug, reach)), reach
            )
        except Problem as unknown:
            if name is None or unknown.status != HTTPStatus.NOT_FOUND:
                raise
            known = own_slug = ""
        if name in (None, known):
            return Registration(own_slug, body.name, known, body.clerk_org_id, body.admin_email)
    assert name is not None
    if not plain:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "A new tenant's slug has lower-case letters, digits and hyphens, at most 63. By its database name a tenant "
            "is asked for without `database_name` in the body.",
        )
    if not settings.is_tenant_database(name):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "`database_name` is not a tenant database managed here: see PROVISIONING_TENANT_DATABASE_PATTERN and "
            "PROVISIONING_TENANT_DATABASE_EXCLUDED.",
            why=KeyRefusal.NOT_A_TENANT_DATABASE,
        )
    return Registration(slug, body.name, name, body.clerk_org_id, body.admin_email)


def _caller(key: ApiKey, idempotency_key: str | None, method: str, slug: str, body: PutTenant | None) -> Caller:
    asked = json.dumps([method, slug, body.model_dump() if body else None], sort_keys=True)
    return Caller(key.id, idempotency_key, hashlib.sha256(asked.encode()).hexdigest(), key.reach)


async def _as_problems(work: Callable[[], Awaitable[T]], reach: Reach) -> T:
    try:
        return await work()
    except UnknownTenant as unknown:
        # one answer, whether there is none or the key is not for it
        why = KeyRefusal.OUT_OF_REACH if isinstance(unknown, OutOfReach) else None
        detail = _NO_TENANT if reach.everywhere else f"{_NO_TENANT} The API key sees {reach} alone."
        raise Problem(HTTPStatus.NOT_FOUND, detail, why=why) from None
    except SeveralTenants as several:
        raise several_tenants(several) from None
    except Fault as busy:
        raise away(busy.message) from None
    except Conflict as conflict:
        raise Problem(HTTPStatus.CONFLICT, str(conflict), why=conflict.why) from None


def _answer(state: TenantState, request: Request, settings: Settings) -> Response:
    document = tenant_document(state, _base(request, settings))
    if state.ready:
        return JSONResponse(document.model_dump(mode="json"), headers=NO_STORE)
    headers = {**NO_STORE, "Location": document.status_url, "Retry-After": _ASK_AGAIN_SECONDS}
    return JSONResponse(document.model_dump(mode="json"), HTTPStatus.ACCEPTED, headers)


def _base(request: Request, settings: Settings) -> str:
    """Where this server is reached; by the settings rather than by a header that any caller can write."""
    return settings.api_url or str(request.base_url).rstrip("/")
