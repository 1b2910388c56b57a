"""What the role that opens tenant databases may do beyond its work, and that in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class RoleRights:
    """What a role may do that opening tenant databases needs none of.

    Args:
        name: the role.
        superuser: then the rest is empty: it may do everything.
        attributes: in PostgreSQL's words.
        roles: those of which it is a member, that may do more than it should.
        databases: those that it owns, itself or as a member.
        tables: of schema core in the database that was asked, that it owns.
    """

    name: str
    superuser: bool
    attributes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


def too_much(rights: RoleRights) -> str | None:
    """What the role may do beyond its work, in words that follow its name; None: nothing."""
    if rights.superuser:
        return "is a superuser"
    found = [
        *([f"has {', '.join(rights.attributes)}"] if rights.attributes else []),
        *([f"is a member of {_some(rights.roles)}"] if rights.roles else []),
        *([f"owns the databases {_some(rights.databases)}"] if rights.databases else []),
        *([f"owns {_some(rights.tables)}"] if rights.tables else []),
    ]
    return ", ".join(found) or None


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join([*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])])
