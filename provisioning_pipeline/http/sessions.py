"""From a Clerk session to its workspace: for gateways, for front ends, and into Twenty."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.gateway.middleware import linked
from provisioning_pipeline.gateway.problems import NO_STORE
from provisioning_pipeline.gateway.resolver import Resolver
from provisioning_pipeline.http.access import LimitOfAll
from provisioning_pipeline.http.documents import SessionDocument, TwentySignIn, in_header, session_document
from provisioning_pipeline.http.problems import refused, responses
from provisioning_pipeline.http.sign_in import SignIns
from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.history import Actor, Drift, DriftCause, Source
from provisioning_pipeline.model.session import CannotTell, Refused, WorkspaceContext

_HEADERS: Mapping[str, str] = {
    "X-Tenant": "The tenant's slug; its database name where another tenant has that slug, too. Spaces, per cent "
    "signs and what is no printable ASCII are percent-encoded.",
    "X-Twenty-Workspace-Id": "The workspace's id.",
    "X-Twenty-User-Id": "The member's Twenty user id.",
    "X-Twenty-Role": "Label of the role in Twenty that the role at Clerk stands for; encoded likewise.",
}
_VERIFY = "/v1/auth/verify"
_REFUSALS = responses(401, 403, 503)
_SECURITY: dict[str, Any] = {"security": [{"clerkSession": []}, {"clerkCookie": []}]}
Tenant = Annotated[
    str | None,
    Query(description="Slug or database name of the tenant that it has to be; another one's session: 403."),
]


class ForwardAuthentication:
    """ASGI middleware that answers `GET /v1/auth/verify` before the router.

    Every request through a gateway comes here, and FastAPI's own handling takes longer than all that is done.
    """

    path = _VERIFY
    """As a route has it, for the log and the metrics."""

    def __init__(self, app: ASGIApp, resolver: Resolver) -> None:
        self._app = app
        self._resolver = resolver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != _VERIFY or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        scope["route"] = self
        request = Request(scope, receive)
        try:
            response = await _verified(request, self._resolver)
        except (Refused, CannotTell) as why:
            response = await refused(request, why)
        await response(scope, receive, send)


async def _verified(request: Request, resolver: Resolver) -> Response:
    context = linked(await resolver.resolve(request.scope["headers"], request.query_params.get("tenant")))
    headers = {
        "X-Tenant": in_header(context.tenant),
        "X-Twenty-Workspace-Id": context.workspace_id,
        "X-Twenty-User-Id": context.twenty_user_id or "",
        "X-Twenty-Role": in_header(context.role),
        **NO_STORE,
    }
    return Response(None, HTTPStatus.OK, headers)


def session_router(resolver: Resolver, sign_ins: SignIns, per_member: LimitOfAll) -> APIRouter:
    """The routes for who holds a Clerk session, and sends it with a program."""
    router = APIRouter(tags=["sessions"])

    @router.get(
        _VERIFY,
        response_class=Response,
        responses={
            **_REFUSALS,
            200: {
                "description": "The session leads to a workspace.",
                "headers": {
                    name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()
                },
            },
        },
        openapi_extra=_SECURITY,
    )
    async def verify(request: Request, tenant: Tenant = None) -> Response:  # noqa: ARG001  # for OpenAPI
        """Forward authentication, for nginx's `auth_request`, Traefik and Caddy: headers, or 401 or 403."""
        return await _verified(request, resolver)

    @router.get("/v1/session", response_model=SessionDocument, responses=_REFUSALS, openapi_extra=_SECURITY)
    async def session(request: Request, tenant: Tenant = None) -> Response:
        """The workspace that this session leads to, and who its holder is there."""
        context = await resolver.resolve(request.scope["headers"], tenant)
        request.state.tenant = context.tenant
        return JSONResponse(session_document(context).model_dump(mode="json"), headers=NO_STORE)

    @router.post(
        "/v1/session/twenty",
        response_model=TwentySignIn,
        responses={**_REFUSALS, **responses(429)},
        openapi_extra=_SECURITY,
    )
    async def sign_in(request: Request) -> Response:
        """Sign this member in to Twenty: send the browser to `verify_url`. A member that no run has added yet
        is added to the workspace on the spot."""
        session = await resolver.session(request.scope["headers"])
        await per_member.take(f"{session.issuer} {session.user_id}")
        context, made = await sign_ins.sign_in(session)
        request.state.tenant = context.tenant
        document = TwentySignIn(
            workspace_id=context.workspace_id,
            twenty_user_id=context.twenty_user_id,
            login_token=made.login_token,
            verify_url=made.verify_url,
            expires_at=made.expires_at,
        )
        return JSONResponse(document.model_dump(mode="json"), headers=NO_STORE)

    return router


async def report_token_mismatch(ledger: LedgerAccess, context: WorkspaceContext) -> bool:
    """Record in the tenant's timeline, as drift and once an hour, that a token names another workspace than the ledger.

    A run then compares what Clerk carries for the tenant. The claim itself is not repeated: anything may stand there.

    Returns:
        Whether it was recorded.
    """
    drift = Drift(
        context.database_name,
        DriftCause.CLERK,
        Source.SESSION,
        Actor.CLERK,
        f"a session of {context.session.user_id} claims another twenty_workspace_id than {context.workspace_id}; it "
        "was refused. Compare the claim in Clerk's session settings and the organization's public metadata.",
    )

    async def record(database: Database) -> None:
        await History(database).add_drift(drift, "session")

    try:
        await ledger.ask(record)
    except LedgerAway:
        # it was refused and logged; the next such token is reported again
        return False
    return True
