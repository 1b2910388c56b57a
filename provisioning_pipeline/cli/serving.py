"""`provisioning serve`: the HTTP API. Each line of its log has the id of its request."""

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, configured, fail
from provisioning_pipeline.cli.logs import LogFormat, log_as
from provisioning_pipeline.cli.terminal import say

if TYPE_CHECKING:
    from provisioning_pipeline.settings import Settings

_SHUTDOWN_SECONDS = 10
_MOST_CONNECTIONS = 2000
_MOST_HEADER_BYTES = 32_768


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8000,
    log_format: Annotated[
        LogFormat, typer.Option(help="What a line of the log is; text is for people.")
    ] = LogFormat.JSON,
) -> None:
    """Serve the HTTP API: for the tenant manager, for gateways and front ends, for Clerk, and for people.

    Tenant managers ask for a workspace: PUT /v1/tenants/SLUG, with an API key of `provisioning keys create`.

    Gateways and front ends turn a Clerk session into its workspace: GET /v1/auth/verify, GET /v1/session, POST
    /v1/session/twenty. Set PROVISIONING_CLERK_ISSUERS, else no session is accepted.

    Clerk's webhooks request a review of the tenants that they concern: add an endpoint with the URL
    https://YOUR-HOST/webhooks/clerk and the events organization.*, organizationMembership.* and user.*, and set
    PROVISIONING_CLERK_WEBHOOK_SECRET to its signing secret.

    People read /reports/latest and /tenants/TENANT: with PROVISIONING_REPORT_PASSWORD (HTTP Basic, any user name), or
    on this machine alone.

    GET /healthz, /readyz and /metrics are for supervisors and monitors, /openapi.json describes everything. Logs are
    JSON, a line each, on standard error, or text. SIGTERM or Ctrl-C ends it once the open requests are answered.
    """
    import gc
    import signal

    import uvicorn

    from provisioning_pipeline.http.app import create_app
    from provisioning_pipeline.http.middleware import request_id

    with configured() as settings:
        asyncio.run(_must_know_the_ledger(settings))
    # uvicorn ends in good order, then hands the signal on: that is the end, not a failure
    signal.signal(signal.SIGTERM, lambda *_: _end())
    log_as(log_format, request_id=request_id)
    listener = _listen(host, port)
    address, number = listener.getsockname()[:2]
    say(f"Listening on http://{f'[{address}]' if ':' in address else address}:{number}. Ctrl-C ends it.")
    server: uvicorn.Server | None = None
    app = create_app(settings, stopping=lambda: server is not None and server.should_exit)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            # who sends a request is who is connected, not what a header says
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            # the quicker httptools takes headers of any length into memory
            http="h11",
            ws="none",
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
    )
    # what is there by now stays: looking through it again and again would stop every request for a moment
    gc.collect()
    gc.freeze()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        _end()


async def _must_know_the_ledger(settings: "Settings") -> None:
    """Refuse a ledger of a later version before the first answer; one that is away now is waited for later."""
    from psycopg import Error

    from provisioning_pipeline.ledger.revisions import revision
    from provisioning_pipeline.ledger.schema import ledger_database
    from provisioning_pipeline.model.fault import Fault

    async with ledger_database(settings, read_only=True) as database:
        with suppress(Fault, Error):
            await revision(database)


def _end() -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, or the end of the program in one sentence."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # with the protocol named, asyncio turns Nagle's algorithm off: without it each answer takes 40 ms more
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        raise fail(f"Cannot listen on {host}, port {port}: {error.strerror}.", BAD_INPUT) from None
    return listener
