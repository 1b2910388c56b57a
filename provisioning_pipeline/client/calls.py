"""The requests of the HTTP API, built from what callers give. Pure, but for the idempotency keys."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote
from uuid import uuid4

_MOST_TENANTS = 200
MOST_ASKED = 500
"""Names in one request for many tenants."""
_HEADER_TEXT = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `wait` is how many seconds the server may hold its answer back."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | None = None
    wait: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def put_tenant(slug: str, wait: int, idempotency_key: str | None, **facts: str | None) -> Call:
    """Register the tenant, with the facts that are not None; without any, ask for a registered one."""
    body = {name: value for name, value in facts.items() if value is not None}
    query = _given(wait=wait or None)
    return Call("PUT", _path(slug), query, _idempotency(idempotency_key), body or None, wait)


def reconcile(slug: str, wait: int, idempotency_key: str | None) -> Call:
    """Look at the tenant now."""
    query = _given(wait=wait or None)
    return Call("POST", f"{_path(slug)}/reconcile", query, _idempotency(idempotency_key), None, wait)


def reconcile_many(names: Sequence[str] | None, idempotency_key: str | None) -> Call:
    """Look at these tenants now; None: at all that the key is for."""
    if names is not None and not 1 <= len(names) <= MOST_ASKED:
        message = f"name 1 to {MOST_ASKED} tenants in one request"
        raise ValueError(message)
    body: dict[str, object] = {"all": True} if names is None else {"tenants": list(names)}
    return Call("POST", "/v1/reconcile", {}, _idempotency(idempotency_key), body)


def tenant(slug: str) -> Call:
    """Read one tenant."""
    return Call("GET", _path(slug))


def tenants(state: str | None, clerk_org_id: str | None, lifecycle: str | None, cursor: str | None) -> Call:
    """Read one page of the tenants."""
    query = _given(limit=_MOST_TENANTS, state=state, lifecycle=lifecycle, clerk_org_id=clerk_org_id, cursor=cursor)
    return Call("GET", "/v1/tenants", query)


def timeline(slug: str, before: str | None) -> Call:
    """Read one page of what happened to the tenant."""
    return Call("GET", f"{_path(slug)}/timeline", _given(before=before))


def header_text(name: str, text: str) -> str:
    """The text, where a header can carry it.

    Raises:
        ValueError: it cannot; the text is not repeated, for it may be a secret.
    """
    if not _HEADER_TEXT.fullmatch(text):
        message = f"{name} must be printable ASCII without spaces or line ends, and not empty"
        raise ValueError(message)
    return text


def _path(slug: str) -> str:
    # as parts of a path these three would lead elsewhere
    if slug in ("", ".", ".."):
        message = f"{slug!r} is no tenant's slug or database name"
        raise ValueError(message)
    return f"/v1/tenants/{quote(slug, safe='')}"


def _idempotency(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex if key is None else header_text("idempotency_key", key)}


def _given(**values: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in values.items() if value is not None}
