"""`provisioning serve`: the HTTP door."""

import socket
from typing import Annotated

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, fail, settings_or_exit

_SHUTDOWN_SECONDS = 10


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8000,
) -> None:
    """Take Clerk's webhooks, so that a change there is looked at within seconds, and show reports and timelines.

    At Clerk, add an endpoint with the URL https://YOUR-HOST/webhooks/clerk and the events organization.*,
    organizationMembership.* and user.*, and set PROVISIONING_CLERK_WEBHOOK_SECRET to its signing secret.

    An event only marks the tenants that it concerns; Dagster's sensor clerk_changes launches the run that looks at
    them. GET /healthz says whether the server is up.

    For people: /reports/latest is the last run's report, /tenants/TENANT shows what happened to one tenant, by slug or
    database name (as JSON: /v1/tenants/TENANT/timeline). They hold e-mail addresses: without
    PROVISIONING_REPORT_PASSWORD they are for callers on this machine only; with it, for everybody who gives it (HTTP
    Basic, any user name).

    SIGTERM or Ctrl-C ends it once the open requests are answered.
    """
    import logging
    import signal

    import uvicorn

    from provisioning_pipeline.api.app import create_app

    settings = settings_or_exit()
    # uvicorn ends in good order, then hands the signal on: that is the end, not a failure
    signal.signal(signal.SIGTERM, lambda *_: _end())
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    listener = _listen(host, port)
    typer.echo(f"Listening on http://{_shown(listener)}. Ctrl-C ends it.")
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        _end()


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


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
