"""Clerk's organizations and the people that are read in bulk."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from provisioning_pipeline.model.registry import registry_status

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
    """How a person is gone from an organization, as a member check confirmed it.

    `changed_at` is when, in milliseconds since 1970, if Clerk says so.
    """

    kind: Literal["deleted", "banned", "left"]
    changed_at: int | None

    @property
    def why(self) -> str:
        """What befell them, to go after a name."""
        return {"deleted": "was deleted", "banned": "is banned", "left": "is no longer a member"}[self.kind]


class Ownership(StrEnum):
    """What an account at Twenty proves about its address."""

    PROVED = "proved"
    """We made it, or an operator vouched for it, or believes Twenty about its mailbox."""
    UNPROVED = "unproved"
    """It was made elsewhere: who has its password need not be the person of that address."""
    UNCHECKED = "unchecked"
    """We do not know yet who made it; signing in with the password that we derive shows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the ledger knows of who made an account.

    Args:
        email: of the account when that was seen, lower case; it holds for that address alone.
        ours: our derived password let in.
        clerk_user_id: the user that we made it for; None when only a login showed that we did.
    """

    email: str
    ours: bool
    clerk_user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Another e-mail that we gave an account at Twenty, or were about to: it counts once the account has it.

    Args:
        email: the new one, lower case.
        password_email: the address from which its password is derived; Twenty keeps the password.
        clerk_user_id: the user at Clerk who has the new address, verified.
    """

    email: str
    password_email: str
    clerk_user_id: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that tells whose an account at Twenty is.

    Args:
        email: of the account now, lower case.
        verified: Twenty says that its mailbox was verified.
        created_at: when it was made, according to Twenty.
        origin: what the ledger knows of who made it, if anything.
        vouched_email: the address for which an operator vouched for this account, if any.
        move: how it got the e-mail that it has now, if that was our doing.
        workspaces: how many it belongs to on its server.
    """

    email: str
    verified: bool
    created_at: datetime
    origin: Origin | None = None
    vouched_email: str | None = None
    move: Move | None = None
    workspaces: int = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant that has an organization by our ledger, by its registry row, or by both.

    Args:
        database_name: the tenant; None: a registry row that names no database.
        linked: the ledger gives the organization to the tenant.
        named: the organization that this row names, or None.
        status: of this row, or None.
        given_up: the row named it once, and names none any more; it still counts where no other row names it.
    """

    organization_id: str
    database_name: str | None
    linked: bool
    registered: bool
    named: str | None
    status: str | None
    given_up: bool = False

    def stands(self, aside: Collection[str], kept: Collection[str] = ()) -> bool:
        """Whether the tenant still has the organization by it.

        Not if it is excluded (`aside` are the statuses that say so, as policies compare them), if its row is gone, or
        if its row names another organization by now. A row in `kept`, database names, was lost for a moment.
        """
        if self.named and self.named != self.organization_id:
            return False
        if not self.registered:
            return self.database_name in kept
        return registry_status(self.status) not in aside
