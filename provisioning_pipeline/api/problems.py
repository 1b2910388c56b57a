"""Errors over HTTP as problem details (RFC 9457). None repeats anything of the request."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class Problem(Exception):
    """Ends a request with an error.

    Args:
        status: the HTTP status.
        detail: what happened and what to do, for the caller.
        headers: more headers of the answer, such as `Retry-After`.
    """

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def install(app: FastAPI) -> None:
    """Make every error of this application a problem document."""
    app.add_exception_handler(Problem, _told)
    app.add_exception_handler(HTTPException, _refused_by_the_router)
    app.add_exception_handler(Exception, _unforeseen)


def _document(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    content = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return JSONResponse(content, status.value, headers, media_type="application/problem+json")


async def _told(_: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, Problem)
    return _document(problem.status, problem.detail, problem.headers)


async def _refused_by_the_router(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return _document(status, f"{status.description}." if status.description else status.phrase, error.headers)


async def _unforeseen(_: Request, __: Exception) -> JSONResponse:
    return _document(HTTPStatus.INTERNAL_SERVER_ERROR, "An unforeseen error; the server's log has it.")
