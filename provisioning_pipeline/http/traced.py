"""A span for each request, in the caller's trace where the caller names one; see `clients/tracing.py`."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from provisioning_pipeline.clients.tracing import TRACEPARENT, failed, parent_in, span
from provisioning_pipeline.http.middleware import QUIET

_HEADER = TRACEPARENT.encode()


class Traced:
    """ASGI middleware around the whole application. Its spans name methods and routes and repeat nothing that was sent.

    What gateways and machines ask for all the time has none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER), None)
        about: dict[str, str | int | None] = {}

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                about["http.response.status_code"] = message["status"]
            await send(message)

        with span("request", {}, kind="SERVER", parent=parent_in(given)) as current:
            await self._app(scope, receive, noting)
            if current is None:
                return
            route = getattr(scope.get("route"), "path", None)
            # without a route, both are any word that a caller chose
            current.update_name(f"{scope['method']} {route}" if route else "request")
            status = about.get("http.response.status_code")
            if isinstance(status, int) and status < 400:
                # the name in a request that was refused may be any text
                about["provisioning.tenant"] = scope.get("state", {}).get("tenant")
            current.set_attributes({"http.route": route or "", **{key: found for key, found in about.items() if found}})
            if isinstance(status, int) and status >= 500:
                failed(current, str(status))
