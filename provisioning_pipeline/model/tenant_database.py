"""What the inspection of a tenant database finds: workspaces, their people, onboarding rows.

A tenant manager copies Twenty's schema `core` into each tenant's own database and may insert a workspace there by SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.onboarding import Flag


@dataclass(frozen=True, slots=True)
class FoundMember:
    """A person with a membership of a workspace in a tenant database.

    Args:
        user_id: their row of `core."user"`.
        email: in lower case.
        first_name, last_name: of the member record, else of the user; may be empty.
        role: label of their role, whichever workspace that role says it belongs to; None when there is none.
        has_record: the workspace's own schema has a member record of theirs.
    """

    user_id: str
    email: str
    first_name: str
    last_name: str
    role: str | None
    has_record: bool


@dataclass(frozen=True, slots=True)
class FoundWorkspace:
    """A workspace row in a tenant database, and what of a working workspace is there.

    Args:
        has_metadata: there are rows of `core."objectMetadata"` for it.
        has_schema: its schema exists, by its `databaseSchema` or by the name that Twenty would give it.
        has_own_roles: neither its default role nor one of its members' roles is another workspace's, or gone.
    """

    workspace_id: str
    display_name: str
    activation_status: str
    has_metadata: bool
    has_schema: bool
    has_own_roles: bool
    members: tuple[FoundMember, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """One inspection of one tenant database.

    Args:
        evidence: shows later whether it was written to since; taken before the inspection.
        looked_at: by the clock of the ledger's database.
        vanished: dropped between listing and looking.
        reason, message: why it could not be read, or not in full; None and empty when all is well.
        workspaces: those that are not deleted, by id.
        flags: onboarding rows, pending or not, each with its `row_id`.
        owners: roles that own the database, its schema core or what was read of it, superusers left out.
    """

    database_name: str
    evidence: str
    looked_at: datetime
    vanished: bool = False
    reason: Reason | None = None
    message: str = ""
    workspaces: tuple[FoundWorkspace, ...] = ()
    flags: tuple[Flag, ...] = ()
    owners: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LastInspection:
    """What is stored of the last inspection of a tenant database.

    Args:
        evidence: from before the inspection, and the policy under which it was made.
        looked_at: by the clock of the ledger's database.
        settled: it left nothing to be done.
    """

    evidence: str
    looked_at: datetime
    settled: bool


_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class RoleRights:
    """What a role may do that opening tenant databases needs none of.

    Args:
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
    return first_few(names, _MOST_NAMED, more=", ")
