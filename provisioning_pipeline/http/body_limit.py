"""How large a request may be, and that its end is told in one way; the webhooks' own limit is larger, and theirs."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from provisioning_pipeline.gateway.problems import problem_response
from provisioning_pipeline.http.request_log import request_id

MOST_BYTES = 65_536
_OWN_LIMIT = "/webhooks/"
_LENGTHS = {b"content-length", b"transfer-encoding"}
_TWO_LENGTHS = "The request has both Content-Length and Transfer-Encoding."


class BodyLimit:
    """ASGI middleware: a body of more bytes than that is not read to its end.

    A request with both `Content-Length` and `Transfer-Encoding` is refused, as RFC 9112 allows: a proxy before us may
    go by the one and we by the other, and what is a body to the proxy would be the next caller's request here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
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
