"""`provisioning serve`: the HTTP API, and its logs: one JSON document a line, with the id of its request."""

import asyncio
import json
import logging
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, configured, fail
from provisioning_pipeline.cli.terminal import say

if TYPE_CHECKING:
    from provisioning_pipeline.settings import Settings

_SHUTDOWN_SECONDS = 10
_MOST_CONNECTIONS = 2000
_MOST_HEADER_BYTES = 32_768


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8000,
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
    JSON, a line each, on standard error. SIGTERM or Ctrl-C ends it once the open requests are answered.
    """
    import gc
    import signal

    import uvicorn

    from provisioning_pipeline.http.app import create_app

    with configured() as settings:
        asyncio.run(_must_know_the_ledger(settings))
    # uvicorn ends in good order, then hands the signal on: that is the end, not a failure
    signal.signal(signal.SIGTERM, lambda *_: _end())
    log_as_json()
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


def log_as_json(level: int = logging.INFO) -> None:
    """Send every log line to standard error as JSON: time, level, logger, message, request_id, and what is added."""
    from pythonjsonlogger.core import RESERVED_ATTRS
    from pythonjsonlogger.orjson import OrjsonFormatter

    from provisioning_pipeline.http.middleware import request_id

    class Formatter(OrjsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return _for_a_terminal(super().format(record))

    def with_request_id(record: logging.LogRecord) -> bool:
        record.request_id = request_id()
        return True

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(with_request_id)
    handler.setFormatter(
        Formatter(
            "{levelname}{name}{message}{request_id}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            # uvicorn's own message once more, with escape codes
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # their lines would repeat addresses of other systems for every call
    for noisy in ("httpx2", "httpcore2", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _for_a_terminal(line: str) -> str:
    """The same document, with JSON's own escape for what would steer a terminal or hide: orjson leaves much of it."""
    if line.isprintable():
        return line
    # json leaves DEL
    escaped = (letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)
    return "".join(escaped).replace("\x7f", "\\u007f")
