"""What stands between the program and a server: it writes down every call, and disturbs those that it is told to.

The first part of the path names who calls, for example `/a/metadata`; so the log tells processes apart.
"""

import asyncio
import base64
import json
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx2
from starlette.types import Message, Receive, Scope, Send

from provisioning_pipeline.sandbox.serving import LoopbackServer

TROUBLES_BEFORE = (
    "error 500",
    "error 503",
    "bad gateway",
    "html",
    "broken JSON",
    "forbidden page",
    "null data",
    "empty body",
    "limited",
    "limited until a date",
    "redirect",
    "hang",
)
"""Answers that come in place of the effect."""
TROUBLES_AFTER = ("lost", "html after", "error 502 after", "hang after")
"""Answers that come in place of the right one, after the effect took place."""
TROUBLES_OF_LISTS = ("empty list", "cut page", "page not found")
"""What a list of Clerk's may answer besides."""

_LONGEST_HANG_SECONDS = 20.0
_TOKEN_ONLY = frozenset(
    ["signIn", "getLoginTokenFromCredentials", "getAuthTokensFromLoginToken", "renewToken", "impersonate", "signOut"]
)
_FIELD = re.compile(r"\{\s*(?:\w+\s*:\s*)?(\w+)")
_HTML = b"<!doctype html><title>Welcome</title><p>Please sign in.</p>"


@dataclass
class Trouble:
    """Let `skip` matching calls pass, then disturb `times` of them. `name` is a part of the call's name."""

    kind: str
    name: str = ""
    skip: int = 0
    times: int = 1


@dataclass
class Call:
    """One call as the proxy saw it. `ended` is when its caller had an answer or was gone; None: still under way."""

    slot: str
    name: str
    mutates: bool
    begun: float
    workspace_id: str | None = None
    subdomain: str | None = None
    invite_hash: str | None = None
    status: int | None = None
    trouble: str | None = None
    ended: float | None = None


@dataclass
class Proxy:
    """A server before another one. `upstream` is where calls go on to."""

    upstream: str
    calls: list[Call] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._app(scope, receive, send)

        self._server = LoopbackServer(app)
        self._lock = threading.Lock()
        self._client: httpx2.AsyncClient | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Serve."""
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def url(self, slot: str) -> str:
        """Where the caller of this name finds the server."""
        return f"{self._server.url}/{slot}"

    def since(self, moment: float) -> list[Call]:
        """The calls that began at or after this moment of the monotonic clock."""
        with self._lock:
            return [call for call in self.calls if call.begun >= moment]

    def forget(self) -> None:
        """Forget the calls so far, and disturb no more."""
        with self._lock:
            self.calls.clear()
            self.troubles.clear()

    def _drawn(self, call: Call) -> str | None:
        with self._lock:
            self.calls.append(call)
            for trouble in self.troubles:
                if trouble.times > 0 and trouble.name in call.name:
                    if trouble.skip > 0:
                        trouble.skip -= 1
                        continue
                    trouble.times -= 1
                    return trouble.kind
        return None

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = await _body_of(receive)
        if body is None:
            return
        _, slot, rest = scope["path"].split("/", 2)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        call = described(slot, scope["method"], f"/{rest}", headers, body)
        call.trouble = self._drawn(call)
        query = scope["query_string"].decode()
        request = (scope["method"], f"{self.upstream}/{rest}{'?' + query if query else ''}", headers, body)
        answering = asyncio.ensure_future(self._answer(call, *request))
        self._tasks.add(answering)
        answering.add_done_callback(self._tasks.discard)
        leaving = asyncio.ensure_future(_left(receive))
        # a caller who goes away does not stop the effect
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        call.ended = time.monotonic()
        leaving.cancel()
        if answering.done():
            status, answer_headers, content = answering.result()
            call.status = status
            await _send(send, status, answer_headers, content)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        limits = httpx2.Limits(max_keepalive_connections=20)
        async with httpx2.AsyncClient(timeout=None, verify=False, limits=limits) as client:
            self._client = client
            await send({"type": "lifespan.startup.complete"})
            await receive()
            for task in self._tasks:
                task.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(
        self, call: Call, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes | None]:
        if call.trouble in TROUBLES_BEFORE or call.trouble == "page not found":
            if call.trouble == "hang":
                await asyncio.sleep(_LONGEST_HANG_SECONDS)
            return _instead(call.trouble or "")
        assert self._client is not None
        passed = {name: value for name, value in headers.items() if name not in ("host", "accept-encoding")}
        try:
            answer = await self._client.request(method, url, headers=passed, content=body)
        except httpx2.HTTPError:
            return 502, {"content-type": "text/html"}, _HTML
        kept = {
            name: answer.headers[name]
            for name in ("content-type", "retry-after", "location", "set-cookie")
            if name in answer.headers
        }
        if call.trouble == "hang after":
            await asyncio.sleep(_LONGEST_HANG_SECONDS)
        if call.trouble in TROUBLES_AFTER:
            return _instead(call.trouble)
        if call.trouble in TROUBLES_OF_LISTS and answer.status_code == 200:
            return 200, kept, _shortened(call.trouble, answer.content)
        return answer.status_code, kept, answer.content


def described(slot: str, method: str, path: str, headers: dict[str, str], body: bytes) -> Call:
    """A call by what it says of itself."""
    call = Call(slot, f"{method} {path}", method not in ("GET", "HEAD", "OPTIONS"), time.monotonic())
    if path in ("/metadata", "/graphql"):
        with suppress(ValueError, AttributeError, TypeError, KeyError):
            said = json.loads(body)
            query, variables = str(said["query"]), dict(said.get("variables") or {})
            found = _FIELD.search(query)
            call.name = found[1] if found else "nothing"
            skipped = "@skip" in query
            call.mutates = query.lstrip().startswith("mutation") and call.name not in _TOKEN_ONLY and not skipped
            text = json.dumps(variables)
            call.subdomain = _value(text, "subdomain")
            call.invite_hash = _value(text, "workspaceInviteHash") or _value(text, "hash") or _value(text, "inviteHash")
    call.workspace_id = _workspace_of(headers.get("authorization", ""))
    return call


def overlapping(calls: Iterable[Call], key: Any) -> list[tuple[Call, Call]]:
    """Pairs of mutating calls of two callers, for the same `key(call)`, that were under way at the same time."""
    found: list[tuple[Call, Call]] = []
    by_key: dict[str, list[Call]] = {}
    for call in calls:
        of = key(call) if call.mutates else None
        if of is not None:
            by_key.setdefault(of, []).append(call)
    for of_one in by_key.values():
        of_one.sort(key=lambda call: call.begun)
        for number, call in enumerate(of_one):
            until = call.ended if call.ended is not None else float("inf")
            for other in of_one[number + 1 :]:
                if other.begun >= until:
                    break
                if other.slot != call.slot:
                    found.append((call, other))
    return found


def _value(text: str, name: str) -> str | None:
    found = re.search(rf'"{name}": "([^"]+)"', text)
    return found[1] if found else None


def _workspace_of(authorization: str) -> str | None:
    try:
        part = authorization.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return None
    return str(claims["workspaceId"]) if isinstance(claims, dict) and claims.get("workspaceId") else None


def _instead(kind: str) -> tuple[int, dict[str, str], bytes | None]:
    page, data = {"content-type": "text/html"}, {"content-type": "application/json"}
    match kind:
        case "error 500":
            return 500, data, b'{"errors":[{"message":"Internal server error"}]}'
        case "error 503":
            return 503, page, b"<p>Service unavailable"
        case "bad gateway" | "error 502 after":
            return 502, page, b"<p>Bad gateway"
        case "html" | "html after":
            return 200, page, _HTML
        case "broken JSON":
            return 200, data, b'{"data": {"curren'
        case "forbidden page":
            return 403, page, b"<p>Request blocked"
        case "null data":
            return 200, data, b'{"data": null}'
        case "empty body":
            return 200, data, b""
        case "limited":
            return 429, {**data, "retry-after": "1"}, b'{"errors":[{"message":"Too many requests"}]}'
        case "limited until a date":
            moment = formatdate(time.time() + 1, usegmt=True)
            return 429, {**data, "retry-after": moment}, b'{"errors":[{"message":"Too many requests"}]}'
        case "redirect":
            return 302, {"location": "https://login.example.com/"}, b""
        case "page not found":
            return 404, page, b"<p>Not found"
        case _:
            return 200, data, None


def _shortened(kind: str, content: bytes) -> bytes:
    """A list without entries, or without its last one."""
    try:
        said = json.loads(content)
    except ValueError:
        return content
    if isinstance(said, dict) and isinstance(said.get("data"), list):
        said = {"data": [], "total_count": 0} if kind == "empty list" else said | {"data": said["data"][:-1]}
    elif isinstance(said, list):
        said = [] if kind == "empty list" else said[:-1]
    return json.dumps(said).encode()


async def _body_of(receive: Receive) -> bytes | None:
    """The whole body; None of a caller who died while sending it."""
    body = b""
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, status: int, headers: dict[str, str], content: bytes | None) -> None:
    """An answer; None announces one and ends without it, as a connection that breaks."""
    length = b"4096" if content is None else str(len(content)).encode()
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*raw, (b"content-length", length)]})
    if content is not None:
        await send({"type": "http.response.body", "body": content})
