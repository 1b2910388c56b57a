"""What every call to the stand-in Clerk passes: key, limits, faults, counters, errors in Clerk's shape."""

import asyncio
import json
import logging
import math
import secrets
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from provisioning_pipeline.sandbox.clerk.errors import ClerkRefusalError, too_many_requests
from provisioning_pipeline.sandbox.clerk.options import ClerkOptions
from provisioning_pipeline.sandbox.clerk.state import ClerkState
from provisioning_pipeline.sandbox.clerk.texts import Text
from provisioning_pipeline.sandbox.faults import Faults

WINDOW_SECONDS = 10.0
READS = frozenset({"GET", "HEAD"})


class Call:
    """One request, as a handler sees it."""

    def __init__(self, state: ClerkState, request: Request, body: dict[str, Any]) -> None:
        self.state = state
        self.query = request.query_params
        self.path: dict[str, str] = dict(request.path_params)
        self.body = body


Handler = Callable[[Call], Any]


class LostAnswer(Response):
    """Announces an answer and cuts the connection instead of sending it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def _keep_lost_answers_out_of_the_log(record: logging.LogRecord) -> bool:
    return "without completing response" not in record.getMessage()


# A lost answer is meant; uvicorn reports it as an application's error.
logging.getLogger("uvicorn.error").addFilter(_keep_lost_answers_out_of_the_log)


class Gate:
    """Counts, refuses and disturbs calls in front of the handlers."""

    def __init__(self, state: ClerkState, options: ClerkOptions, faults: Faults) -> None:
        self.state = state
        self.options = options
        self.faults = faults
        self.calls: Counter[str] = Counter()
        self.mutating_calls = 0
        self._requests: deque[float] = deque()
        self._updates: defaultdict[str, deque[float]] = defaultdict(deque)

    def endpoint(self, operation: str, handler: Handler, *, public: bool = False) -> Callable[..., Any]:
        """A Starlette endpoint for an operation such as `GET /organizations`."""
        mutates = operation.split(" ")[0] not in READS

        async def answer(request: Request) -> Response:
            self.calls[operation] += 1
            self.mutating_calls += mutates
            if self.faults.latency_seconds:
                await asyncio.sleep(self.faults.latency_seconds)
            drawn = self.faults.draw(operation)
            fault = drawn.kind if drawn else None
            try:
                if not public:
                    self._check_key(request)
                self._check_rate(request, mutates=mutates)
                if fault == "refuse":
                    raise too_many_requests(1)
                if drawn and fault == "odd":
                    return drawn.odd_answer()
                if fault == "error":
                    raise ClerkRefusalError(500, "internal_clerk_error", "Internal server error")
                body = await _json_body(request) if mutates else {}
                with self.state.lock:
                    content = handler(Call(self.state, request, body))
            except ClerkRefusalError as refusal:
                if fault == "drop":
                    return LostAnswer()
                return refused(refusal)
            if drawn and fault == "odd after":
                return drawn.odd_answer()
            return LostAnswer() if fault == "drop" else _answered(content)

        return answer

    def reset_counters(self) -> None:
        """Forget the calls and the injected faults counted so far."""
        self.calls.clear()
        self.mutating_calls = 0
        self.faults.injected.clear()

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ClerkRefusalError(
                401,
                "authorization_header_format_invalid",
                "Invalid Authorization header format",
                'Invalid Authorization header format. Must be "Bearer <YOUR_API_KEY>"',
            )
        if not secrets.compare_digest(key.encode(), self.state.secret_key.encode()):
            raise ClerkRefusalError(
                401,
                "clerk_key_invalid",
                "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct.",
            )

    def _check_rate(self, request: Request, *, mutates: bool) -> None:
        _take(self._requests, self.options.requests_per_10_seconds)
        # Clerk's limit is on updates to one user or organization, memberships included.
        target = request.path_params.get("organization_id") or request.path_params.get("user_id")
        if mutates and target and request.method == "PATCH":
            _take(self._updates[target], self.options.updates_per_10_seconds)


def _take(window: deque[float], limit: int | None) -> None:
    if limit is None:
        return
    now = time.monotonic()
    while window and now - window[0] >= WINDOW_SECONDS:
        window.popleft()
    if len(window) >= limit:
        wait = window[0] + WINDOW_SECONDS - now if window else WINDOW_SECONDS
        raise too_many_requests(max(1, math.ceil(wait)))
    window.append(now)


async def _json_body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise ClerkRefusalError(
            400, "request_body_invalid", "Request body invalid", "The request body is invalid."
        ) from None
    if not isinstance(body, dict):
        raise ClerkRefusalError(400, "request_body_invalid", "Request body invalid")
    return body


def _answered(content: Any) -> Response:
    return Response(content, media_type="application/json") if isinstance(content, Text) else JSONResponse(content)


def refused(refusal: ClerkRefusalError) -> JSONResponse:
    """An error in Clerk's shape."""
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else None
    content = {"errors": [refusal.error], "clerk_trace_id": secrets.token_hex(16)}
    return JSONResponse(content, status_code=refusal.status, headers=headers)
