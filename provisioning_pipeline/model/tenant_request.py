"""What a tenant manager asks for over HTTP."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Registration:
    """What a tenant is to be. None leaves what is known as it is; a new tenant without a name gets its slug for one.

    `admin_email` is in lower case.
    """

    slug: str
    name: str | None
    database_name: str
    clerk_org_id: str | None
    admin_email: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and by what one request is told from another.

    Args:
        api_key_id: whose key it is.
        idempotency_key: the caller's own name for the request; None: it has none.
        fingerprint: hash of what is asked; the same for the same request.
    """

    api_key_id: str
    idempotency_key: str | None
    fingerprint: str


class Conflict(Exception):
    """A request that contradicts what is already there; its text says what, and what to do."""
