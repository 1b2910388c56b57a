"""What services that come with API keys are refused."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
        hour: in which they were.
        reason: a `KeyRefusal`, or a word of a later version.
        status: HTTP status of the answer.
        api_key_id: whose key; empty where it was no valid one.
        address: of the connection.
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
