"""`GET /v1/session/twenty`: a link that a browser follows into Twenty, signed in; a page says why it does not."""

import json
from collections.abc import Callable, Collection, Coroutine, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import httpx2
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from provisioning_pipeline.gateway.problems import NO_STORE
from provisioning_pipeline.gateway.resolver import Resolver, must_be_of
from provisioning_pipeline.http.access import LimitOfAll
from provisioning_pipeline.http.middleware import request_id
from provisioning_pipeline.http.problems import Problem, responses
from provisioning_pipeline.http.reports import PAGE_HEADERS
from provisioning_pipeline.http.sign_in import SignIns
from provisioning_pipeline.ledger.serving import LedgerAway
from provisioning_pipeline.model.session import CannotTell, Refusal, Refused
from provisioning_pipeline.report.refusal_page import RefusalPage, render
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.values.urls import encrypted

_PATH = "/v1/session/twenty"
_PURPOSES = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
"""Headers in which browsers say that they only fetch ahead."""
_WANTED = {b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}
"""What a browser says of a link that its user follows; old ones, and those that reach us by http://, say nothing."""
_NO_REFERRER = {"Referrer-Policy": "no-referrer"}
_KEPT = ("retry-after", "www-authenticate")
_INSIDE = r"^/([A-Za-z0-9._~!$&'()*+,;=:@%?-][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$"
_REFUSED: dict[int | str, dict[str, Any]] = {
    status: answer | {"content": {**answer["content"], "text/html": {"schema": {"type": "string"}}}}
    for status, answer in responses(401, 403, 422, 429, 503).items()
}
_SEE_OTHER: dict[int | str, dict[str, Any]] = {
    303: {
        "description": "Into the workspace: to the address at which Twenty signs the browser in.",
        "headers": {"Location": {"description": "Good for minutes.", "schema": {"type": "string", "format": "uri"}}},
    }
}
Tenant = Annotated[
    str | None,
    Query(description="Slug or database name of the tenant that it has to be; another one's session: 403."),
]
Inside = Annotated[
    str | None,
    Query(
        pattern=_INSIDE,
        max_length=500,
        description="A path inside of the workspace where the member is to land. Twenty may not have it any more, or "
        "not know what we tell it; then the member lands where Twenty begins.",
        examples=["/objects/companies"],
    ),
]


def link_router(settings: Settings, resolver: Resolver, sign_ins: SignIns, per_member: LimitOfAll) -> APIRouter:
    """The link. `per_member` is shared with the sign-ins that programs ask for."""
    router = APIRouter(tags=["sessions"], route_class=_readable(settings.app_url))

    @router.get(
        _PATH,
        status_code=HTTPStatus.SEE_OTHER,
        response_class=Response,
        responses={**_SEE_OTHER, **_REFUSED},
        openapi_extra={"security": [{"clerkCookie": []}, {"clerkSession": []}]},
    )
    async def open_twenty(request: Request, tenant: Tenant = None, to: Inside = None) -> Response:
        """Open Twenty: the `href` of a link in a front end, on the host that Clerk's cookie is for. The browser is
        sent into the member's workspace, signed in; a member that no run has added yet is added first. A refusal is a
        page where `Accept` has text/html. Only what a browser's user opens as a page signs in; `HEAD` does not."""
        must_be_navigation(request.scope["headers"])
        session = await resolver.session(request.scope["headers"])
        if tenant is not None:
            must_be_of(await resolver.context(session), tenant)
        await per_member.take(f"{session.issuer} {session.user_id}")
        context, made = await sign_ins.sign_in(session)
        request.state.tenant = context.tenant
        target = target_of(made.verify_url, to, settings.allow_http_hosts)
        return Response(None, HTTPStatus.SEE_OTHER, {"Location": target, **NO_STORE, **_NO_REFERRER})

    @router.head(_PATH, include_in_schema=False)
    async def look_at_link(request: Request, tenant: Tenant = None) -> Response:
        """Whether the session leads to a workspace; no sign-in is made."""
        must_be_navigation(request.scope["headers"])
        context = await resolver.resolve(request.scope["headers"], tenant)
        request.state.tenant = context.tenant
        return Response(None, HTTPStatus.NO_CONTENT, {**NO_STORE, **_NO_REFERRER})

    return router


def must_be_navigation(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse what a browser sends for anything but a page that its user opens: frames, images, scripts, fetching ahead.

    Args:
        headers: as ASGI has them, names in lower case. A request that says nothing of this passes.

    Raises:
        Refused: NOT_A_NAVIGATION.
    """
    for name, value in headers:
        wanted = _WANTED.get(name)
        if (wanted is not None and value != wanted) or (name in _PURPOSES and b"pre" in value.lower()):
            raise Refused(
                Refusal.NOT_A_NAVIGATION,
                "Only a link that a user follows signs in here. A program asks with POST.",
            )


def target_of(verify_url: str, to: str | None, allow_http_hosts: Collection[str]) -> str:
    """Where the browser is sent: the address at which Twenty signs in, and where it goes on from there.

    Args:
        verify_url: of a sign-in.
        to: a path in the workspace.
        allow_http_hosts: hosts that may be reached by http://, with all below them.

    Raises:
        CannotTell: when no browser should be sent there with a sign-in.
    """
    if not _is_safe(verify_url, allow_http_hosts):
        raise CannotTell(
            "The workspace's address is none that we send a browser to with a sign-in: it has to begin with https://, "
            "or its host to be one of PROVISIONING_ALLOW_HTTP_HOSTS.",
            retry_seconds=60,
        )
    return f"{verify_url}&{urlencode({'returnToPath': to})}" if to and to != "/" else verify_url


def _is_safe(url: str, allow_http_hosts: Collection[str]) -> bool:
    # a browser leaves out line ends, and would go elsewhere than we have looked
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        below = {host for allowed in allow_http_hosts if host.endswith(f".{allowed}")}
        encrypted(url, but_for={*allow_http_hosts, *below})
    except (ValueError, httpx2.InvalidURL):
        return False
    return (
        parts.scheme in ("http", "https") and bool(host) and "@" not in parts.netloc and parts.path.endswith("/verify")
    )


def _readable(application_url: str | None) -> type[APIRoute]:
    """Routes whose refusals are pages for those who read pages."""

    class ReadableRoute(APIRoute):
        """Answers as any route does, and with a page where a problem document would come."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answered = super().get_route_handler()

            async def readable(request: Request) -> Response:
                try:
                    return await answered(request)
                except (Problem, Refused, CannotTell, LedgerAway, RequestValidationError) as refusal:
                    problem = await request.app.exception_handlers[type(refusal)](request, refusal)
                    if "text/html" not in request.headers.get("accept", ""):
                        return problem  # type: ignore[no-any-return]  # the application's handlers are not typed
                    return _page(problem, application_url)

            return readable

    return ReadableRoute


def _page(problem: Response, application_url: str | None) -> Response:
    document = json.loads(bytes(problem.body))
    seconds = problem.headers.get("retry-after")
    page = RefusalPage(
        status=HTTPStatus(problem.status_code),
        code=document.get("code"),
        detail=document["detail"],
        retry_seconds=int(seconds) if seconds else None,
        application_url=application_url,
        request_id=request_id() or "",
    )
    kept = {name: problem.headers[name] for name in _KEPT if name in problem.headers}
    return HTMLResponse(render(page), problem.status_code, {**PAGE_HEADERS, **kept})
