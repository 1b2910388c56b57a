"""An answer that is not what was asked for: found out once, here, so that no caller trips over it.

A proxy, a login page or a half-started server may answer in the place of the system that was called, or cut an answer
short. That says nothing about the system, so it is tried again like an HTTP 5xx.
"""

import json
import re
from typing import Any, Final, NoReturn

import httpx
import orjson

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

MOST_BYTES: Final = 64 * 1024 * 1024
"""A page of 500 users with all the metadata that Clerk allows is a quarter of that."""
_NOT_IN_A_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]+")
_HALVES = re.compile("[\ud800-\udfff]")
_LONGEST_TEXT = 1000


class OddAnswer(Exception):
    """An answer that cannot be used; `why` goes on from "no usable answer to …:" and quotes nothing of it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class OddAnswerFault(Fault):
    """No usable answer came, although something answered.

    Args:
        why: what came last.
        redirected: that was a redirect, and `message` says where to.
    """

    def __init__(
        self, reason: Reason, message: str, *, why: str, effect_unknown: bool, redirected: bool = False
    ) -> None:
        super().__init__(FaultKind.TRANSIENT, reason, message, effect_unknown=effect_unknown)
        self.why = why
        self.redirected = redirected


def json_of(response: httpx.Response) -> Any:
    """The JSON in an answer, whatever its content type says.

    Raises:
        OddAnswer: when there is none.
        MemoryError: when this machine has no room for it.
    """
    try:
        # three times quicker than the standard library over a hundred thousand rows
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        if "memory" in str(error).lower():
            # the library says so by the same exception as "this is no JSON"
            raise MemoryError(str(error)) from None
    try:
        return _without_halves(json.loads(response.content, parse_constant=_no_number))
    except (ValueError, RecursionError):
        raise OddAnswer(in_words(response)) from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _without_halves(value: Any) -> Any:
    """Half an emoji, as a program leaves it that cuts texts, is JSON and no text: it becomes a replacement character.

    The quick library refuses the whole answer for it, and everybody on a page with it.
    """
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_halves(inner) for inner in value]
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(inner) for key, inner in value.items()}
    return value


def in_words(response: httpx.Response) -> str:
    """What came instead of an answer: its status and what it looks like, never what it says."""
    return f"HTTP {response.status_code} with {looks_of(response)}"


def looks_of(response: httpx.Response) -> str:
    """The same without the status."""
    body = response.content[:512].lstrip()
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return "an empty body"
    if body.startswith(b"<") or "html" in kind:
        return "an HTML page"
    if body[:1] in (b"{", b"["):
        return "other JSON than was asked for, or a part of it"
    return "a body that is no JSON"


def plain_text(text: str) -> str:
    """A text of another system as a condition, a log and PostgreSQL can hold it: no control characters, not endless."""
    return _NOT_IN_A_TEXT.sub(" ", text)[:_LONGEST_TEXT]


async def read_whole(http: httpx.AsyncClient, method: str, url: str, arguments: dict[str, Any]) -> httpx.Response:
    """Send a request and read its answer, up to as much as any answer may have.

    Raises:
        OddAnswer: when it goes on for longer.
    """
    async with http.stream(method, url, **arguments) as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                why = f"HTTP {response.status_code} with a body of over {MOST_BYTES // (1024 * 1024)} MiB"
                raise OddAnswer(why)
    # it is decompressed by now
    kept = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_WIRE]
    return httpx.Response(response.status_code, headers=kept, content=bytes(body), request=response.request)


_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
