"""Every request has an id, which is in its answer and in each line logged for it; and every answer is logged."""

import logging
import re
import secrets
import time
from contextvars import ContextVar
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from provisioning_pipeline.api.metrics import Requests

_LOG = logging.getLogger("provisioning_pipeline.access")
_HEADER = b"x-request-id"
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_QUIET = frozenset({"/v1/auth/verify", "/healthz", "/readyz", "/metrics"})
"""Asked for at every request that passes a gateway, or by machines all the time: counted, and logged when refused."""
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id() -> str | None:
    """The id of the request that is being answered; None outside of one."""
    return _request_id.get()


class RequestLog:
    """ASGI middleware around the whole application.

    A caller's own `X-Request-Id` is kept where it is a word of at most 64 plain characters. What is logged names
    routes, not paths, and repeats no header and no query.
    """

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        own = _id_of(scope)
        token = _request_id.set(own)
        state: dict[str, Any] = scope.setdefault("state", {})
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, own.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", None) or "(no route)"
            self._requests.count(scope["method"], route, status, seconds)
            if status >= 400 or route not in _QUIET:
                _log(scope["method"], route, status, seconds, state)
            _request_id.reset(token)


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
