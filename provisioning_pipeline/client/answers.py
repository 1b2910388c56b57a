"""Reads the HTTP API's answers. Pure. Unknown fields are ignored, for the server may be newer than this client."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from typing import TypeVar
from urllib.parse import urlsplit

from provisioning_pipeline.client.calls import Call
from provisioning_pipeline.client.errors import NotAllowed, ProvisioningError, UnexpectedAnswer
from provisioning_pipeline.client.shapes import Misshapen, read_json
from provisioning_pipeline.client.tenant import Event, Tenant

T = TypeVar("T")
_FOREIGN = "What answers is not the provisioning server: check base_url, and any proxy in between."
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPage:
    """One page of tenants; `next` is the cursor of the page after it."""

    items: tuple[Tenant, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """One page of a timeline; `next` is what older events are before."""

    events: tuple[Event, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _FieldError:
    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    title: str
    detail: str
    request_id: str | None = None
    code: str | None = None
    errors: tuple[_FieldError, ...] = ()


def read(shape: type[T], answer: Answer, call: Call) -> T:
    """What of this shape is in an answer. Raises UnexpectedAnswer."""
    try:
        return read_json(shape, answer.body)
    except Misshapen as fault:
        # without the values: an answer of something else may hold anything
        why = str(fault)
    raise unexpected(answer, call, why)


def refusal(answer: Answer) -> ProvisioningError:
    """The error that an answer other than success stands for, from whatever it came."""
    try:
        problem = read_json(_Problem, answer.body)
    except Misshapen:
        problem = _Problem(title=responses.get(answer.status, "Refused"), detail=_FOREIGN + _elsewhere(answer))
    fields = "; ".join(f"{error.field}: {error.message}" for error in problem.errors)
    detail = " ".join(_sentence(words) for words in (problem.detail, fields) if words)
    kind = NotAllowed if answer.status == HTTPStatus.FORBIDDEN and problem.code else ProvisioningError
    error = kind(answer.status, problem.title, detail, problem.request_id or answer.headers.get("x-request-id"))
    error.code = problem.code
    error.retry_after_seconds = retry_after_seconds(answer)
    return error


def retry_after_seconds(answer: Answer) -> float | None:
    """How long the server asks to wait; None when it does not say so in a way that can be read.

    A date counts from the answer's own, so that the two machines' clocks need not agree.
    """
    asked = answer.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(asked):
        return float(asked)
    try:
        until, now = (parsedate_to_datetime(text) for text in (asked, answer.headers.get("date", "")))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None


def unexpected(answer: Answer, call: Call, why: str) -> UnexpectedAnswer:
    """The error for a success that cannot be used."""
    detail = f"The answer to {call} cannot be used: {_sentence(why)}"
    return UnexpectedAnswer(answer.status, "Answer not understood", detail, answer.headers.get("x-request-id"))


def _elsewhere(answer: Answer) -> str:
    """Where a redirect leads, without user and query, which may hold secrets."""
    if not 300 <= answer.status < 400 or "location" not in answer.headers:
        return ""
    try:
        parts = urlsplit(answer.headers["location"])
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        return f" It sends on to {shown.geturl()}."
    except ValueError:
        return ""


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."
