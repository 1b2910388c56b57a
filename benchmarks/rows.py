"""Tenants that are rows: what a ready tenant with its members leaves everywhere, without a database of its own.

10,000 databases take 75 GB, and making as many workspaces takes hours. So beside real tenants, which the pipeline
made, a fleet is filled up with rows:

- `pg_database` gets catalogue rows without files, copies of template0's row that nobody may connect to. What the
  pipeline asks the catalogue costs the same; a connection to such a database is refused, and nothing connects to one.
- `tenant_registry` and `global_users` get a tenant and its people as a tenant manager writes them.
- `provisioning.*` gets the tenant's link with its organization, conditions, outcomes and settled intent, its member
  links, and a user link per person. Texts are copied from a real tenant.
- Twenty's `core` gets accounts, the workspace with object metadata and the roles Admin and Member, the service account
  and the tenant's people as members, each with a role. Workspaces have no schema of their own, and accounts no
  password: nobody could sign in.
- The stand-in Clerk gets organizations (with the workspace id in their metadata), people and memberships.

Everything agrees, so a reconciliation finds nothing to do; a benchmark must check that it does.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.people import staff
from provisioning_pipeline.settings import Settings

SLUG_PREFIX = "row-"
_FIRST_OID = 1_000_000_000
_Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Tenant:
    number: int
    slug: str
    id: UUID
    workspace: UUID
    database: str
    organization: str


@dataclass(frozen=True, slots=True)
class _Person:
    twenty: UUID
    clerk: str
    email: str
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class _Rows:
    tenants: list[_Tenant]
    people: list[_Person]
    memberships: list[tuple[int, UUID, bool]]
    """Tenant's number, person's account, whether an admin; one admin per tenant."""


def add_rows(settings: Settings, clerk: StandInClerk, count: int, *, members: int, people: int = 0) -> None:
    """Add so many tenants of so many members each to a sandbox that has a ready tenant.

    Args:
        people: how many people these members are; 0: each is somebody else.
    """
    rows = _at_clerk(clerk, count, members, people or count * members)
    (server,) = settings.servers
    with psycopg.connect(settings.tenant_cluster_url.get_secret_value(), autocommit=True) as cluster:
        _add_catalogue_rows(cluster, count)
    for url, statements in ((settings.registry_url, _REGISTRY_ROWS), (server.database_url, _TWENTY_ROWS)):
        # a client-side cursor takes several statements with parameters at once
        with psycopg.connect(url.get_secret_value(), autocommit=True, cursor_factory=psycopg.ClientCursor) as there:
            _copy(there, rows)
            there.execute(statements.encode(), {"service": server.service_email.lower(), "prefix": SLUG_PREFIX})
            there.execute("VACUUM ANALYZE")


# --- Clerk ----------------------------------------------------------------------------------------------------------


def _at_clerk(clerk: StandInClerk, count: int, members: int, people: int) -> _Rows:
    persons = [
        _Person(
            twenty=_uuid(f"account {number}"),
            clerk=clerk.add_user(
                person.email, first_name=person.first_name or None, last_name=person.last_name or None
            ).id,
            email=person.email.lower(),
            first_name=person.first_name,
            last_name=person.last_name,
        )
        for number, person in enumerate(staff("people.example", people))
    ]
    tenants: list[_Tenant] = []
    memberships: list[tuple[int, UUID, bool]] = []
    for number in range(count):
        workspace = _uuid(f"workspace {number}")
        slug = f"{SLUG_PREFIX}{number + 1}"
        organization = clerk.add_organization(
            f"Row {number + 1}", slug=slug, public_metadata={"twenty_workspace_id": str(workspace)}
        ).id
        tenants.append(
            _Tenant(number, slug, _uuid(f"tenant {number}"), workspace, _database_name(number), organization)
        )
        for position, who in enumerate(_members(number, members, people)):
            admin = position == 0
            clerk.add_membership(organization, persons[who].clerk, "org:admin" if admin else "org:member")
            memberships.append((number, persons[who].twenty, admin))
    return _Rows(tenants, persons, memberships)


def _members(tenant: int, members: int, people: int) -> Iterator[int]:
    """Different people: neighbours while there are new ones, then scattered ones, so that two tenants share few."""
    stride = people // members
    for position in range(members):
        first_time = tenant * members + position
        yield first_time if tenant < stride else (position * stride + tenant) % people


# --- rows -----------------------------------------------------------------------------------------------------------


def _uuid(text: str) -> UUID:
    return UUID(bytes=hashlib.md5(text.encode(), usedforsecurity=False).digest())


def _database_name(number: int) -> str:
    return f"twenty_tenant_{SLUG_PREFIX}{number + 1}_{_uuid(f'tenant {number}').hex[:8]}"


def _copy(there: _Connection, rows: _Rows) -> None:
    """The rows as temporary tables, from which the statements below make the real ones."""
    there.execute(
        """
        CREATE TEMP TABLE extra (
            number integer PRIMARY KEY, slug text, id uuid, workspace uuid, database text, organization text
        );
        CREATE TEMP TABLE person (twenty uuid PRIMARY KEY, clerk text, email text, first_name text, last_name text);
        CREATE TEMP TABLE belonging (number integer, twenty uuid, admin boolean);
        """
    )
    _copy_into(
        there,
        "extra",
        ((one.number, one.slug, one.id, one.workspace, one.database, one.organization) for one in rows.tenants),
    )
    _copy_into(
        there,
        "person",
        ((one.twenty, one.clerk, one.email, one.first_name, one.last_name) for one in rows.people),
    )
    _copy_into(there, "belonging", rows.memberships)
    there.execute("ANALYZE extra; ANALYZE person; ANALYZE belonging")


def _copy_into(there: _Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    with there.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
        for row in rows:
            copy.write_row(row)


def _add_catalogue_rows(cluster: _Connection, count: int) -> None:
    """Rows in pg_database that copy template0's, whatever columns this PostgreSQL has."""
    columns = cluster.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'pg_database'::regclass AND attnum > 0 ORDER BY attnum"
    ).fetchall()
    given: dict[object, sql.Composable] = {
        "oid": sql.SQL("{} + row.number").format(_FIRST_OID),
        "datname": sql.SQL("row.name"),
        "datistemplate": sql.SQL("false"),
        "datallowconn": sql.SQL("false"),
    }
    names = [sql.Identifier(str(name)) for (name,) in columns]
    values = [given.get(name, sql.SQL("t.{}").format(sql.Identifier(str(name)))) for (name,) in columns]
    cluster.execute("SET allow_system_table_mods = on")
    cluster.execute(
        sql.SQL(
            "INSERT INTO pg_database ({}) SELECT {} FROM pg_database t, "
            "unnest(%s::text[]) WITH ORDINALITY AS row(name, number) WHERE t.datname = 'template0'"
        ).format(sql.SQL(", ").join(names), sql.SQL(", ").join(values)),
        [[_database_name(number) for number in range(count)]],
    )
    cluster.execute("VACUUM ANALYZE pg_database")


_REGISTRY_ROWS = """
    CREATE TEMP TABLE model AS SELECT * FROM provisioning.tenant_link WHERE ready ORDER BY database_name LIMIT 1;

    INSERT INTO tenant_registry (id, slug, name, database_name, database_url, status, clerk_org_id,
                                 twenty_workspace_id)
    SELECT id, slug, 'Row ' || number + 1, database, 'postgresql:///' || database, 'active', organization, workspace
    FROM extra;
    -- somebody who works for several tenants has one row there: the e-mail is unique
    INSERT INTO global_users (email, first_name, last_name, clerk_user_id, tenant_id, role)
    SELECT DISTINCT ON (p.twenty) p.email, p.first_name, p.last_name, p.clerk, e.id,
           CASE WHEN b.admin THEN 'admin' ELSE 'member' END
    FROM belonging b JOIN person p USING (twenty) JOIN extra e USING (number) ORDER BY p.twenty, b.number;
    UPDATE tenant_registry r SET admin_user_id = u.id FROM global_users u
    WHERE u.tenant_id = r.id AND u.role = 'admin' AND r.admin_user_id IS NULL;

    INSERT INTO provisioning.tenant_link (database_name, slug, server, subdomain, workspace_id, workspace_url,
                                          admin_user_id, admin_email, ready, clerk_org_id)
    SELECT e.database, e.slug, m.server, e.slug, e.workspace, m.workspace_url, p.twenty, p.email, true, e.organization
    FROM model m, extra e JOIN belonging b ON b.number = e.number AND b.admin JOIN person p USING (twenty);
    INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id)
    SELECT e.database, c.type, c.status, c.reason, c.message, 'earlier'
    FROM extra e, model m JOIN provisioning.condition c USING (database_name);
    INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds)
    SELECT 'earlier', e.database, o.change, o.status, o.detail, o.seconds
    FROM extra e, model m JOIN provisioning.outcome o USING (database_name);
    INSERT INTO provisioning.intent (database_name, server, subdomain, settled_at, settled_as, run_id, begun_at)
    SELECT e.database, m.server, e.slug, now(), 'created', 'earlier', now() FROM extra e, model m;
    INSERT INTO provisioning.user_link (server, clerk_user_id, twenty_user_id, run_id)
    SELECT m.server, p.clerk, p.twenty, 'earlier' FROM person p, model m;
    INSERT INTO provisioning.member_link (database_name, clerk_user_id, twenty_user_id, email, first_name, last_name,
                                          run_id)
    SELECT e.database, p.clerk, p.twenty, p.email, p.first_name, p.last_name, 'earlier'
    FROM belonging b JOIN extra e USING (number) JOIN person p USING (twenty);
"""
_TWENTY_ROWS = """
    CREATE TEMP TABLE model AS
    SELECT w.* FROM core.workspace w
    WHERE w."activationStatus" = 'ACTIVE' AND w.subdomain NOT LIKE %(prefix)s || '%%' ORDER BY w.subdomain LIMIT 1;
    CREATE TEMP TABLE tie AS
    SELECT gen_random_uuid() AS id, b.twenty AS account, b.number, b.admin FROM belonging b
    UNION ALL
    SELECT gen_random_uuid(), u.id, e.number, true FROM extra e, core."user" u WHERE lower(u.email) = %(service)s;
    CREATE TEMP TABLE own_role AS
    SELECT gen_random_uuid() AS own_id, e.number, e.workspace, r.* FROM extra e, model m
    JOIN core.role r ON r."workspaceId" = m.id AND r.label IN ('Admin', 'Member');
    ANALYZE tie;
    ANALYZE own_role;

    INSERT INTO core."user" (id, email, "isEmailVerified") SELECT twenty, email, true FROM person;
    INSERT INTO core.role (id, label, "workspaceId", "universalIdentifier", "isEditable", "canUpdateAllSettings",
                           "canAccessAllTools", "canReadAllObjectRecords", "canUpdateAllObjectRecords",
                           "canBeAssignedToUsers")
    SELECT own_id, label, workspace, "universalIdentifier", "isEditable", "canUpdateAllSettings",
           "canAccessAllTools", "canReadAllObjectRecords", "canUpdateAllObjectRecords", "canBeAssignedToUsers"
    FROM own_role;
    INSERT INTO core.workspace (id, "displayName", "inviteHash", subdomain, "activationStatus", "defaultRoleId",
                                "databaseSchema")
    SELECT e.workspace, 'Row ' || e.number + 1, gen_random_uuid()::text, e.slug, 'ACTIVE', r.own_id,
           'workspace_row_' || e.number + 1
    FROM extra e JOIN own_role r ON r.number = e.number AND r.label = 'Member';
    INSERT INTO core."userWorkspace" (id, "userId", "workspaceId")
    SELECT t.id, t.account, e.workspace FROM tie t JOIN extra e USING (number);
    INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId")
    SELECT r.workspace, r.own_id, t.id FROM tie t
    JOIN own_role r ON r.number = t.number AND r.label = CASE WHEN t.admin THEN 'Admin' ELSE 'Member' END;
    INSERT INTO core."objectMetadata" ("workspaceId", "nameSingular", "isActive")
    SELECT e.workspace, o."nameSingular", o."isActive"
    FROM extra e, model m JOIN core."objectMetadata" o ON o."workspaceId" = m.id;
"""
