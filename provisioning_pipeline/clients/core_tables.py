"""Which tables and columns of Twenty's schema `core` are read in a tenant's database, and what an older copy lacks."""

from collections.abc import Mapping
from typing import Final

from provisioning_pipeline.clients.tenant_catalogue import Table

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "workspace": ("id",),
    "user": ("id", "email"),
    "userWorkspace": ("userId", "workspaceId"),
    "keyValuePair": ("id", "key", "value", "type", "userId", "workspaceId"),
    "role": ("id", "label"),
    "roleTarget": ("roleId", "userWorkspaceId"),
    "userWorkspaceRole": ("roleId", "userWorkspaceId"),
    "objectMetadata": ("workspaceId",),
}
"""Without these columns nothing of a table is read. Every other column is taken as NULL where it is missing."""
_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "workspace": ("displayName", "activationStatus"),
    "userWorkspace": ("id",),
}
"""Told where they are missing, like those that are needed; the others older versions do well without."""
READ: Final[Mapping[str, tuple[str, ...]]] = {
    **_NEEDED,
    "workspace": ("id", "displayName", "activationStatus", "databaseSchema", "defaultRoleId", "deletedAt"),
    "user": ("id", "email", "firstName", "lastName", "deletedAt"),
    "userWorkspace": ("id", "userId", "workspaceId", "deletedAt"),
    "role": ("id", "label", "workspaceId", "canUpdateAllSettings"),
}
"""Every column that is read, where it is there."""
MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "workspaceMember": ("userId", "nameFirstName", "nameLastName", "deletedAt")
}
"""The same of the workspaces' own schemas."""
ROLES: Final = ("roleTarget", "userWorkspaceRole")
"""Where the roles of members are: in newer and in older versions."""
_MAY_BE_MISSING: Final = frozenset({"objectMetadata", *ROLES})


def is_whole(table: Table) -> bool:
    """Whether it has the columns without which nothing of it is read."""
    return table.columns.keys() >= set(_NEEDED[table.name])


def missing(tables: Mapping[str, Table]) -> list[str]:
    """Tables, and columns of tables that are there, of which we would have read something."""
    found = [f'"{name}"' for name in _NEEDED if name not in tables.keys() | _MAY_BE_MISSING]
    if not any(name in tables for name in ROLES):
        found.append(f'"{ROLES[0]}"')
    for name in (name for name in _NEEDED if name in tables):
        columns = (*_NEEDED[name], *_TOLD.get(name, ()))
        found += [f'"{name}"."{column}"' for column in columns if column not in tables[name].columns]
    return found
