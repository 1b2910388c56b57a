"""Cookie sessions of newer servers: who a cookie stands for, and from where a call with one may come.

Source only (a compiled 2.38 server): the cookie is set by each call that issues tokens, a row keeps it, and a POST that
has the cookie, no bearer token and no allowed `Origin` is refused before GraphQL, public mutations too.
"""

import hashlib
import secrets
from urllib.parse import urlsplit
from uuid import UUID

from ariadne import MutationType
from graphql import GraphQLResolveInfo
from starlette.requests import Request
from starlette.responses import Response

from provisioning_pipeline.sandbox.twenty.callers import member_of, membership, user_by_id, workspace_by_id
from provisioning_pipeline.sandbox.twenty.errors import TwentyError, forbidden, token_refused
from provisioning_pipeline.sandbox.twenty.http import Json
from provisioning_pipeline.sandbox.twenty.runtime import Call, Caller, Runtime, call_of
from provisioning_pipeline.sandbox.twenty.store import Row

mutation = MutationType()

COOKIE = "twenty-session"
"""Its name on a server without TLS; `__Host-twenty-session` with."""

SESSION_DAYS = 180
IMPERSONATION_DAYS = 1
IDLE_DAYS = 30

ISSUING = frozenset(["signIn", "signUp", "getAuthTokensFromLoginToken", "renewToken"])
"""The calls that set the cookie."""


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def begin(call: Call, user_id: UUID, workspace: Row | None = None, session: Row | None = None) -> None:
    """Leave a row for a login, and a cookie for the answer. Nothing on servers that have none."""
    runtime = call.runtime
    if not runtime.options.traits.sessions:
        return
    how = session or {}
    impersonating = bool(how.get("isImpersonating"))
    tie = await membership(runtime.db, user_id, workspace["id"]) if workspace else None
    token = secrets.token_urlsafe(32)
    await runtime.db.run(
        'INSERT INTO core."userSession" ("tokenHash", "userId", "workspaceId", "userWorkspaceId", "authProvider",'
        ' "isImpersonating", "impersonatorUserWorkspaceId", "impersonatedUserWorkspaceId", "userAgent", "expiresAt")'
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now() + make_interval(days => %s))",
        _hash(token),
        user_id,
        workspace["id"] if workspace else None,
        tie["id"] if tie else None,
        how.get("authProvider", "password"),
        impersonating,
        how.get("impersonatorUserWorkspaceId"),
        how.get("impersonatedUserWorkspaceId"),
        call.user_agent,
        IMPERSONATION_DAYS if impersonating else SESSION_DAYS,
    )
    call.cookies.append(token)


def set_cookie(answer: Response, call: Call) -> None:
    """Hand out the cookie of the last login of this request."""
    if call.cookies:
        answer.set_cookie(COOKIE, call.cookies[-1], max_age=SESSION_DAYS * 86400, httponly=True, samesite="lax")


def _is_allowed(runtime: Runtime, origin: str | None) -> bool:
    """Whether an origin is this server's own, or that of one of its workspaces."""
    host = urlsplit(origin or "").hostname or ""
    public = runtime.options.public_host
    return host in (public, "127.0.0.1") or host.endswith(f".{public}")


def refusal(runtime: Runtime, request: Request) -> Response | None:
    """The answer to a call that a cookie would authenticate from elsewhere."""
    if not runtime.options.traits.sessions or COOKIE not in request.cookies or _bears_token(request):
        return None
    if _is_allowed(runtime, request.headers.get("origin")):
        return None
    message = "Request origin is not allowed for cookie-authenticated requests"
    return Json({"statusCode": 403, "messages": [message], "error": "CSRF_ORIGIN_MISMATCH"}, 403)


def _bears_token(request: Request) -> bool:
    return request.headers.get("authorization", "").lower().startswith("bearer ")


def check_origin(runtime: Runtime, request: Request, fields: list[str]) -> None:
    """A cookie is handed out to allowed origins, and on purpose to none at all: scripts send none."""
    origin = request.headers.get("origin")
    if runtime.options.traits.sessions and origin and ISSUING & set(fields) and not _is_allowed(runtime, origin):
        raise forbidden("Request origin is not allowed to receive a session cookie")


async def caller_of_cookie(runtime: Runtime, request: Request) -> Caller:
    """Who a cookie stands for; a bearer token wins over it. A dead one refuses the whole call."""
    token = request.cookies.get(COOKIE)
    if not runtime.options.traits.sessions or token is None or _bears_token(request):
        return Caller()
    row = await runtime.db.one(
        'UPDATE core."userSession" SET "lastActiveAt" = now() WHERE "tokenHash" = %s AND "revokedAt" IS NULL'
        ' AND "expiresAt" > now() AND "lastActiveAt" > now() - make_interval(days => %s) RETURNING *',
        _hash(token),
        IDLE_DAYS,
    )
    user = await user_by_id(runtime.db, row["userId"]) if row else None
    if row is None or user is None:
        raise token_refused("Session is invalid or has expired.")
    if row["workspaceId"] is None:
        return Caller(user=user, token_type="WORKSPACE_AGNOSTIC", provider=row["authProvider"])
    workspace = await workspace_by_id(runtime.db, row["workspaceId"])
    member = await member_of(runtime.db, workspace, user["id"]) if workspace else None
    if workspace is None or row["userWorkspaceId"] is None:
        raise token_refused("Session is invalid or has expired.")
    return Caller(
        user=user,
        workspace=workspace,
        user_workspace_id=row["userWorkspaceId"],
        workspace_member_id=member["id"] if member else None,
        token_type="ACCESS",
        provider=row["authProvider"],
        impersonating=row["isImpersonating"],
    )


@mutation.field("signOut")
async def sign_out(_: None, info: GraphQLResolveInfo, refreshToken: str | None = None) -> bool:
    """Ends the session of the cookie and the refresh token; an access token stays good until it expires."""
    call = call_of(info)
    if call.session_cookie is not None:
        await call.db.run(
            'UPDATE core."userSession" SET "revokedAt" = now(), "revokedReason" = \'SIGN_OUT\' WHERE "tokenHash" = %s',
            _hash(call.session_cookie),
        )
    if refreshToken is not None:
        try:
            claims = call.tokens.read(refreshToken)
        except TwentyError:
            return True
        if claims.get("type") == "REFRESH":
            # past the minute in which a renewed one may be used again
            await call.db.run(
                'UPDATE core."appToken" SET "revokedAt" = now() - interval \'1 hour\' WHERE id = %s',
                UUID(claims["jti"]),
            )
    return True
