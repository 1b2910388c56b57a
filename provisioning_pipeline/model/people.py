"""People as Clerk knows them."""

from dataclasses import dataclass


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
