"""Tenants that are rows: what a ready tenant with its members leaves everywhere, without a database of its own.

10,000 databases take 75 GB, and making as many workspaces takes hours. So beside real tenants, which the pipeline
made, a fleet is filled up with rows:

- `pg_database` gets rows that share the files of one database, a copy of the real tenant's: PostgreSQL keeps each
  database in a folder named by its oid, and theirs are symbolic links to that one's. So a look connects to each and
  reads the real catalogue. Nothing writes there, or it would write into all of them: a look only reads, there is
  nothing in an empty database to repair, and autovacuum is off.
- `tenant_registry` and `global_users` get a tenant and its people as a tenant manager writes them.
- `provisioning.*` gets the tenant's link with its organization, conditions, outcomes and settled intent, its member
  links, and a user link per person. Texts are copied from a real tenant.
- Twenty's `core` gets accounts, the workspace with object metadata and the roles Admin and Member, the service account
  and the tenant's people as members, each with a role. A workspace's own schema has one table, that of its members.
  Accounts have no password: nobody could sign in.
- The stand-in Clerk gets organizations (with the workspace id in their metadata), people and memberships.

Everything agrees, so a reconciliation finds nothing to do; a benchmark must check that it does.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.people import staff
from provisioning_pipeline.settings import Settings

SLUG_PREFIX = "row-"
_FIRST_OID = 1_000_000_000
_SHARED = "shared_by_rows"
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
    # as the tenant manager: the role for tenant databases may make none
    with psycopg.connect(settings.registry_url.get_secret_value(), autocommit=True) as cluster:
        _add_databases(cluster, count, settings.tenant_database_pattern)
    for url, statements in ((settings.registry_url, _REGISTRY_ROWS), (server.database_url, _TWENTY_ROWS)):
        # a client-side cursor takes several statements with parameters at once
        with psycopg.connect(url.get_secret_value(), autocommit=True, cursor_factory=psycopg.ClientCursor) as there:
            _copy(there, rows)
            there.execute(statements.encode(), {"service": server.service_email.lower(), "prefix": SLUG_PREFIX})
            if url is server.database_url:
                there.execute(_MEMBER_TABLES)
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


def _add_databases(cluster: _Connection, count: int, pattern: str) -> None:
    """Rows in pg_database that copy the shared database's, whatever columns this PostgreSQL has, and its files."""
    # it analyzes databases, and so writes to them
    cluster.execute("ALTER SYSTEM SET autovacuum = off")
    cluster.execute("SELECT pg_reload_conf()")
    (model,) = _one(cluster, "SELECT min(datname) FROM pg_database WHERE datname ~ %s", pattern)
    cluster.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(_SHARED), sql.Identifier(str(model))
        )
    )
    cluster.execute("CHECKPOINT")
    oid, data = _one(
        cluster, "SELECT oid, current_setting('data_directory') FROM pg_database WHERE datname = %s", _SHARED
    )
    for number in range(count):
        (Path(str(data)) / "base" / str(_FIRST_OID + number + 1)).symlink_to(str(oid))
    columns = cluster.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'pg_database'::regclass AND attnum > 0 ORDER BY attnum"
    ).fetchall()
    given: dict[object, sql.Composable] = {
        "oid": sql.SQL("{} + row.number").format(_FIRST_OID),
        "datname": sql.SQL("row.name"),
    }
    names = [sql.Identifier(str(name)) for (name,) in columns]
    values = [given.get(name, sql.SQL("t.{}").format(sql.Identifier(str(name)))) for (name,) in columns]
    cluster.execute("SET allow_system_table_mods = on")
    cluster.execute(
        sql.SQL(
            "INSERT INTO pg_database ({}) SELECT {} FROM pg_database t, "
            "unnest(%s::text[]) WITH ORDINALITY AS row(name, number) WHERE t.datname = %s"
        ).format(sql.SQL(", ").join(names), sql.SQL(", ").join(values)),
        [[_database_name(number) for number in range(count)], _SHARED],
    )
    cluster.execute("VACUUM ANALYZE pg_database")


def _one(cluster: _Connection, query: LiteralString, *parameters: str) -> tuple[Any, ...]:
    row = cluster.execute(query, parameters).fetchone()
    assert row is not None
    return row


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
    CREATE INDEX ON tie (number);
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
_MEMBER_TABLES = """
    DO $$
    DECLARE
        model_schema text := (SELECT "databaseSchema" FROM model);
        made record;
    BEGIN
        FOR made IN SELECT number, 'workspace_row_' || number + 1 AS schema FROM extra ORDER BY number LOOP
            EXECUTE format(
                'CREATE SCHEMA %1$I; CREATE TABLE %1$I."workspaceMember" (LIKE %2$I."workspaceMember" INCLUDING ALL)',
                made.schema, model_schema);
            EXECUTE format('
                INSERT INTO %I."workspaceMember" ("userId", "userEmail", "nameFirstName", "nameLastName")
                SELECT u.id, u.email, COALESCE(p.first_name, ''Our''), COALESCE(p.last_name, ''Account'')
                FROM tie t JOIN core."user" u ON u.id = t.account LEFT JOIN person p ON p.twenty = u.id
                WHERE t.number = %s', made.schema, made.number);
            -- PostgreSQL holds a lock on each table until then
            COMMIT;
        END LOOP;
    END
    $$
"""
