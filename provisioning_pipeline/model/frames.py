"""The columns of each snapshot. A frame always has all of its columns, also when it has no row.

Columns hold objects: a missing value stays None.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.model.fault import Fault

Columns = tuple[str, ...]

INVALID, CLOSED = "invalid", "closed"
"""States of a database to which no one can connect: its DROP was interrupted, or it takes no connections."""

DATABASES: Final[Columns] = ("database_name", "trouble", "oid")
"""Tenant databases on the cluster; templates are not among them. `trouble`: INVALID, CLOSED, or None.

`oid` is the cluster's own number for it, which stays when it is renamed; None where that was not read.
"""

REGISTRY: Final[Columns] = (
    "database_name",  # text, the join key
    "slug",
    "name",
    "status",
    "admin_email",  # of the registry's own admin user, lower case; None when it names none
    "admin_name",
    "clerk_org_id",
    "workspace_id",  # what the registry believes; uuid as text
    "twenty_admin_email",  # the admin that the tenant manager named over HTTP, in a column of ours
    "registry_id",  # the row's own id as text; None where the table has none
)
"""Rows of the tenant manager's registry. `database_url` is never read."""

LINKS: Final[Columns] = (
    "database_name",
    "slug",
    "server",  # name of the Twenty server
    "subdomain",
    "workspace_id",  # uuid as text
    "admin_user_id",  # Twenty user id of the admin, uuid as text
    "admin_email",
    "login_proved",  # bool: the last proof of login still stands
    "open_intent",  # bool: a creation was begun and its answer was never stored
    "clerk_org_id",
    "invite_link_opened",  # bool: we turned the public invite link on and have to turn it off again
    "members_seen",  # bool: its members were compared with Clerk's at least once
    "default_role_lent",  # bool: we gave the workspace another default role and have to give its own back
    "asked_admin_email",  # the admin that the tenant manager named over HTTP, lower case
    "workspace_url",  # where one signs in to it, as Twenty said it
    "restarts",  # int: how many workspaces it had before and lost
    "registered",  # bool: the tenant had a registry row at least once
    "registry_row_gone_at",  # datetime: since when this row is missing; None: it is there, or its loss is not believed
    "registry_row_settled",  # bool: it is settled that it was taken away
    "database_oid",  # int: the number of its database on the cluster when a run last looked; None: not known
    "registry_id",  # the id of its registry row when a run last read it, as text
    "left_for",  # the tenant that had this name goes by that one now
)
"""Our own rows: which workspace on which server is whose."""

WORKSPACES: Final[Columns] = (
    "server",
    "workspace_id",
    "subdomain",
    "activation_status",
    "deleted",  # bool
    "has_metadata",  # bool: objectMetadata rows exist, so it was made by Twenty itself
    "created_at",  # datetime of one that was never activated or never paid for, else None
    "free_at",  # datetime at which Twenty takes the activation of one under way for crashed, else None
    "free_in",  # seconds until then by the clock of the server's database, at most 0 when it is past
)
"""Every workspace of every reachable Twenty server."""

STALE_ACTIVATION: Final = timedelta(minutes=5)
"""So long after it began, Twenty takes no second activation of a workspace unless the first fails (source only)."""

SERVICE_ACCESS: Final[Columns] = (
    "server",
    "workspace_id",
    "member",  # bool: our account has a membership
    "manages",  # bool: by its role there it may change all settings
    "role",  # label of its role; None when there is none
    "invited",  # bool: it has an invitation that is still good, so that it joins by signing in
    "kept_out",  # the `Reason` why a setting of the workspace keeps it from signing in; None: none does
)
"""The workspaces of which our own account is a member, or to which it is invited."""

INVITATIONS: Final[Columns] = ("server", "workspace_id", "email", "role")
"""The personal invitations that are still good. The holder of an account with that e-mail joins by signing in.

`email` is in lower case; `role` the label of the role that it gives, None when it names none that is there.
"""

FLAGS: Final[Columns] = ("server", "key", "user_id", "workspace_id", "value")
"""Every onboarding row of every reachable Twenty server; `value` is the JSON value as Python."""

ORGANIZATIONS: Final[Columns] = ("organization_id", "name", "slug", "workspace_id")
"""Organizations at Clerk. `slug` is None where Clerk has slugs off.

`workspace_id` is public_metadata.twenty_workspace_id as text, whatever it holds; None when absent.
"""

MEMBERSHIPS: Final[Columns] = ("organization_id", "user_id", "role", "created_at")
"""Who belongs to which organization at Clerk, each pair once.

`role` is as Clerk writes it, for example org:admin; `created_at` in milliseconds since 1970.
"""

CLERK_USERS: Final[Columns] = ("user_id", "email", "first_name", "last_name", "banned", "external_id")
"""People at Clerk. `email` is the primary e-mail, lower case, if Clerk verified it; else None. `banned` is a bool."""

TWENTY_USERS: Final[Columns] = ("server", "user_id", "email")
"""Every account of every reachable Twenty server, deleted ones left out: uuid as text, e-mail in lower case."""

TWENTY_MEMBERS: Final[Columns] = ("server", "workspace_id", "user_id", "role")
"""Who belongs to which workspace, by Twenty's own rows; deleted memberships and accounts left out.

`role` is the label of the role in that workspace; None when there is none.
"""

HALF_MEMBERS: Final[Columns] = ("server", "workspace_id", "user_id", "email", "record")
"""Memberships of our workspaces with a wrong member record; `email` is the account's, in lower case.

`record` is `missing` where there is none, or `deleted` where it is marked as deleted, and the person cannot come in; or
`nameless`: living, without any name.
"""

MEMBER_NAMES: Final[Columns] = ("server", "workspace_id", "user_id", "first_name", "last_name")
"""What the members of our workspaces are called in their member records; read only where a policy asks for it."""

BROKEN_RECORDS: Final = frozenset({"missing", "deleted"})
"""States of a member record with which the person cannot come in."""

MEMBER_STATUSES: Final[Columns] = ("server", "workspace_id", "user_id", "status", "keys", "unknown")
"""What every member of every workspace would see, deleted workspaces left out.

`status` is what Twenty would show this member, or UNKNOWN_STEP; `keys` a tuple of the pending keys, sorted; `unknown` a
tuple of those among them that this version's order does not know.
"""

USER_LINKS: Final[Columns] = ("server", "clerk_user_id", "twenty_user_id")
"""Our own rows: which Clerk user is which Twenty account."""

MEMBER_LINKS: Final[Columns] = (
    "database_name",
    "clerk_user_id",
    "twenty_user_id",
    "email",  # of the Twenty account when it was linked, lower case
    "first_name",  # as we last set it in Twenty
    "last_name",
    "created_at",  # milliseconds since 1970, when it was linked
)
"""Our own rows: which Clerk member of a tenant is which member of its workspace. No one else is ever removed."""

MEMBER_INTENTS: Final[Columns] = ("database_name", "clerk_user_id", "twenty_user_id", "email", "begun_at")
"""Our own rows: Clerk members that a run began to let into a workspace and has not linked. Oldest first.

`email` is the Twenty account's, in lower case; without a `twenty_user_id` the account with this e-mail is meant.
`begun_at` is in milliseconds since 1970.
"""

SERVERS: Final[Columns] = (
    "server",
    "database_name",  # of the server's own database
    "dedicated",  # bool: that database is a tenant's
    "capacity",  # int or None for no limit of ours
    "workspaces",  # int, not counting deleted ones
    "tenants",  # regular expression over slugs, or None
    "reason",  # why it cannot be used now (a Reason), or None
    "message",
)
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
    for name, values in zip(columns, found, strict=True):
        known: dict[Any, Any] = {}
        shared[name] = pd.Series(list(map(known.setdefault, values, values)), dtype=object)
    return pd.DataFrame(shared, copy=False)


def records(snapshot: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dictionaries, missing values as None."""
    clean = snapshot.astype(object).where(snapshot.notna(), None)
    names = [str(name) for name in clean.columns]
    columns = [clean.iloc[:, number].tolist() for number in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class ClerkSnapshot:
    """Clerk at one time; its lists are read one beside the other, so that one may know a person that another does not.

    Args:
        asked: the organizations whose members were read; None: those of the whole instance.
        unread: organization id → why its members could not be read; there are no rows of it in `memberships`.
        fault: why nothing could be read at all.
        doubt: why the reading is not proved whole; then it removes no one.
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
        member_names: empty before `with_member_names`.
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
    member_names: pd.DataFrame = field(default_factory=lambda: frame(MEMBER_NAMES, []))
    unreadable: Mapping[str, int] = field(default_factory=dict)
