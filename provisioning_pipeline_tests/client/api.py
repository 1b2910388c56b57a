"""A small HTTP API that behaves as the contract says, and misbehaves as a test says."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

API_KEY = "key-5f1c2b7e-canary"
SINCE = "2026-08-01T12:00:00+00:00"
RUN_ID = "0f8c9a4e-5b1d-4c57-9a35-3d1f6f2f9a11"

Misbehaviour = Callable[[Request], Awaitable[Response]]


@dataclass
class Kept:
    """A tenant of the HTTP API. It becomes ready once it was looked at `looks` times; never, where that is None."""

    slug: str
    database_name: str
    name: str
    clerk_org_id: str | None = None
    admin_email: str | None = None
    aside: bool = False
    looks: int | None = 2
    runs: int = 0

    @property
    def state(self) -> str:
        return "aside" if self.aside else "ready" if self.looks == 0 else "unwell"


@dataclass
class Api:
    """The application and all that it remembers.

    `before` are answers given instead of the HTTP API's own, `after` those given once it has done what was asked: its
    own is lost then. `looks` is for tenants that are registered from now on.
    """

    url: str = ""
    page: int = 2
    looks: int | None = 2
    retry_after: str | None = "0"
    tenants: dict[str, Kept] = field(default_factory=dict)
    answered: dict[str, tuple[object, Response]] = field(default_factory=dict)
    before: list[Misbehaviour] = field(default_factory=list)
    after: list[Misbehaviour] = field(default_factory=list)
    events: int = 5

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app()(scope, receive, send)

    def register(self, slug: str, **facts: Any) -> Kept:
        given = {"database_name": f"{slug}_db", "name": slug.title(), "looks": self.looks} | facts
        self.tenants[slug] = Kept(slug, **given)
        return self.tenants[slug]

    def _app(self) -> Starlette:
        routes = [
            Route("/v1/tenants", self._guarded(self._list)),
            Route("/v1/tenants/{slug}", self._guarded(self._put), methods=["PUT"]),
            Route("/v1/tenants/{slug}", self._guarded(self._get)),
            Route("/v1/tenants/{slug}/reconcile", self._guarded(self._reconcile), methods=["POST"]),
            Route("/v1/reconcile", self._guarded(self._reconcile_many), methods=["POST"]),
            Route("/v1/tenants/{slug}/timeline", self._guarded(self._timeline)),
        ]
        return Starlette(routes=routes)

    def _guarded(self, answer: Misbehaviour) -> Misbehaviour:
        async def guarded(request: Request) -> Response:
            if self.before:
                return await self.before.pop(0)(request)
            if request.headers.get("Authorization") != f"Bearer {API_KEY}":
                return problem(401, "Unauthorized", "No API key of ours.")
            response = await self._once(request, answer)
            return await self.after.pop(0)(request) if self.after else response

        return guarded

    async def _once(self, request: Request, answer: Misbehaviour) -> Response:
        """The answer, or the one that was given to the same request under the same key."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return await answer(request)
        asked = (request.method, request.url.path, await request.body())
        if key not in self.answered:
            response = await answer(request)
            self.answered[key] = (asked, response)
        first, response = self.answered[key]
        return response if first == asked else problem(409, "Conflict", "This key was used for another request.")

    def _found(self, request: Request) -> Kept | None:
        name = request.path_params["slug"]
        return next((kept for kept in self.tenants.values() if name in (kept.slug, kept.database_name)), None)

    async def _put(self, request: Request) -> Response:
        stated = await request.json() if await request.body() else {}
        kept, slug = self._found(request), request.path_params["slug"]
        if kept is None and not {"name", "database_name"} <= set(stated):
            missing = [{"field": name, "message": "is missing"} for name in ("name", "database_name")]
            return problem(422, "Unprocessable Content", "The tenant is not registered yet", errors=missing)
        others = [other for other in self.tenants.values() if other is not kept]
        if any(other.database_name == stated.get("database_name") for other in others):
            return problem(409, "Conflict", "Database is another tenant's.")
        if kept is None:
            kept = self.register(slug, **stated)
        for name, value in stated.items():
            setattr(kept, name, value)
        return self._at_work(kept, request)

    async def _reconcile(self, request: Request) -> Response:
        kept = self._found(request)
        return _unknown() if kept is None else self._at_work(kept, request)

    async def _reconcile_many(self, request: Request) -> Response:
        stated = await request.json()
        names = [*self.tenants] if stated.get("all") else stated["tenants"]
        items = [
            {"tenant": name, "database_name": found and found.database_name, "result": _result(found)}
            for name, found in ((name, self.tenants.get(name)) for name in names)
        ]
        asked = [found for name in names if (found := self.tenants.get(name)) and not found.aside]
        for kept in asked:
            kept.runs += 1
        document = {"requested": len(asked), "run_id": RUN_ID, "items": items, "of_a_newer_server": 1}
        return JSONResponse(document, 202)

    def _at_work(self, kept: Kept, request: Request) -> Response:
        if kept.state == "ready":
            return JSONResponse(self._document(kept))
        kept.runs += 1
        if kept.looks and int(request.query_params.get("wait", "0")) > 0:
            kept.looks = 0
            return JSONResponse(self._document(kept, run_id=RUN_ID))
        headers = {"Location": f"/v1/tenants/{kept.slug}", **self._patience()}
        return JSONResponse(self._document(kept, run_id=RUN_ID), 202, headers)

    async def _get(self, request: Request) -> Response:
        kept = self._found(request)
        if kept is None:
            return _unknown()
        if kept.looks:
            kept.looks -= 1
        return JSONResponse(self._document(kept), headers=self._patience())

    async def _list(self, request: Request) -> Response:
        wanted = request.query_params
        chosen = [
            kept
            for kept in self.tenants.values()
            if wanted.get("state", kept.state) == kept.state
            and wanted.get("clerk_org_id", kept.clerk_org_id) == kept.clerk_org_id
        ]
        begin = int(wanted.get("cursor", "0"))
        rest = chosen[begin : begin + self.page]
        following = str(begin + self.page) if begin + self.page < len(chosen) else None
        return JSONResponse({"items": [self._document(kept) for kept in rest], "next": following})

    async def _timeline(self, request: Request) -> Response:
        if self._found(request) is None:
            return _unknown()
        begin = int(request.query_params.get("before", "0"))
        numbers = range(begin, min(begin + self.page, self.events))
        events = [
            {
                "at": SINCE,
                "who": "us",
                "source": "twenty",
                "what": f"Event {number}.",
                "run_id": RUN_ID,
                "failed": False,
            }
            for number in numbers
        ]
        following = str(begin + self.page) if begin + self.page < self.events else None
        return JSONResponse({"tenant": {}, "events": events, "next": following, "of_a_newer_server": 1})

    def _patience(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": self.retry_after}

    def _document(self, kept: Kept, run_id: str | None = None) -> dict[str, Any]:
        ready = kept.state == "ready"
        return {
            "slug": kept.slug,
            "database_name": kept.database_name,
            "clerk_org_id": kept.clerk_org_id,
            "state": kept.state,
            "server": "twenty",
            "workspace_id": "b1b2c3d4-0000-4000-8000-000000000001" if ready else None,
            "workspace_url": f"https://{kept.slug}.crm.example.com" if ready else None,
            "user_id": "b1b2c3d4-0000-4000-8000-000000000002" if ready else None,
            "onboarding_status": "COMPLETED" if ready else None,
            "conditions": _conditions(kept),
            "run_id": run_id,
            "status_url": f"{self.url}/v1/tenants/{kept.slug}",
            "look_again_at": None if ready else "2026-08-01T12:01:00Z",
            "of_a_newer_server": {"nested": []},
        }


def _result(kept: Kept | None) -> str:
    if kept is None:
        return "unknown"
    return "excluded" if kept.aside else "requested"


def _conditions(kept: Kept) -> list[dict[str, str]]:
    found = [
        ("Detected", "True", "DatabasePresent", "The database is there."),
        ("TenantDatabase", "False", "RowsReported", "Two rows are pending there."),
    ]
    if kept.state == "ready":
        found += [("WorkspaceReady", "True", "WorkspaceActive", "It is active."), ("Ready", "True", "AllTrue", "All.")]
    elif kept.state == "aside":
        suspended = ("TenantSuspended", "The registry's status is suspended.")
        found += [("Registered", "False", *suspended), ("Ready", "False", *suspended)]
    else:
        full = ("ServerFull", "No server has room for it.")
        found += [("WorkspaceReady", "False", *full), ("LoginProved", "Unknown", "Waiting", "Not looked at yet.")]
        found += [("Ready", "False", *full)]
    keys = ("type", "status", "reason", "message")
    return [dict(zip(keys, condition, strict=True)) | {"since": SINCE} for condition in found]


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A problem document."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, "request_id": "req-1"}
    more = {"errors": errors} if errors else {}
    return JSONResponse(content | more, status, headers, media_type="application/problem+json")


def _unknown() -> Response:
    return problem(404, "Not Found", "There is no such tenant.")


def says(response: Response) -> Misbehaviour:
    """Answer so, whatever was asked."""

    async def answer(_: Request) -> Response:
        return response

    return answer


def away(retry_after: str | None = "0") -> Misbehaviour:
    """The ledger cannot be read."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return says(problem(503, "Service Unavailable", "The ledger cannot be read at present.", headers=headers))


class _Cut(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})


def cut() -> Misbehaviour:
    """Promise a body and end without one."""
    return says(_Cut())


async def silence(request: Request) -> Response:
    """Give no answer until the caller has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()
