"""Errors over HTTP as problem details (RFC 9457). None repeats anything of the request."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from provisioning_pipeline.gateway.problems import problem_response, refusal_response
from provisioning_pipeline.gateway.resolver import LEDGER_AWAY
from provisioning_pipeline.http.middleware import request_id
from provisioning_pipeline.ledger.serving import LedgerAway
from provisioning_pipeline.model.api_key import KeyRefusal
from provisioning_pipeline.model.session import CannotTell, Refused
from provisioning_pipeline.views.tenant_timeline import SeveralTenants

RETRY_SECONDS = 5
MEDIA_TYPE = "application/problem+json"
_NO_OBJECT = "The body is no JSON object; send one, with Content-Type: application/json."
_COME_AGAIN = {"Retry-After": {"description": "Seconds until it is worth while.", "schema": {"type": "integer"}}}
_HEADERS: Mapping[HTTPStatus, dict[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"description": "What is wanted.", "schema": {"type": "string"}}},
    HTTPStatus.TOO_MANY_REQUESTS: _COME_AGAIN,
    HTTPStatus.SERVICE_UNAVAILABLE: _COME_AGAIN,
}


class Problem(Exception):
    """Ends a request with an error.

    Args:
        detail: what happened and what to do, for the caller.
        headers: more headers of the answer, such as `Retry-After`.
        why: why a service is refused, which is recorded. The answer has it, but for a 404, which says no more of a
            tenant that the caller may not know of than of none.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        why: KeyRefusal | None = None,
    ) -> None:
        super().__init__(detail)
        self.why = why
        self.status = status
        self.detail = detail
        self.headers = headers


def several_tenants(found: SeveralTenants) -> Problem:
    """The name that was asked for is the slug of several tenants."""
    names = ", ".join(found.database_names)
    return Problem(HTTPStatus.CONFLICT, f"Several tenants have this slug; ask for one by its database name: {names}.")


def away(detail: str = LEDGER_AWAY) -> Problem:
    """Something behind us is away; later it may be back."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_SECONDS)})


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses for OpenAPI, each with a problem document."""
    return {
        status.value: {
            "description": status.phrase,
            "headers": _HEADERS.get(status, {}),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in map(HTTPStatus, statuses)
    }


def install(app: FastAPI, record: Callable[[Request, Problem], None]) -> None:
    """Make every error of this application a problem document, and `record` each refusal of a service."""

    async def answered(request: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, Problem)
        if problem.why is None:
            return _document(problem.status, problem.detail, problem.headers)
        request.state.refused = problem.why.value
        record(request, problem)
        code = {} if problem.status is HTTPStatus.NOT_FOUND else {"code": problem.why.value}
        return _document(problem.status, problem.detail, problem.headers, **code)

    async def ledger_away(request: Request, _: Exception) -> JSONResponse:
        return await answered(request, away())

    app.add_exception_handler(Problem, answered)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(CannotTell, refused)
    app.add_exception_handler(LedgerAway, ledger_away)
    app.add_exception_handler(HTTPException, _refused_by_the_router)
    app.add_exception_handler(RequestValidationError, _malformed)


def _document(
    status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    return problem_response(status, detail, headers, request_id=request_id(), **members)


async def refused(request: Request, why: Exception) -> JSONResponse:
    """The answer to a request of a session that is not let through; the log gets the word for it."""
    assert isinstance(why, Refused | CannotTell)
    request.state.refused = why.why.value if isinstance(why, Refused) else "cannot_tell"
    return refusal_response(why, request_id=request_id())


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if [fault["loc"] for fault in error.errors()] == [("body",)]:
        whole = [{"field": "body", "message": "is no JSON object"}]
        return _document(HTTPStatus.UNPROCESSABLE_ENTITY, _NO_OBJECT, errors=whole)
    # where and what is wrong, never the value
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": str(fault["msg"])}
        for fault in error.errors()
    ]
    return _document(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is malformed; `errors` says where.", errors=faults)


async def _refused_by_the_router(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.BAD_REQUEST:
        return _document(status, "The body cannot be read: send UTF-8 JSON.")
    return _document(status, f"{status.description}." if status.description else status.phrase, error.headers)
