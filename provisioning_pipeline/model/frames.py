"""The columns of each snapshot. A frame always has all of its columns, also when it has no row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.model.fault import Fault

Columns = Mapping[str, str]
"""Column name → dtype."""

INVALID, CLOSED = "invalid", "closed"
"""States of a database to which no one can connect: its DROP was interrupted, or it takes no connections."""

DATABASES: Final[Columns] = {
    "database_name": "object",
    "trouble": "object",  # INVALID or CLOSED; None where one can connect
}
"""Tenant databases on the cluster; templates are not among them."""

REGISTRY: Final[Columns] = {
    "database_name": "object",  # text, the join key
    "slug": "object",
    "name": "object",
    "status": "object",
    "admin_email": "object",  # of the registry's own admin user, lower case; None when it names none
    "admin_name": "object",
    "clerk_org_id": "object",
    "workspace_id": "object",  # what the registry believes; uuid as text
    "twenty_admin_email": "object",  # the admin that the tenant manager named over HTTP, in a column of ours
}
"""Rows of the tenant manager's registry. `database_url` is never read."""

LINKS: Final[Columns] = {
    "database_name": "object",
    "slug": "object",
    "server": "object",  # name of the Twenty server
    "subdomain": "object",
    "workspace_id": "object",  # uuid as text
    "admin_user_id": "object",  # Twenty user id of the admin, uuid as text
    "admin_email": "object",
    "login_proved": "object",  # bool: the last proof of login still stands
    "open_intent": "object",  # bool: a creation was begun and its answer was never stored
    "clerk_org_id": "object",
    "invite_link_opened": "object",  # bool: we turned the public invite link on and have to turn it off again
    "members_seen": "object",  # bool: its members were compared with Clerk's at least once
    "default_role_lent": "object",  # bool: we gave the workspace another default role and have to give its own back
    "asked_admin_email": "object",  # the admin that the tenant manager named over HTTP, lower case
    "workspace_url": "object",  # where one signs in to it, as Twenty said it
    "restarts": "object",  # int: how many workspaces it had before and lost
    "registered": "object",  # bool: the tenant had a registry row at least once
    "registry_row_gone": "object",  # bool: a run took it as settled that this row was taken away
}
"""Our own rows: which workspace on which server is whose."""

WORKSPACES: Final[Columns] = {
    "server": "object",
    "workspace_id": "object",
    "subdomain": "object",
    "activation_status": "object",
    "deleted": "object",  # bool
    "has_metadata": "object",  # bool: objectMetadata rows exist, so it was made by Twenty itself
    "created_at": "object",  # datetime of one that was never activated or never paid for, else None
    "free_at": "object",  # datetime at which Twenty takes the activation of one under way for crashed, else None
    "free_in": "object",  # seconds until then by the clock of the server's database, at most 0 when it is past
}
"""Every workspace of every reachable Twenty server."""

STALE_ACTIVATION: Final = timedelta(minutes=5)
"""So long after it began, Twenty takes no second activation of a workspace unless the first fails (source only)."""

SERVICE_ACCESS: Final[Columns] = {
    "server": "object",
    "workspace_id": "object",
    "member": "object",  # bool: our account has a membership
    "manages": "object",  # bool: by its role there it may change all settings
    "role": "object",  # label of its role; None when there is none
    "invited": "object",  # bool: it has an invitation that is still good, so that it joins by signing in
    "kept_out": "object",  # the `Reason` why a setting of the workspace keeps it from signing in; None: none does
}
"""The workspaces of which our own account is a member, or to which it is invited."""

INVITATIONS: Final[Columns] = {
    "server": "object",
    "workspace_id": "object",
    "email": "object",  # of the invited person, lower case
    "role": "object",  # label of the role that it gives; None when it names none that is there
}
"""The personal invitations that are still good. The holder of an account with that e-mail joins by signing in."""

FLAGS: Final[Columns] = {
    "server": "object",
    "key": "object",
    "user_id": "object",
    "workspace_id": "object",
    "value": "object",  # JSON value as Python
}
"""Every onboarding row of every reachable Twenty server."""

ORGANIZATIONS: Final[Columns] = {
    "organization_id": "object",
    "name": "object",
    "slug": "object",  # None where Clerk has slugs off
    "workspace_id": "object",  # public_metadata.twenty_workspace_id as text, whatever it holds; None when absent
}
"""Organizations at Clerk."""

MEMBERSHIPS: Final[Columns] = {
    "organization_id": "object",
    "user_id": "object",
    "role": "object",  # as Clerk writes it, for example org:admin
    "created_at": "int64",  # milliseconds since 1970
}
"""Who belongs to which organization at Clerk, each pair once."""

CLERK_USERS: Final[Columns] = {
    "user_id": "object",
    "email": "object",  # the primary e-mail, lower case, if Clerk verified it; else None
    "first_name": "object",
    "last_name": "object",
    "banned": "object",  # bool
    "external_id": "object",
}
"""People at Clerk."""

TWENTY_USERS: Final[Columns] = {
    "server": "object",
    "user_id": "object",  # uuid as text
    "email": "object",  # lower case
}
"""Every account of every reachable Twenty server, deleted ones left out."""

TWENTY_MEMBERS: Final[Columns] = {
    "server": "object",
    "workspace_id": "object",
    "user_id": "object",
    "role": "object",  # label of the role in that workspace; None when there is none
}
"""Who belongs to which workspace, by Twenty's own rows; deleted memberships and accounts left out."""

HALF_MEMBERS: Final[Columns] = {
    "server": "object",
    "workspace_id": "object",
    "user_id": "object",
    "email": "object",  # of the account, lower case
    "record": "object",  # missing: there is none; deleted: it is marked as deleted; nameless: living, without any name
}
"""Memberships of our workspaces with a wrong member record; with the first two the person cannot come in."""

BROKEN_RECORDS: Final = frozenset({"missing", "deleted"})
"""States of a member record with which the person cannot come in."""

MEMBER_STATUSES: Final[Columns] = {
    "server": "object",
    "workspace_id": "object",
    "user_id": "object",
    "status": "object",  # what Twenty would show this member, or UNKNOWN_STEP
    "keys": "object",  # tuple of the pending keys, sorted
    "unknown": "object",  # tuple of those among them that this version's order does not know
}
"""What every member of every workspace would see, deleted workspaces left out."""

USER_LINKS: Final[Columns] = {
    "server": "object",
    "clerk_user_id": "object",
    "twenty_user_id": "object",
}
"""Our own rows: which Clerk user is which Twenty account."""

MEMBER_LINKS: Final[Columns] = {
    "database_name": "object",
    "clerk_user_id": "object",
    "twenty_user_id": "object",
    "email": "object",  # of the Twenty account when it was linked, lower case
    "first_name": "object",  # as we last set it in Twenty
    "last_name": "object",
    "created_at": "int64",  # milliseconds since 1970, when it was linked
}
"""Our own rows: which Clerk member of a tenant is which member of its workspace. No one else is ever removed."""

MEMBER_INTENTS: Final[Columns] = {
    "database_name": "object",
    "clerk_user_id": "object",
    "twenty_user_id": "object",  # None: the account with this e-mail
    "email": "object",  # of the Twenty account, lower case
    "begun_at": "int64",  # milliseconds since 1970
}
"""Our own rows: Clerk members that a run began to let into a workspace and has not linked. Oldest first."""

SERVERS: Final[Columns] = {
    "server": "object",
    "database_name": "object",  # of the server's own database
    "dedicated": "object",  # bool: that database is a tenant's
    "capacity": "object",  # int or None for no limit of ours
    "workspaces": "object",  # int, not counting deleted ones
    "tenants": "object",  # regular expression over slugs, or None
    "reason": "object",  # why it cannot be used now (a Reason), or None
    "message": "object",
}
"""The Twenty servers, whether they can be read, and how much room they have."""


def frame(columns: Columns, rows: Iterable[Sequence[Any]] | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with exactly these columns, in this order, whatever the rows are."""
    # dtype at construction: otherwise None beside numbers becomes NaN
    return pd.DataFrame(list(rows), columns=list(columns), dtype=object)


def frame_with_shared_values(columns: Columns, rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """The frame of these rows, in which equal values of a column are one object.

    From the wire each row comes with texts of its own: of a large fleet these take a tenth of the memory of a run.
    """
    found = list(zip(*rows, strict=True)) or [()] * len(columns)
    shared: dict[str, pd.Series[Any]] = {}
    for (name, dtype), values in zip(columns.items(), found, strict=True):
        known: dict[Any, Any] = {}
        shared[name] = pd.Series(list(map(known.setdefault, values, values)), dtype=dtype)
    return pd.DataFrame(shared, copy=False)


def records(snapshot: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dictionaries, missing values as None."""
    clean = snapshot.astype(object).where(snapshot.notna(), None)
    names = [str(name) for name in clean.columns]
    columns = [clean.iloc[:, number].tolist() for number in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class ClerkSnapshot:
    """Clerk at one time; its lists are read one beside the other, so that one may know somebody whom another does not.

    Args:
        organizations, memberships, users: ORGANIZATIONS, MEMBERSHIPS, CLERK_USERS.
        asked: the organizations whose members were read; None: those of the whole instance.
        unread: organization id → why its members could not be read; there are no rows of it in `memberships`.
        fault: why nothing could be read at all.
        doubt: why the reading is not proved whole; then nobody may be removed by it.
    """

    organizations: pd.DataFrame
    memberships: pd.DataFrame
    users: pd.DataFrame
    asked: frozenset[str] | None
    unread: Mapping[str, Fault] = field(default_factory=dict)
    fault: Fault | None = None
    doubt: str | None = None


@dataclass(frozen=True)
class TwentySnapshot:
    """All servers at one time; the frames are those of `model.frames`.

    Args:
        service_users: server → user ids of our account there.
        deleted_in_use: server → workspaces that are marked as deleted although they have members.
        lost_accounts: servers on which our account was deleted, with its last workspace.
        half_members: empty before `with_half_members`.
        unreadable: server → how many workspaces there have member records that we may not read.
    """

    servers: pd.DataFrame
    workspaces: pd.DataFrame
    flags: pd.DataFrame
    members: pd.DataFrame
    users: pd.DataFrame
    service_users: Mapping[str, tuple[str, ...]]
    service_access: pd.DataFrame
    invitations: pd.DataFrame
    deleted_in_use: Mapping[str, Sequence[Mapping[str, Any]]]
    lost_accounts: frozenset[str]
    half_members: pd.DataFrame = field(default_factory=lambda: frame(HALF_MEMBERS, []))
    unreadable: Mapping[str, int] = field(default_factory=dict)
