"""Every request has an id, which is in its answer and in each line logged for it; and every answer is logged."""

import logging
import re
import secrets
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from provisioning_pipeline.gateway.problems import problem_response

_LOG = logging.getLogger("provisioning_pipeline.access")
_HEADER = b"x-request-id"
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
Count = Callable[[str, str, int, float], None]
_QUIET = frozenset({"/v1/auth/verify", "/healthz", "/readyz", "/metrics"})
"""Asked for at every request that passes a gateway, or by machines all the time: counted, and logged when refused."""
_HUNG_UP = 499
"""As nginx logs it."""
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id() -> str | None:
    """The id of the request that is being answered; None outside of one."""
    return _request_id.get()


class RequestLog:
    """ASGI middleware around the whole application.

    A caller's own `X-Request-Id` is kept where it is a word of at most 64 plain characters. What is logged names
    routes, not paths, and repeats no header and no query.

    Args:
        count: told of every answer: method, route, status, seconds.
    """

    def __init__(self, app: ASGIApp, count: Count) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        own = _id_of(scope)
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
                await _unforeseen(own)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", None) or "(no route)"
            # a caller who hung up before the answer began gets none
            answered = status if status is not None else _HUNG_UP
            self._count(scope["method"], route, answered, seconds)
            if answered >= 400 or route not in _QUIET:
                _log(scope["method"], route, answered, seconds, state)
            _request_id.reset(token)


def _unforeseen(own: str) -> Response:
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "An unforeseen error; the server's log has it.", request_id=own
    )


def _id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _HEADER and _GIVEN.fullmatch(value):
            return str(value.decode("ascii"))
    return secrets.token_hex(8)


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
