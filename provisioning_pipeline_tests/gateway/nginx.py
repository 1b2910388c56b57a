"""A real nginx that runs docs/gateway/nginx.conf, and what stands before and behind it."""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

SAMPLE = Path(__file__).parents[2] / "docs" / "gateway" / "nginx.conf"
HOST = "app.example.com"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass(frozen=True)
class Seen:
    """One request as it arrived, its path as it was written."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Every value under this name."""
        return [value for given, value in self.headers if given == name.lower()]


async def seen(request: Request) -> Seen:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    path = request.scope["raw_path"].decode("latin-1")
    return Seen(request.method, path, request.url.query, headers, await request.body())


@dataclass
class Application:
    """What is protected: it keeps what reaches it and answers with it."""

    requests: list[Seen] = field(default_factory=list)
    answer: Response | None = None

    def app(self) -> Starlette:
        async def echo(request: Request) -> Response:
            arrived = await seen(request)
            self.requests.append(arrived)
            if self.answer is not None:
                return self.answer
            return JSONResponse({"headers": arrived.headers, "body": arrived.body.decode("latin-1")})

        async def greet(client: WebSocket) -> None:
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in client.headers.raw]
            self.requests.append(Seen("GET", client.url.path, client.url.query, headers, b""))
            await client.accept()
            await client.send_text("hello")
            await client.close()

        return Starlette(routes=[Route("/{path:path}", echo, methods=METHODS), WebSocketRoute("/{path:path}", greet)])


@dataclass
class Verifier:
    """Answers as `GET /v1/auth/verify` does: one session is good, one leads nowhere, all others are none."""

    tenant: str = "acme"
    good: str = "good-session"
    without_workspace: str = "session-without-workspace"
    requests: list[Seen] = field(default_factory=list)
    answer: Response | None = None

    def app(self) -> Starlette:
        async def verify(request: Request) -> Response:
            arrived = await seen(request)
            self.requests.append(arrived)
            return self.answer if self.answer is not None else self._verdict(request)

        return Starlette(routes=[Route("/v1/auth/verify", verify)])

    def _verdict(self, request: Request) -> Response:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        session = bearer or request.cookies.get("__session", "")
        if session == self.without_workspace:
            return problem(403)
        if session != self.good:
            return problem(401, {"WWW-Authenticate": "Bearer"})
        if request.query_params.get("tenant", self.tenant) != self.tenant:
            return problem(403)
        identity = {"X-Tenant": self.tenant, "X-Twenty-Workspace-Id": "w-1", "X-Twenty-User-Id": "u-1"}
        return Response(headers=identity | {"X-Twenty-Role": "admin"})


def problem(status: int, headers: dict[str, str] | None = None) -> Response:
    body = {"type": "about:blank", "title": "Refused", "status": status, "detail": "The verifier's own words."}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def adapted(sample: str, *, port: int, verifier: str, application: str) -> str:
    """The sample with other addresses, and nothing else of it changed.

    Raises:
        AssertionError: a line that is to be replaced is no longer there as often as it was.
    """
    for old, new, times in (
        ("listen 8080", f"listen 127.0.0.1:{port}", 2),
        ("server 127.0.0.1:8000;", f"server {urlsplit(verifier).netloc};", 1),
        ("server 127.0.0.1:3000;", f"server {urlsplit(application).netloc};", 1),
    ):
        sample, replaced = re.subn(
            rf"^(\s*){re.escape(old)}", lambda found, new=new: found[1] + new, sample, flags=re.M
        )
        assert replaced == times, f"{old!r} stands {replaced} times in the sample"
    return sample


class Gateway:
    """Calls through nginx, as a client of the application."""

    def __init__(self, port: int, prefix: Path) -> None:
        self.port = port
        self.log = prefix / "access.log"
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def __call__(
        self, session: str | None = None, *, method: str = "GET", path: str = "/", host: str = HOST, **options: Any
    ) -> httpx2.Response:
        """One request with a session as bearer token; more headers as pairs, so that a name may come twice."""
        headers = [("Host", host), *options.pop("headers", [])]
        if session is not None:
            headers.append(("Authorization", f"Bearer {session}"))
        return self._client.request(method, path, headers=headers, **options)


@contextmanager
def running_nginx(verifier: str, application: str) -> Iterator[Gateway]:
    """nginx in the foreground with the sample between these two; ends when the block does.

    Not below pytest's own folder: a master that is root runs its workers as another user, who must pass through.
    """
    prefix = Path(tempfile.mkdtemp(prefix="provisioning-gateway-"))
    prefix.chmod(0o755)
    port = free_port()
    configuration = prefix / "nginx.conf"
    configuration.write_text(adapted(SAMPLE.read_text("utf-8"), port=port, verifier=verifier, application=application))
    command = ["nginx", "-e", "stderr", "-p", str(prefix), "-c", str(configuration), "-g", "daemon off;"]
    errors = prefix / "errors"
    with errors.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink)
    gateway = Gateway(port, prefix)
    try:
        wait_until_it_listens(process, port, errors)
        yield gateway
    finally:
        gateway.close()
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(prefix, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int, errors: Path) -> None:
    """Connect until somebody accepts.

    Raises:
        AssertionError: nginx ended instead; with what it said.
    """
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert process.poll() is None, f"nginx did not start: {errors.read_text('utf-8', 'replace')}"
        else:
            return
