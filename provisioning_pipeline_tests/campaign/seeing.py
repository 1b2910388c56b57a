"""The whole state of a fleet at one moment, read by SQL and from Clerk's own memory: never by the program's code."""

from dataclasses import dataclass
from typing import Any

from provisioning_pipeline_tests.campaign.fleet import Fleet, Tenant

EXCLUDED = frozenset({"suspended", "deleted", "archived", "deprovisioned", "cancelled"})
PENDING = frozenset({"pending", "creating", "provisioning"})


@dataclass(frozen=True)
class Workspace:
    """A workspace that is not deleted. `default_role` is a label."""

    id: str
    subdomain: str
    status: str
    schema: str | None
    default_role: str | None
    invite_link: bool


@dataclass(frozen=True)
class Member:
    """Somebody's membership of a workspace. `record`: their member record is there and not marked as deleted."""

    workspace_id: str
    user_id: str
    email: str
    role: str | None
    tie: str
    record: bool


@dataclass(frozen=True)
class AtClerk:
    """Somebody in an organization. `mapped` is the role that they are to have in Twenty."""

    user_id: str
    email: str | None
    role: str
    banned: bool
    verified: bool

    @property
    def mapped(self) -> str:
        """As the default mapping has it."""
        return "Admin" if self.role == "org:admin" else "Member"

    @property
    def countable(self) -> bool:
        """Whether they are to be a member in Twenty."""
        return not self.banned and self.verified and self.email is not None


@dataclass(frozen=True)
class Seen:
    """Everything at one moment. Dictionaries of tenants are by database name."""

    tenants: tuple[Tenant, ...]
    rows: dict[str, dict[str, Any]]
    links: dict[str, dict[str, Any]]
    ready: dict[str, tuple[str, str, str]]
    conditions: dict[str, list[tuple[str, str, str]]]
    databases: dict[str, bool]
    workspaces: dict[str, Workspace]
    members: tuple[Member, ...]
    flags: tuple[tuple[str, str | None, str | None], ...]
    organizations: dict[str, tuple[AtClerk, ...]]
    linked: dict[str, set[str]]
    open_intents: tuple[tuple[str, str], ...]
    homes: dict[str, list[Workspace]]

    def row_status(self, tenant: Tenant) -> str | None:
        """The registry's word for it, in lower case; None without a row."""
        row = self.rows.get(tenant.database)
        return str(row["status"]).strip().lower() if row else None

    def is_ready(self, tenant: Tenant) -> bool:
        """Whether the ledger says so."""
        return self.ready.get(tenant.database, ("", "", ""))[0] == "True"

    def is_open(self, tenant: Tenant) -> bool:
        """Whether the registry wants it to be worked on."""
        status = self.row_status(tenant)
        return status is not None and status not in EXCLUDED

    def people(self, tenant: Tenant) -> tuple[AtClerk, ...] | None:
        """Who is in its organization; None where it has none that Clerk knows."""
        row = self.rows.get(tenant.database)
        organization = row["clerk_org_id"] if row else None
        return self.organizations.get(organization) if organization else None

    def inside(self, workspace_id: str, service_email: str) -> dict[str, Member]:
        """E-mail → membership of everybody in a workspace but the service account."""
        return {
            member.email: member
            for member in self.members
            if member.workspace_id == workspace_id and member.email != service_email
        }

    def home(self, tenant: Tenant) -> Workspace | None:
        """Its workspace, if it has one."""
        found = self.homes.get(tenant.database, [])
        return found[0] if found else None


def see(fleet: Fleet) -> Seen:
    """Read everything; also remembers which workspace is whose, so that one which moves stays its tenant's."""
    workspaces = {
        row[0]: Workspace(*row)
        for row in fleet.core(
            'SELECT w.id::text, w.subdomain, w."activationStatus"::text, w."databaseSchema", r.label,'
            ' w."isPublicInviteLinkEnabled" FROM core.workspace w LEFT JOIN core.role r ON r.id = w."defaultRoleId"'
            ' WHERE w."deletedAt" IS NULL ORDER BY w."createdAt"'
        )
    }
    homes: dict[str, list[Workspace]] = {}
    for tenant in fleet.tenants:
        found = [one for one in workspaces.values() if one.id == tenant.home or tenant.owns(one.subdomain)]
        if found and tenant.home is None:
            tenant.home = found[0].id
        homes[tenant.database] = sorted(found, key=lambda one, home=tenant.home: one.id != home)
    has_ledger = fleet.registry("SELECT to_regclass('provisioning.tenant_link') IS NOT NULL")[0][0]
    conditions: dict[str, list[tuple[str, str, str, str]]] = {}
    if has_ledger:
        for name, *rest in fleet.registry(
            "SELECT database_name, type, status, reason, message FROM provisioning.condition"
        ):
            conditions.setdefault(name, []).append(tuple(rest))
    linked: dict[str, set[str]] = {}
    if has_ledger:
        for name, user in fleet.registry("SELECT database_name, clerk_user_id FROM provisioning.member_link"):
            linked.setdefault(name, set()).add(user)
    organizations = _organizations(fleet)
    rows = {row["database_name"]: row for (row,) in fleet.registry("SELECT to_jsonb(t) FROM tenant_registry t")}
    for tenant in fleet.tenants:
        row = rows.get(tenant.database)
        for person in organizations.get(row["clerk_org_id"] if row else "", ()):
            if person.email:
                tenant.members.add(person.email)
    return Seen(
        tenants=tuple(fleet.tenants),
        rows=rows,
        links={
            row["database_name"]: row
            for (row,) in (fleet.registry("SELECT to_jsonb(l) FROM provisioning.tenant_link l") if has_ledger else [])
        },
        ready={
            name: (status, reason, message)
            for name, of_one in conditions.items()
            for type_, status, reason, message in of_one
            if type_ == "Ready"
        },
        conditions={name: [one[:3] for one in of_one] for name, of_one in conditions.items()},
        databases={
            name: bool(usable)
            for name, usable in fleet.cluster(
                "SELECT datname, datallowconn AND datconnlimit <> -2 FROM pg_database WHERE datname LIKE %s",
                "twenty_tenant_%",
            )
        },
        workspaces=workspaces,
        members=_members(fleet, workspaces),
        flags=tuple(
            tuple(row)
            for row in fleet.core(
                'SELECT key, "userId"::text, "workspaceId"::text FROM core."keyValuePair"'
                " WHERE key LIKE 'ONBOARDING%%PENDING' AND value = 'true'::jsonb AND type::text = %s",
                "USER_VARIABLE",
            )
        ),
        organizations=organizations,
        linked=linked,
        open_intents=tuple(
            tuple(row)
            for row in (
                fleet.registry("SELECT database_name, subdomain FROM provisioning.intent WHERE settled_at IS NULL")
                if has_ledger
                else []
            )
        ),
        homes=homes,
    )


def _members(fleet: Fleet, workspaces: dict[str, Workspace]) -> tuple[Member, ...]:
    schemas = {one.schema for one in workspaces.values() if one.schema}
    there = {
        row[0]
        for row in fleet.core(
            "SELECT table_schema FROM information_schema.tables WHERE table_name = 'workspaceMember'"
            " AND table_schema = ANY(%s)",
            sorted(schemas),
        )
    }
    records = {
        (schema, user)
        for schema in there
        for (user,) in fleet.core(f'SELECT "userId"::text FROM "{schema}"."workspaceMember" WHERE "deletedAt" IS NULL')
    }
    rows = fleet.core(
        'SELECT uw."workspaceId"::text, u.id::text, u.email, r.label, uw.id::text FROM core."userWorkspace" uw'
        ' JOIN core."user" u ON u.id = uw."userId" LEFT JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id'
        ' LEFT JOIN core.role r ON r.id = t."roleId" WHERE uw."deletedAt" IS NULL'
    )
    return tuple(Member(*row, (workspaces[row[0]].schema, row[1]) in records) for row in rows if row[0] in workspaces)


def _organizations(fleet: Fleet) -> dict[str, tuple[AtClerk, ...]]:
    state = fleet.sandbox.clerk.state
    found: dict[str, tuple[AtClerk, ...]] = {}
    with state.lock:
        for organization in state.organizations:
            people = []
            for membership in state.members_of(organization):
                user = state.user(membership.user_id)
                primary = next((email for email in user.emails if email.id == user.primary_email_id), None)
                people.append(
                    AtClerk(
                        user.id,
                        primary.email.lower() if primary else None,
                        membership.role,
                        user.banned,
                        primary is not None and primary.status == "verified",
                    )
                )
            found[organization] = tuple(people)
    return found
