"""API keys of services, and the requests that were refused to them."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

PREFIX = "pvk"
"""So that a scanner for leaked secrets can find one."""
_FORM = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_[0-9A-Za-z_-]{{43}}")


class Scope(StrEnum):
    """What a key may do with the tenants in its reach."""

    READ = "tenants:read"
    WRITE = "tenants:write"


EVERY_SCOPE = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Reach:
    """The tenants that a key is for: all, the one with this slug, or those whose slugs begin so."""

    tenant: str | None = None
    tenant_prefix: str | None = None

    @property
    def everywhere(self) -> bool:
        return self.tenant is None and self.tenant_prefix is None

    def covers(self, slug: str) -> bool:
        if self.tenant is not None:
            return slug == self.tenant
        return self.tenant_prefix is None or slug.startswith(self.tenant_prefix)

    def __str__(self) -> str:
        if self.tenant is not None:
            return f"tenant {self.tenant}"
        return "all tenants" if self.tenant_prefix is None else f"tenants {self.tenant_prefix}..."


EVERY_TENANT = Reach()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key: everything but the key. `hash` is of the whole key.

    A key of a version without scopes has all of them, for every tenant.
    """

    id: str
    name: str
    hash: bytes
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    scopes: frozenset[Scope] = EVERY_SCOPE
    reach: Reach = EVERY_TENANT

    def state(self, now: datetime) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def new_key() -> tuple[str, str]:
    """The id of a new key, and the key: 256 random bits, so that a plain hash of it is enough."""
    key_id = secrets.token_hex(6)
    return key_id, f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"


def key_id_of(key: str) -> str | None:
    """The id in what has the form of a key; None for anything else."""
    found = _FORM.fullmatch(key)
    return found.group(1) if found else None


def hash_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def fits(key: str, known: ApiKey | None, now: datetime) -> bool:
    """Whether this is that key and it is active; takes as long where there is none."""
    expected = known.hash if known else bytes(32)
    equal = hmac.compare_digest(hash_of(key), expected)
    return equal and known is not None and known.state(now) == "active"


class KeyRefusal(StrEnum):
    """Why a service was refused; the word is in `provisioning keys refusals`, and in answers of 403 and 409."""

    WRONG_KEY = "wrong_key"
    TOO_MANY_REQUESTS = "too_many_requests"
    SCOPE_MISSING = "scope_missing"
    OUT_OF_REACH = "out_of_reach"
    NOT_A_TENANT_DATABASE = "not_a_tenant_database"
    REQUEST_DIFFERS = "request_differs"
    SLUG_TAKEN = "slug_taken"
    DATABASE_TAKEN = "database_taken"
    ORGANIZATION_TAKEN = "organization_taken"
    ORGANIZATION_FIXED = "organization_fixed"
    TOO_MANY_WITHOUT_DATABASE = "too_many_without_database"
    REGISTRY_IN_DOUBT = "registry_in_doubt"
    REGISTRY_REFUSED = "registry_refused"


@dataclass(frozen=True, slots=True)
class RefusalKind:
    """What makes two refusals the same kind, which is counted once an hour. Empty texts: not known, or many.

    Args:
        reason: a `KeyRefusal`, or a word of a later version.
        api_key_id: whose key; empty where it was no valid one.
        route: method and pattern of the path.
        tenant: as it was asked for.
    """

    hour: datetime
    reason: str
    status: int
    api_key_id: str
    address: str
    route: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often a service was refused in one way within an hour.

    Args:
        detail: what the caller was told, the last time.
        request_id: of the last time, as in the server's log.
    """

    kind: RefusalKind
    times: int
    first_at: datetime
    last_at: datetime
    detail: str
    request_id: str
