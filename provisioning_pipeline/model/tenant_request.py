"""What a tenant manager asks for over HTTP."""

from dataclasses import dataclass

from provisioning_pipeline.model.api_key import EVERY_TENANT, KeyRefusal, Reach


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
    reach: Reach = EVERY_TENANT


class Conflict(Exception):
    """A request that contradicts what is already there.

    Args:
        told: what contradicts it, and what to do.
        why: the same as one word.
    """

    def __init__(self, told: str, why: KeyRefusal = KeyRefusal.REGISTRY_REFUSED) -> None:
        super().__init__(told)
        self.why = why
