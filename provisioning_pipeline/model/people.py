"""People as Clerk knows them, and the one role of Twenty's that everything here depends on."""

from dataclasses import dataclass
from typing import Final, Literal

ADMIN_ROLE: Final = "Admin"
"""The label of the role that Twenty gives a workspace's creator; it may change every setting."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A person in an organization. `created_at` is in milliseconds since 1970."""

    user_id: str
    role: str
    banned: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class User:
    """A person. `verified_email` is the primary e-mail in lower case if Clerk verified it, else None."""

    user_id: str
    verified_email: str | None
    first_name: str
    last_name: str
    banned: bool


@dataclass(frozen=True, slots=True)
class Departure:
    """How somebody is gone from an organization, as a direct look at that person confirmed it.

    `changed_at` is when, in milliseconds since 1970, if Clerk says so.
    """

    kind: Literal["deleted", "banned", "left"]
    changed_at: int | None

    @property
    def why(self) -> str:
        """What befell them, to go after a name."""
        return {"deleted": "was deleted", "banned": "is banned", "left": "is no longer a member"}[self.kind]
