"""What was so in a throw-away workspace before it was locked or deleted."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioning_pipeline.clients.twenty.accounts import Account, Token, WorkspaceAddress
from provisioning_pipeline.clients.twenty.members import RosterEntry
from provisioning_pipeline.model.access_lock import LockedItem


@dataclass(frozen=True, slots=True)
class MadeKey:
    """An API key with what a program sends."""

    id: str
    token: Token


@dataclass(frozen=True, slots=True)
class PersonBefore:
    """A member as they were, with a token and the step of the wizard from then."""

    account: Account
    entry: RosterEntry
    token: Token
    status: str | None


@dataclass(frozen=True, slots=True)
class Locked:
    """What a lock took.

    Args:
        people: an Admin and a Member who were there before.
        key: an API key of before.
        items: what the lock took, of these and of everyone else there.
    """

    people: tuple[PersonBefore, ...]
    key: MadeKey
    items: tuple[LockedItem, ...]


@dataclass(frozen=True, slots=True)
class Deleted:
    """A workspace that was deleted.

    Args:
        alone: a person who was in no other workspace; `elsewhere`: one who is in another, too.
        tokens: of before, by whose they are.
    """

    address: WorkspaceAddress
    alone: Account
    elsewhere: Account
    tokens: Mapping[str, Token]
    key: MadeKey
