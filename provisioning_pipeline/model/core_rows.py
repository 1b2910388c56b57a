"""Rows of a schema `core`, each as it stands in its table, and the workspaces and people that they make together.

Ids are compared as text: a hand-made copy has them in types of its own, and maybe no key that forbids a row twice.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from provisioning_pipeline.model.tenant_database import FoundMember, FoundWorkspace

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class WorkspaceRow:
    """Of `core.workspace`, not deleted.

    Args:
        schema: what its `databaseSchema` says.
    """

    id: str
    display_name: str = ""
    activation_status: str = ""
    schema: str | None = None
    default_role_id: str | None = None


@dataclass(frozen=True, slots=True)
class UserRow:
    """Of `core."user"`, not deleted; the e-mail in lower case, or empty."""

    id: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""


@dataclass(frozen=True, slots=True)
class MembershipRow:
    """Of `core."userWorkspace"`, not deleted."""

    id: str | None
    user_id: str
    workspace_id: str


@dataclass(frozen=True, slots=True)
class RoleRow:
    """Of `core.role`.

    Args:
        all_settings: `canUpdateAllSettings` as text, whatever its type; the greater one is the stronger.
    """

    id: str
    label: str | None
    workspace_id: str | None = None
    all_settings: str | None = None


@dataclass(frozen=True, slots=True)
class RoleOfMemberRow:
    """Of `core."roleTarget"`, in older versions `core."userWorkspaceRole"`."""

    role_id: str
    membership_id: str


@dataclass(frozen=True, slots=True)
class RecordRow:
    """Of the `workspaceMember` of one workspace, not deleted."""

    workspace_id: str
    user_id: str
    first_name: str = ""
    last_name: str = ""


@dataclass(frozen=True, slots=True)
class CoreRows:
    """All that was read of one database.

    Args:
        roles: None where there is no table to read them from.
        with_schema: workspaces that have a schema of their own.
    """

    workspaces: Sequence[WorkspaceRow] = ()
    users: Sequence[UserRow] = ()
    memberships: Sequence[MembershipRow] = ()
    roles: Sequence[RoleRow] | None = None
    roles_of_members: Sequence[RoleOfMemberRow] = ()
    with_metadata: Collection[str] = frozenset()
    with_schema: Collection[str] = frozenset()
    records: Sequence[RecordRow] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """What role a person has, and the workspaces that all their roles say they belong to."""

    label: str | None = None
    places: frozenset[str | None] = frozenset()


_NO_ROLE = _Held()


def found_workspaces(rows: CoreRows) -> tuple[FoundWorkspace, ...]:
    """The workspaces that these rows make, by id, each with its people by id. Of an id that is there twice, the first.

    It takes time by the number of rows alone, whatever they say: their owner may mean to waste it.
    """
    held = _held_roles(rows)
    own_roles = {(role.id, role.workspace_id) for role in rows.roles or ()}
    users = _firsts((user.id, user) for user in rows.users)
    records = _firsts(((record.workspace_id, record.user_id), record) for record in rows.records)
    memberships: defaultdict[str, list[tuple[_Held, UserRow]]] = defaultdict(list)
    for row in rows.memberships:
        if row.user_id in users:
            memberships[row.workspace_id].append((held.get(row.id, _NO_ROLE), users[row.user_id]))

    def found(workspace: WorkspaceRow) -> FoundWorkspace:
        by_label = sorted(memberships[workspace.id], key=lambda member: _none_last(member[0].label))
        people = _firsts((user.id, (role, user)) for role, user in by_label)
        default = workspace.default_role_id
        return FoundWorkspace(
            workspace_id=workspace.id,
            display_name=workspace.display_name,
            activation_status=workspace.activation_status,
            has_metadata=workspace.id in rows.with_metadata,
            has_schema=workspace.id in rows.with_schema,
            has_own_roles=(rows.roles is None or default is None or (default, workspace.id) in own_roles)
            and all(role.places <= {workspace.id} for role, _ in people.values()),
            members=tuple(
                _member(user, role, records.get((workspace.id, user_id)))
                for user_id, (role, user) in sorted(people.items())
            ),
        )

    workspaces = _firsts((workspace.id, workspace) for workspace in rows.workspaces)
    return tuple(found(workspace) for _, workspace in sorted(workspaces.items()))


def _member(user: UserRow, role: _Held, record: RecordRow | None) -> FoundMember:
    named = record if record and (record.first_name or record.last_name) else user
    return FoundMember(user.id, user.email, named.first_name, named.last_name, role.label, record is not None)


def _held_roles(rows: CoreRows) -> dict[str | None, _Held]:
    """Membership → its role: of several, one that may change all settings goes before others, then by label."""
    known = _firsts((role.id, role) for role in rows.roles or ())
    given: defaultdict[str | None, list[RoleRow]] = defaultdict(list)
    for row in rows.roles_of_members:
        given[row.membership_id].append(known.get(row.role_id, _GONE))
    return {membership: _held(roles) for membership, roles in given.items()}


def _held(roles: Sequence[RoleRow]) -> _Held:
    by_label = sorted(roles, key=lambda role: _none_last(role.label))
    # of those that are alike, max takes the first
    strongest = max(by_label, key=lambda role: (role.all_settings is not None, role.all_settings or ""))
    return _Held(strongest.label, frozenset(role.workspace_id for role in roles))


_GONE = RoleRow("", None)


def _firsts(pairs: Iterable[tuple[K, V]]) -> dict[K, V]:
    found: dict[K, V] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _none_last(text: str | None) -> tuple[bool, str]:
    return text is None, text or ""
