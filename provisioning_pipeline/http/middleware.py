"""What every request goes through: an id, which is in its answer and in each line logged for it, a limit, a log."""

import logging
import re
import secrets
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from provisioning_pipeline.gateway.problems import problem_response

_LOG = logging.getLogger("provisioning_pipeline.access")
_HEADER = b"x-request-id"
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
Count = Callable[[str, str, int, float], None]
QUIET = frozenset({"/v1/auth/verify", "/healthz", "/readyz", "/metrics"})
"""Asked for at every request that passes a gateway, or by machines all the time: counted, and logged when refused."""
_HUNG_UP = 499
"""As nginx logs it."""
MOST_BYTES = 65_536
_OWN_LIMIT = "/webhooks/"
"""Webhooks may be larger, and have a limit of their own."""
_LENGTHS = {b"content-length", b"transfer-encoding"}
_TWO_LENGTHS = "The request has both Content-Length and Transfer-Encoding."
_OF_TENANTS = ("/v1/tenants/", "/tenants/")
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id() -> str | None:
    """The id of the request that is being answered; None outside of one."""
    return _request_id.get()


class RequestLog:
    """ASGI middleware around the whole application.

    A caller's own `X-Request-Id` stays where it is a word of at most 64 plain characters. What is logged names
    routes, not paths, and repeats no header and no query.

    Args:
        count: called for every answer, with method, route, status and seconds.
    """

    def __init__(self, app: ASGIApp, count: Count) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        given = (
            value.decode("ascii") for name, value in scope["headers"] if name == _HEADER and _GIVEN.fullmatch(value)
        )
        own = next(given, None) or secrets.token_hex(8)
        token = _request_id.set(own)
        state: dict[str, Any] = scope.setdefault("state", {})
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, own.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets an answer with the request's id
            # where it happened, without the error's text: that may hold anything
            _LOG.error("Unforeseen %s:\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            if status is None:
                unforeseen = "An unforeseen error; the server's log has it."
                answer = problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, unforeseen, request_id=own)
                await answer(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", None) or "(no route)"
            # a caller who hung up before the answer began gets none
            answered = status if status is not None else _HUNG_UP
            self._count(scope["method"], route, answered, seconds)
            if answered >= 400 or route not in QUIET:
                _log(scope["method"], route, answered, seconds, state)
            _request_id.reset(token)


def _log(method: str, route: str, status: int, seconds: float, state: dict[str, Any]) -> None:
    about = {"caller": state.get("caller"), "refused": state.get("refused"), "tenant": state.get("tenant")}
    _LOG.log(
        logging.ERROR if status >= 500 and status != 503 else logging.INFO,
        "%s %s %d",
        method,
        route,
        status,
        extra={
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
            **{name: value for name, value in about.items() if value is not None},
        },
    )


class BodyLimit:
    """ASGI middleware: a body of more bytes than that is not read to its end.

    A request with both `Content-Length` and `Transfer-Encoding` is refused, as RFC 9112 allows: a proxy before us may
    go by the one and we by the other, and what is a body to the proxy would be the next caller's request here.
    """

    # Starlette's own limit (1.10) answers a declared length in plain text, past our problem documents, ids and log

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {name for name, _ in scope["headers"]} >= _LENGTHS:
            close = {"Connection": "close"}
            refusal = problem_response(HTTPStatus.BAD_REQUEST, _TWO_LENGTHS, close, request_id=request_id())
            await refusal(scope, receive, send)
            return
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD") or scope["path"].startswith(_OWN_LIMIT):
            await self._app(scope, receive, send)
            return
        read = 0

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        await self._app(scope, receive_some, send)


class EncodedNames:
    """ASGI middleware: the paths of tenants are matched as they were sent, so that a `%2F` in a name parts nothing.

    `Name` in the routes decodes the part that is the name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_OF_TENANTS) and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        await self._app(scope, receive, send)
