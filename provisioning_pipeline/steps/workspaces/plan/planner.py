"""Observed state and policy in, a plan per tenant out."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.decide.organizations import Match, choose_admin
from provisioning_pipeline.decide.placement import NoPlace, Placement
from provisioning_pipeline.model.change import (
    ADOPT_DATABASE,
    FOLLOW_ADDRESS,
    FOLLOW_DATABASE,
    FOLLOW_ORGANIZATION,
    Change,
)
from provisioning_pipeline.model.condition import (
    Condition,
    ConditionType,
    Reason,
    is_false,
    is_true,
    is_unknown,
)
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.names import display_name, name_of, subdomains
from provisioning_pipeline.model.onboarding import Flag, pending_for
from provisioning_pipeline.model.people import Evidence, Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, TenantPlan
from provisioning_pipeline.model.tenant_database import Inspection
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, STORE_LINK
from provisioning_pipeline.steps.workspaces.changes import (
    ACTIVATE_WORKSPACE,
    ADD_ADMIN,
    ADOPT_WORKSPACE,
    CREATE_WORKSPACE,
    REJOIN_WORKSPACE,
)
from provisioning_pipeline.steps.workspaces.plan.standing import Standing, moved_to, standing_of

_CLEARED = is_true(
    ConditionType.ONBOARDING_COMPLETE, Reason.STEPS_CLEARED, "No onboarding step was pending when a run last looked."
)
_DETECTED = ConditionType.DETECTED


@dataclass(frozen=True)
class Observed:
    """What planning uses besides the detected tenants; the frames are those of `model.frames`.

    Args:
        inspections: database name → inspection of the tenant's own database, where it was worth one.
        service_users: server → user ids of our account there.
        service_access: frame; in which workspaces our account may do something.
        organizations: database name → its organization at Clerk, or why none can be told.
        holders, users: who may be admin, for the organizations of tenants that lack one.
        member_links, taken_over: frame and rows; whose flags we read besides the admin's.
        everyone: policy: those of all members are.
        twenty_members: frame; who these are.
        registry_stores: the registry has a column for the workspace id.
        is_pending: whether a registry status is to become the ready one once its tenant is ready.
        admin_roles: the Clerk roles that make an admin, for people to read.
        old_names: database name → what its own database says that the tenant is called, where that counts.
        unproved: server, address, Clerk user → the account there that is known to prove nothing about its address.
    """

    servers: pd.DataFrame
    workspaces: pd.DataFrame
    flags: pd.DataFrame
    inspections: Mapping[str, Inspection]
    service_users: Mapping[str, tuple[str, ...]]
    service_emails: Mapping[str, str]
    service_access: pd.DataFrame
    organizations: Mapping[str, Match]
    holders: Mapping[str, tuple[Membership, ...] | AdminUnknown]
    users: Mapping[str, User]
    member_links: pd.DataFrame
    taken_over: Sequence[Mapping[str, Any]]
    everyone: bool
    twenty_members: pd.DataFrame
    registry_stores: bool
    admin_roles: str
    old_names: Mapping[str, str] = field(default_factory=dict)
    unproved: Callable[[str, str, str | None], Evidence | None] = lambda _server, _email, _user: None
    is_pending: Callable[[object], bool] = lambda _status: False


def databases_without_workspace(detected: Iterable[Detected]) -> tuple[str, ...]:
    """The tenant databases that may say what their workspace is to be called: those that have none yet."""
    return tuple(
        found.tenant.database_name
        for found in detected
        if found.eligible and not (found.link or {}).get("workspace_id")
    )


@dataclass(frozen=True, slots=True)
class _Registered:
    server: str
    workspace_id: str
    subdomain: str
    renamed_from: str | None


class Planner:
    """Plans tenants one by one, in the given order: each new one takes a place on a server."""

    def __init__(self, detected: Sequence[Detected], observed: Observed, placement: Placement) -> None:
        self._observed = observed
        self._servers = {str(row["server"]): row for row in records(observed.servers)}
        self._workspaces = {(row["server"], row["workspace_id"]): row for row in records(observed.workspaces)}
        self._access = {(row["server"], row["workspace_id"]): row for row in records(observed.service_access)}
        self._server_of = {row["workspace_id"]: row["server"] for row in records(observed.workspaces)}
        self._linked = {found.link["workspace_id"] for found in detected if found.link and not found.is_gone}
        self._left_by = {
            found.link["workspace_id"]: found.tenant.database_name for found in detected if found.link and found.is_gone
        }
        self._named = Counter(found.registry["workspace_id"] for found in detected if found.registry)
        self._flags, self._user_flags = _by_workspace_and_by_user(observed.flags)
        self._people = _people_with_flags(detected, observed)
        self._with_members = frozenset(observed.member_links["database_name"])
        self._placement = placement

    def tenant(self, found: Detected) -> TenantPlan:
        """What is to be done for one tenant, its members apart."""
        entry = self._tenant(found)
        before = (found.link or {}).get("clerk_org_id")
        if before and entry.tenant.clerk_org_id not in (None, before):
            changes = (FOLLOW_ORGANIZATION, *entry.changes)
            entry = replace(entry, organization_before=before, changes=changes)
        if found.moved_from:
            entry = replace(entry, moved_from=found.moved_from, changes=(FOLLOW_DATABASE, *entry.changes))
        return entry

    def _tenant(self, found: Detected) -> TenantPlan:
        link = found.link or {}
        match = self._observed.organizations.get(found.tenant.database_name)
        organization = match.organization_id if match else None
        entry = TenantPlan(
            tenant=found.tenant
            if found.tenant.clerk_org_id == organization
            else replace(found.tenant, clerk_org_id=organization),
            changes=(),
            adopt=False,
            server=link.get("server"),
            subdomains=(),
            workspace_id=link.get("workspace_id"),
            admin=AdminUnknown(Reason.WAITING, "Not looked for."),
            conditions=found.conditions,
        )
        if not found.eligible:
            return entry
        if link.get("workspace_id"):
            return self._existing(entry, found, link)
        return self._new(entry, found, link)

    # --- a tenant without a workspace ---------------------------------------------------------------------------

    def _new(self, entry: TenantPlan, found: Detected, link: Mapping[str, Any]) -> TenantPlan:
        name = found.tenant.database_name
        inspection = self._observed.inspections.get(name)
        if inspection and inspection.vanished:
            gone = is_false(
                _DETECTED,
                Reason.DATABASE_VANISHED,
                "The database was dropped while it was being looked at. If that was the tenant manager's own clean-up, "
                "it will be created again.",
            )
            return replace(entry, conditions=_with(entry.conditions, gone))
        wanted = self._observed.old_names.get(name) or (
            found.tenant.name if found.registry is not None else name_of(found.tenant.slug)
        )
        called = display_name(wanted, found.tenant.slug, found.tenant.database_name)
        entry = replace(
            entry,
            adopt=found.adopt,
            conditions=_with(
                entry.conditions, is_true(_DETECTED, Reason.DATABASE_PRESENT, f"Database {name} is on the cluster.")
            ),
            tenant=replace(entry.tenant, name=called.text),
            name_note=called.why,
        )
        place = self._registered_workspace(found) or self._under_way(link) or self._placement.place(found.tenant)
        adopting = (ADOPT_DATABASE,) if found.adopt else ()
        if isinstance(place, NoPlace):
            waiting = is_false(ConditionType.WORKSPACE_READY, place.reason, place.message)
            return replace(entry, changes=adopting, server=None, conditions=_with(entry.conditions, waiting))
        known = place if isinstance(place, _Registered) else None
        server = known.server if known else str(place)
        admin = admin_of(self._observed, found, entry.tenant.clerk_org_id, server)
        named = isinstance(admin, Admin)
        return replace(
            entry,
            changes=(
                *adopting,
                *((ADOPT_WORKSPACE,) if known else (CREATE_WORKSPACE, ACTIVATE_WORKSPACE)),
                *((ADD_ADMIN,) if named else ()),
                CLEAR_ONBOARDING,
                STORE_LINK,
                *((PROVE_LOGIN,) if named else ()),
            ),
            server=server,
            workspace_id=known.workspace_id if known else None,
            renamed_from=known.renamed_from if known else None,
            subdomains=(known.subdomain,)
            if known
            else subdomains(
                found.tenant.slug, entry.tenant.name, found.tenant.database_name, restarts=link.get("restarts", 0)
            ),
            admin=admin,
            conditions=entry.conditions
            if isinstance(admin, Admin)
            else _with(entry.conditions, is_false(ConditionType.LOGIN_PROVED, admin.reason, admin.message)),
        )

    def _under_way(self, link: Mapping[str, Any]) -> str | NoPlace | None:
        """The server of a creation that was begun; it is finished there and nowhere else."""
        if not link.get("open_intent"):
            return None
        trouble = self._server_trouble(str(link["server"]))
        return NoPlace(trouble.reason, trouble.message) if trouble else str(link["server"])

    def _registered_workspace(self, found: Detected) -> "_Registered | NoPlace | None":
        """The workspace that the registry names although it is not linked to this tenant.

        The ledger was lost, or the tenant's database was renamed: no database has the old name any more, and the row
        went on to name the workspace. While a server cannot be read, the workspace may be there, so nothing is made.
        """
        workspace_id = (found.registry or {}).get("workspace_id")
        if not workspace_id or workspace_id in self._linked:
            return None
        if self._named[workspace_id] > 1:
            return NoPlace(
                Reason.REGISTRY_AMBIGUOUS,
                f"Several registry rows name workspace {workspace_id}. Leave it in the row of its own tenant.",
            )
        server = self._server_of.get(workspace_id)
        if server is not None:
            row = self._workspaces[(server, workspace_id)]
            return (
                None
                if row["deleted"]
                else _Registered(server, workspace_id, row["subdomain"], self._left_by.get(workspace_id))
            )
        troubles = (self._server_trouble(name) for name in self._servers)
        trouble = next((trouble for trouble in troubles if trouble), None)
        return NoPlace(trouble.reason, trouble.message) if trouble else None

    # --- a tenant with a workspace ------------------------------------------------------------------------------

    def _existing(self, entry: TenantPlan, found: Detected, link: Mapping[str, Any]) -> TenantPlan:
        server, workspace_id = str(link["server"]), str(link["workspace_id"])
        if found.adopt:
            entry = replace(entry, adopt=True, changes=(ADOPT_DATABASE,))
        trouble = self._server_trouble(server)
        if trouble:
            return replace(entry, conditions=_with(entry.conditions, trouble))
        key = server, workspace_id
        row = self._workspaces.get(key)
        standing = standing_of(
            row,
            self._access.get(key),
            server,
            workspace_id,
            found.tenant.slug,
            self._observed.service_emails.get(server, ""),
        )
        if row is not None and not row["deleted"] and (address := moved_to(link, row)):
            entry = replace(entry, address=address, changes=(*entry.changes, FOLLOW_ADDRESS))
        if standing.closed:
            return replace(
                entry,
                conditions=_with(entry.conditions, standing.condition),
                look_again_seconds=standing.again_seconds,
            )
        return self._open(entry, found, link, standing)

    def _open(self, entry: TenantPlan, found: Detected, link: Mapping[str, Any], standing: Standing) -> TenantPlan:
        """What is to be done in a workspace in which something can be done."""
        server, workspace_id = str(link["server"]), str(link["workspace_id"])
        unfinished = standing.unfinished
        admin_user = link.get("admin_user_id")
        email = link.get("admin_email") if admin_user else None
        admin = Admin(email, "", "") if email else admin_of(self._observed, found, entry.tenant.clerk_org_id, server)
        pending = self._pending(found.tenant.database_name, server, workspace_id, admin_user)
        changes: list[Change] = []
        if standing.rejoins:
            changes.append(REJOIN_WORKSPACE)
        if unfinished:
            changes.append(ACTIVATE_WORKSPACE)
        if not admin_user and isinstance(admin, Admin):
            changes.append(ADD_ADMIN)
        if unfinished or standing.rejoins or pending or ADD_ADMIN in changes:
            changes.append(CLEAR_ONBOARDING)
        row = found.registry
        if row is not None and (
            (self._observed.registry_stores and row["workspace_id"] != workspace_id)
            or (link["login_proved"] and self._observed.is_pending(row["status"]))
        ):
            changes.append(STORE_LINK)
        if (
            (isinstance(admin, Admin) or self.goes_on_without(entry, admin))
            and not standing.unpaid
            and (not link["login_proved"] or {ADD_ADMIN, CLEAR_ONBOARDING} & set(changes))
        ):
            changes.append(PROVE_LOGIN)
        return replace(
            entry,
            changes=(*entry.changes, *changes),
            admin=admin,
            conditions=_with(
                entry.conditions,
                *_existing_conditions(None if self.goes_on_without(entry, admin) else admin, pending, standing),
            ),
            pending=() if unfinished else pending,
        )

    def goes_on_without(self, entry: TenantPlan, admin: Admin | AdminUnknown) -> bool:
        """Whether the account of each possible admin proves nothing, so that members' logins prove the workspace."""
        return (
            isinstance(admin, AdminUnknown)
            and admin.reason is Reason.ACCOUNT_UNPROVEN
            and entry.tenant.database_name in self._with_members
        )

    def _pending(
        self, database_name: str, server: str, workspace_id: str, admin_user: str | None
    ) -> tuple[tuple[str, ...], ...]:
        """The pending steps of each person of ours who has any."""
        of_workspace = self._flags[server, workspace_id]
        people = {*self._observed.service_users.get(server, ()), *self._people.get(database_name, ())}
        if admin_user:
            people.add(admin_user)
        pending = (
            pending_for(person, workspace_id, of_workspace + self._user_flags[server, person])
            for person in people
            if of_workspace or (server, person) in self._user_flags
        )
        return tuple(sorted(tuple(sorted(keys)) for keys in pending if keys))

    def _server_trouble(self, server: str) -> Condition | None:
        row = self._servers.get(server)
        if row is None:
            return is_false(
                ConditionType.WORKSPACE_READY,
                Reason.SERVER_NOT_CONFIGURED,
                f'The tenant lives on Twenty server "{server}", which is not in the settings. Put it back there. No '
                "workspace is moved to another server: docs/operations.md, Moves, says how it is done by hand.",
            )
        if row["reason"]:
            return is_unknown(ConditionType.WORKSPACE_READY, Reason(row["reason"]), str(row["message"]))
        return None


def admin_of(
    observed: Observed, found: Detected, organization: str | None, server: str, before: str | None = None
) -> Admin | AdminUnknown:
    """Who is to be a tenant's admin, by what Clerk and the registry say; the Clerk user who was it `before`, first."""
    registry = found.registry or {}
    ours = set(observed.service_emails.values())

    def stranger(email: str | None) -> str | None:
        # our own account is in each workspace already, and no customer's admin
        return None if email and email.strip().lower() in ours else email

    return choose_admin(
        organization,
        stranger(registry.get("admin_email")),
        registry.get("admin_name"),
        observed.holders,
        observed.users,
        observed.admin_roles,
        stranger(asked_admin(found)),
        lambda email, user: observed.unproved(server, email, user),
        server,
        before,
    )


def asked_admin(found: Detected) -> str | None:
    """The admin that the tenant manager named over HTTP; from the registry where the ledger was lost."""
    return (found.link or {}).get("asked_admin_email") or (found.registry or {}).get("twenty_admin_email")


def _existing_conditions(
    admin: Admin | AdminUnknown | None, pending: Sequence[Sequence[str]], standing: Standing
) -> list[Condition]:
    if standing.unfinished:
        return [standing.condition]
    onboarding = _CLEARED
    if pending:
        keys = ", ".join(sorted({key for keys in pending for key in keys}))
        message = f"Onboarding steps are pending: {keys}."
        onboarding = is_false(ConditionType.ONBOARDING_COMPLETE, Reason.STEPS_PENDING, message)
    conditions = [standing.condition, onboarding]
    if isinstance(admin, AdminUnknown):
        conditions.append(is_false(ConditionType.LOGIN_PROVED, admin.reason, admin.message))
    elif standing.unpaid:
        # to be proved once it is paid for
        conditions.append(is_unknown(ConditionType.LOGIN_PROVED, Reason.WORKSPACE_UNPAID, standing.condition.message))
    return conditions


def _with(conditions: Sequence[Condition], *newer: Condition) -> tuple[Condition, ...]:
    merged = {condition.type: condition for condition in (*conditions, *newer)}
    return tuple(merged.values())


def _people_with_flags(detected: Sequence[Detected], observed: Observed) -> dict[str, set[str]]:
    """Database name → our members there, by policy all members, that have onboarding rows, or whose workspace has."""
    flags = observed.flags
    places = pd.DataFrame(
        [
            (found.tenant.database_name, found.link["server"], found.link["workspace_id"])
            for found in detected
            if found.link and found.link["workspace_id"]
        ],
        columns=["database_name", "server", "workspace_id"],
        dtype=object,
    )
    columns = ["database_name", "twenty_user_id"]
    taken_over = pd.DataFrame([(r["database_name"], r["twenty_user_id"]) for r in observed.taken_over], columns=columns)
    people = [observed.member_links[columns], taken_over]
    if observed.everyone:
        members = observed.twenty_members.merge(places, on=["server", "workspace_id"])
        people.append(members.rename(columns={"user_id": "twenty_user_id"})[columns])
    everyone = pd.concat(people, ignore_index=True)
    wide = places.merge(flags[flags["user_id"].isna()][["server", "workspace_id"]], on=["server", "workspace_id"])
    concerned = everyone["twenty_user_id"].isin(set(flags["user_id"].dropna())) | everyone["database_name"].isin(
        set(wide["database_name"])
    )
    rows = everyone[concerned]
    return {str(name): set(users) for name, users in rows.groupby("database_name")["twenty_user_id"]}


_Flags = defaultdict[tuple[str, str | None], list[Flag]]


def _by_workspace_and_by_user(flags: pd.DataFrame) -> tuple[_Flags, _Flags]:
    """(server, workspace) → its rows, and (server, user) → the rows that a person has for all workspaces."""
    of_workspaces, of_users = _Flags(list), _Flags(list)
    for row in records(flags):
        flag = Flag(row["key"], row["user_id"], row["workspace_id"], row["value"])
        found, place = (of_workspaces, flag.workspace_id) if flag.workspace_id else (of_users, flag.user_id)
        found[row["server"], place].append(flag)
    return of_workspaces, of_users
