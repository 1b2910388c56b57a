"""The routes of the stand-in Clerk: Backend API, JWKS, and the sandbox's own controls."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from provisioning_pipeline.sandbox.clerk import organizations, users
from provisioning_pipeline.sandbox.clerk.errors import ClerkRefusalError, invalid_parameter, not_found
from provisioning_pipeline.sandbox.clerk.gate import Call, Gate, Handler, refused
from provisioning_pipeline.sandbox.clerk.state import ClerkState
from provisioning_pipeline.sandbox.clerk.tokens import REMOVED
from provisioning_pipeline.sandbox.clerk.webhooks import Webhooks
from provisioning_pipeline.sandbox.faults import ScriptedFault

RATES = ("latency_seconds", "error_rate", "drop_rate")
A_YEAR = 366 * 24 * 3600
ROUTES: dict[str, Handler] = {
    "GET /organizations": organizations.list_organizations,
    "POST /organizations": organizations.create_organization,
    "GET /organizations/{organization_id}": organizations.get_organization,
    "DELETE /organizations/{organization_id}": organizations.delete_organization,
    "PATCH /organizations/{organization_id}/metadata": organizations.patch_organization_metadata,
    "GET /organizations/{organization_id}/memberships": organizations.list_memberships,
    "POST /organizations/{organization_id}/memberships": organizations.create_membership,
    "PATCH /organizations/{organization_id}/memberships/{user_id}": organizations.patch_membership,
    "DELETE /organizations/{organization_id}/memberships/{user_id}": organizations.delete_membership,
    "GET /organization_memberships": organizations.list_all_memberships,
    "GET /users": users.list_users,
    "POST /users": users.create_user,
    "GET /users/count": users.count_users,
    "GET /users/{user_id}": users.get_user,
    "PATCH /users/{user_id}": users.patch_user,
    "DELETE /users/{user_id}": users.delete_user,
    "PATCH /users/{user_id}/metadata": organizations.patch_user_metadata,
    "GET /users/{user_id}/organization_memberships": organizations.list_memberships_of_user,
    "POST /users/{user_id}/ban": users.ban_user,
    "POST /users/{user_id}/unban": users.unban_user,
}


class Signer(Protocol):
    """Signs a session token; without an organization, one of a user who has none chosen."""

    def __call__(
        self, user_id: str, organization_id: str | None, *, version: Literal[1, 2], seconds: int, claims: dict[str, Any]
    ) -> str: ...


class WantedToken(BaseModel):
    """What `POST /sandbox/session-token` asks for. A claim replaces the usual one; null takes it away.

    The user is named by `user_id` or `email`, an organization by its id, its slug or not at all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    user_id: str | None = None
    email: str | None = None
    organization_id: str | None = None
    organization_slug: str | None = None
    seconds: int = Field(default=60, ge=-A_YEAR, le=A_YEAR)
    version: Literal[1, 2] = 2
    claims: dict[str, Any] = {}


def build_app(gate: Gate, jwks: Callable[[], dict[str, Any]], webhooks: Webhooks, sign: Signer) -> Starlette:
    """The application behind one stand-in."""

    def instance(call: Call) -> dict[str, Any]:
        return {
            "object": "instance",
            "id": call.state.instance_id,
            "environment_type": gate.options.environment_type,
            "allowed_origins": None,
            "workspace_id": None,
        }

    def keys(_: Call) -> dict[str, Any]:
        return jwks()

    backend = {"GET /instance": instance, "GET /jwks": keys, **ROUTES}
    routes = [_route(gate, "/v1", operation, handler) for operation, handler in backend.items()]
    routes.append(_route(gate, "", "GET /.well-known/jwks.json", keys, public=True))
    routes += [*_controls(gate, webhooks), _session_token(gate.state, sign)]
    return Starlette(routes=routes, exception_handlers={404: _no_route, 405: _no_route})


def _route(gate: Gate, prefix: str, operation: str, handler: Handler, *, public: bool = False) -> Route:
    method, path = operation.split(" ")
    return Route(prefix + path, gate.endpoint(operation, handler, public=public), methods=[method])


async def _no_route(_: Request, __: Exception) -> JSONResponse:
    return refused(ClerkRefusalError(404, "resource_not_found", "not found", "The path was not found."))


def _controls(gate: Gate, webhooks: Webhooks) -> list[Route]:
    """For other processes: look at the stand-in, disturb it, start counting anew."""

    async def show_state(_: Request) -> JSONResponse:
        with gate.state.lock:
            return JSONResponse(
                {
                    "stand_in": "clerk",
                    "instance_id": gate.state.instance_id,
                    "organizations": len(gate.state.organizations),
                    "users": len(gate.state.users),
                    "memberships": len(gate.state.memberships),
                    "calls": dict(gate.calls),
                    "mutating_calls": gate.mutating_calls,
                    "faults": dict(gate.faults.injected),
                    "webhook": {"url": webhooks.url, "delivered": webhooks.delivered, "failed": webhooks.failed},
                }
            )

    async def set_faults(request: Request) -> JSONResponse:
        wanted = await request.json()
        try:
            rates = {name: float(wanted[name]) for name in RATES if name in wanted}
            scripted = [ScriptedFault(**fault) for fault in wanted.get("scripted", [])]
        except (AttributeError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"not a description of faults: {error}"}, status_code=422)
        for name, value in rates.items():
            setattr(gate.faults, name, value)
        if "scripted" in wanted:
            gate.faults.scripted = scripted
        return await show_state(request)

    async def reset(request: Request) -> JSONResponse:
        gate.reset_counters()
        webhooks.counts.clear()
        return await show_state(request)

    async def set_webhook(request: Request) -> JSONResponse:
        wanted = await request.json()
        try:
            webhooks.set_endpoint(str(wanted["url"]), str(wanted["secret"]))
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"not a webhook: {error}"}, status_code=422)
        return await show_state(request)

    return [
        Route("/sandbox/state", show_state, methods=["GET"]),
        Route("/sandbox/faults", set_faults, methods=["POST"]),
        Route("/sandbox/reset", reset, methods=["POST"]),
        Route("/sandbox/webhook", set_webhook, methods=["POST"]),
    ]


def _session_token(state: ClerkState, sign: Signer) -> Route:
    """For calls as a user who is signed in: no browser is needed."""

    async def session_token(request: Request) -> JSONResponse:
        try:
            wanted = WantedToken.model_validate_json(await request.body())
            with state.lock:
                user_id, organization_id = _wanted_user(state, wanted), _wanted_organization(state, wanted)
                claims = {name: REMOVED if value is None else value for name, value in wanted.claims.items()}
                token = sign(user_id, organization_id, version=wanted.version, seconds=wanted.seconds, claims=claims)
        except ClerkRefusalError as refusal:
            return JSONResponse({"error": refusal.error["long_message"]}, status_code=refusal.status)
        except ValidationError as fault:
            return JSONResponse({"error": _in_words(fault)}, status_code=422)
        except TypeError as fault:
            return JSONResponse({"error": f"not a claim: {fault}"}, status_code=422)
        answer = {"token": token, "user_id": user_id, "organization_id": organization_id}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    return Route("/sandbox/session-token", session_token, methods=["POST"])


def _wanted_user(state: ClerkState, wanted: WantedToken) -> str:
    if (wanted.user_id is None) == (wanted.email is None):
        raise invalid_parameter("user_id", "Give either user_id or email.")
    if wanted.user_id is not None:
        return state.user(wanted.user_id).id
    user = state.user_by_email(str(wanted.email))
    if user is None:
        raise not_found("user", str(wanted.email))
    return user.id


def _wanted_organization(state: ClerkState, wanted: WantedToken) -> str | None:
    if wanted.organization_id is not None and wanted.organization_slug is not None:
        raise invalid_parameter("organization_id", "Give organization_id or organization_slug, not both.")
    named = wanted.organization_slug if wanted.organization_id is None else wanted.organization_id
    return None if named is None else state.organization(named).id


def _in_words(fault: ValidationError) -> str:
    first = fault.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else str(first["msg"])
