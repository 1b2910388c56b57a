"""What a stand-in Clerk instance is like."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClerkOptions:
    """Settings of a stand-in Clerk.

    Args:
        environment_type: what `GET /instance` says: `development` or `production`.
        requests_per_10_seconds: calls allowed to the instance in 10 s (Clerk: 100 in development, 1,000 in
            production); more answer 429. None: no limit.
        updates_per_10_seconds: updates allowed to one user or organization in 10 s (Clerk: 10). None: no
            limit.
        organization_slugs: False as in applications where Clerk has slugs off: answers then hold none.
        max_allowed_memberships: the membership limit that new organizations get.
        session_custom_claims: adds `twenty_workspace_id` from the organization's public metadata to tokens.
        state_file: where `save` keeps the state; read back at the next start.
        seed: makes the ids repeatable.
    """

    environment_type: str = "development"
    requests_per_10_seconds: int | None = None
    updates_per_10_seconds: int | None = None
    organization_slugs: bool = True
    max_allowed_memberships: int = 1000
    session_custom_claims: bool = False
    state_file: Path | None = None
    seed: int = 0
