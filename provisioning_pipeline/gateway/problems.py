"""Refusals over HTTP as problem details (RFC 9457). None repeats anything of the request."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from provisioning_pipeline.model.session import UNAUTHENTICATED, CannotTell, Refusal, Refused

NO_STORE = {"Cache-Control": "no-store"}
_MEDIA_TYPE = "application/problem+json"


def problem_response(
    status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A problem document, which no cache may store; `members` are added to it."""
    content = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members}
    return JSONResponse(content, status.value, {**NO_STORE, **(headers or {})}, media_type=_MEDIA_TYPE)


def refusal_response(why: Refused | CannotTell, **members: Any) -> JSONResponse:
    """401, 403 or 503 for a request that is not let through; `members` are added to the document."""
    if isinstance(why, CannotTell):
        headers = {"Retry-After": str(why.retry_seconds)}
        return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, why.detail, headers, **members)
    if why.why not in UNAUTHENTICATED:
        return problem_response(HTTPStatus.FORBIDDEN, why.detail, code=why.why.value, **members)
    # RFC 6750: no error word where no token came
    challenge = "Bearer" if why.why is Refusal.NO_SESSION else 'Bearer error="invalid_token"'
    headers = {"WWW-Authenticate": challenge}
    return problem_response(HTTPStatus.UNAUTHORIZED, why.detail, headers, code=why.why.value, **members)
