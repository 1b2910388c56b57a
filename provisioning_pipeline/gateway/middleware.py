"""ASGI middleware for programs of your own: behind it, every request has its workspace."""

from typing import Any, cast

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from provisioning_pipeline.gateway.problems import refusal_response
from provisioning_pipeline.gateway.resolver import Resolver
from provisioning_pipeline.model.session import CannotTell, Refusal, Refused, WorkspaceContext
from provisioning_pipeline.values.sessions import SessionSettings

SCOPE_KEY = "provisioning_pipeline.workspace"
_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013


class ClerkWorkspaceMiddleware:
    """Lets requests through whose Clerk session leads to a workspace; `workspace_of(request)` returns it.

    Others are answered with 401, 403 or 503 as problem details and never reach the application; websockets are closed
    before they open, also those that the page of another origin opens by a cookie. Pure ASGI: it goes around any
    Starlette or FastAPI application.

    Args:
        app: the application behind it.
        settings: None: read from the environment (`PROVISIONING_REGISTRY_URL`, `PROVISIONING_CLERK_SECRET_KEY`,
            `PROVISIONING_CLERK_ISSUERS`, …; see docs/configuration.md).
        public_paths: paths that need no session, such as `/healthz`; exactly these.

    Raises:
        SettingsError: when a setting is missing or malformed.
    """

    def __init__(
        self, app: ASGIApp, settings: SessionSettings | None = None, *, public_paths: tuple[str, ...] = ()
    ) -> None:
        self._app = app
        self._public = frozenset(public_paths)
        self._resolver = Resolver(settings or SessionSettings.from_environment())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing_with(send))
            return
        if scope["path"] in self._public:
            await self._app(scope, receive, send)
            return
        try:
            websocket = scope["type"] == "websocket"
            context = linked(await self._resolver.resolve(scope["headers"], websocket=websocket))
        except (Refused, CannotTell) as refused:
            await _refuse(refused, scope, receive, send)
            return
        await self._app({**scope, SCOPE_KEY: context}, receive, send)

    def _closing_with(self, send: Send) -> Send:
        """Close our connections before the server hears that the application has ended: after that it waits no more.

        Many applications have no lifespan; the connections are opened at the first request in any case.
        """

        async def send_and_close(message: Message) -> None:
            if message["type"] in _ENDS:
                await self._resolver.__aexit__(None, None, None)
            await send(message)

        return send_and_close


_ENDS = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


def linked(context: WorkspaceContext) -> WorkspaceContext:
    """The same, of a member who is linked.

    Raises:
        Refused: for a member that no run has added yet.
    """
    if context.twenty_user_id is None:
        raise Refused(
            Refusal.MEMBER_NOT_LINKED,
            "The session's user has no account in the workspace yet. POST /v1/session/twenty makes it, or the next "
            "reconciliation does.",
        )
    return context


def workspace_of(connection: HTTPConnection) -> WorkspaceContext:
    """The workspace of a request or websocket that came through `ClerkWorkspaceMiddleware`.

    Raises:
        LookupError: when it did not.
    """
    try:
        return cast(WorkspaceContext, connection.scope[SCOPE_KEY])
    except KeyError:
        message = "this request did not pass ClerkWorkspaceMiddleware: put it around the application"
        raise LookupError(message) from None


async def _refuse(refused: Refused | CannotTell, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        code = _TRY_AGAIN_LATER if isinstance(refused, CannotTell) else _POLICY_VIOLATION
        message: dict[str, Any] = {"type": "websocket.close", "code": code, "reason": ""}
        await send(message)
        return
    await refusal_response(refused)(scope, receive, send)
