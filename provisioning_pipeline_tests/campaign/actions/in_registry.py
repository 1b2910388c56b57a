"""What the tenant manager does: rows of its registry and databases on the cluster."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from provisioning_pipeline_tests.campaign.actions.at_clerk import ADMIN, MEMBER, join, newcomer
from provisioning_pipeline_tests.campaign.drawing import Action
from provisioning_pipeline_tests.campaign.fleet import UNKNOWN_ID, Fleet, Tenant
from provisioning_pipeline_tests.campaign.seeing import EXCLUDED

_INSERT = "INSERT INTO tenant_registry SELECT * FROM jsonb_populate_recordset(NULL::tenant_registry, %s::jsonb)"


def registered(fleet: Fleet, action: Action, *, excluded: bool | None = None) -> tuple[Tenant, dict[str, Any]] | None:
    """The tenant of the action among those with a row; by whether the row's status excludes it, if that is said."""
    found = []
    for tenant in fleet.tenants:
        row = fleet.row(tenant)
        if row and (excluded is None or (row["status"].strip().lower() in EXCLUDED) is excluded):
            found.append((tenant, row))
    return fleet.pick(found, action.tenant)


def new_tenant(fleet: Fleet, kind: str) -> Tenant:
    """A tenant that exists nowhere yet."""
    number = fleet.next_number()
    slug = f"{kind}-{number}x"
    digest = hashlib.sha256(slug.encode()).hexdigest()[:8]
    tenant = Tenant(slug, f"twenty_tenant_{slug}_{digest}", None)
    fleet.tenants.append(tenant)
    return tenant


def new_organization(fleet: Fleet, tenant: Tenant, people: int) -> str:
    """An organization with new people, the first an admin."""
    organization = fleet.sandbox.clerk.add_organization(tenant.slug.title())
    tenant.organization = organization.id
    for number in range(people):
        join(fleet, tenant, newcomer(fleet, tenant), ADMIN if number == 0 else MEMBER)
    return organization.id


def write_row(fleet: Fleet, tenant: Tenant, status: str = "provisioning") -> None:
    """A new registry row."""
    fleet.registry(
        "INSERT INTO tenant_registry (slug, name, database_name, database_url, status, clerk_org_id)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        tenant.slug,
        tenant.slug.title(),
        tenant.database,
        fleet.sandbox.postgres.url(tenant.database),
        status,
        tenant.organization,
    )


def create_database(fleet: Fleet, name: str) -> None:
    """An empty database on the tenant cluster."""
    fleet.cluster(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(name)).as_string()
    )


def tenant_added(fleet: Fleet, action: Action) -> str:
    """Row first and database a moment later, or the other way round."""
    if len(fleet.tenants) >= fleet.most_tenants:
        return UNKNOWN_ID
    tenant = new_tenant(fleet, "new")
    new_organization(fleet, tenant, 1 + int(action.person * 3))
    row_first = action.choice < 0.7
    write_row(fleet, tenant) if row_first else create_database(fleet, tenant.database)
    time.sleep(action.pause)
    if row_first:
        create_database(fleet, tenant.database)
        return f"{tenant.slug} is made, row first"
    try:
        write_row(fleet, tenant)
    except psycopg.errors.UniqueViolation:
        # a run adopted it in between, as it may; the tenant manager fills the row in
        fleet.registry(
            "UPDATE tenant_registry SET slug = %s, clerk_org_id = %s WHERE database_name = %s",
            tenant.slug,
            tenant.organization,
            tenant.database,
        )
    return f"{tenant.slug} is made, database first"


def suspended(fleet: Fleet, action: Action) -> str:
    found = registered(fleet, action, excluded=False)
    if found is None:
        return UNKNOWN_ID
    status = ("suspended", "SUSPENDED", "Archived", "cancelled")[int(action.choice * 4)]
    fleet.touched.add((found[0].database, "*"))
    fleet.registry("UPDATE tenant_registry SET status = %s WHERE database_name = %s", status, found[0].database)
    return f"{found[0].slug} is {status}"


def active_again(fleet: Fleet, action: Action) -> str:
    found = registered(fleet, action, excluded=True)
    if found is None:
        return UNKNOWN_ID
    status = ("active", "ACTIVE", "provisioning")[int(action.choice * 3)]
    fleet.touched.add((found[0].database, "*"))
    fleet.registry("UPDATE tenant_registry SET status = %s WHERE database_name = %s", status, found[0].database)
    return f"{found[0].slug} is {status}"


def status_set_back(fleet: Fleet, action: Action) -> str:
    found = registered(fleet, action, excluded=False)
    if found is None:
        return UNKNOWN_ID
    status = ("provisioning", "PENDING", "Creating")[int(action.choice * 3)]
    fleet.registry("UPDATE tenant_registry SET status = %s WHERE database_name = %s", status, found[0].database)
    return f"{found[0].slug} is {status} again"


def row_deleted(fleet: Fleet, action: Action) -> str:
    found = registered(fleet, action)
    if found is None or not found[0].had_row:
        return UNKNOWN_ID
    if fleet.row_deleted:
        return "a registry that loses several rows at once is in doubt, and its sessions pass"
    tenant, row = found
    fleet.touched.add((tenant.database, "*"))
    if tenant.database in known_with_a_row(fleet):
        tenant.kept_row, fleet.row_deleted = row, True
    else:
        # to the program it is a database that never had one, which it may adopt
        tenant.had_row, tenant.organization = False, None
    fleet.registry("DELETE FROM tenant_registry WHERE database_name = %s", tenant.database)
    return f"the row of {tenant.slug} ({row['status']}) is deleted"


def known_with_a_row(fleet: Fleet) -> set[str]:
    """The databases of which the ledger wrote down that they have a registry row."""
    if not fleet.registry("SELECT to_regclass('provisioning.condition') IS NOT NULL")[0][0]:
        return set()
    rows = fleet.registry(
        "SELECT database_name FROM provisioning.condition WHERE type = 'Registered'"
        " AND reason IN ('RegistryRow', 'TenantSuspended')"
    )
    return {name for (name,) in rows}


def row_restored(fleet: Fleet, action: Action) -> str:
    tenant = fleet.pick([tenant for tenant in fleet.tenants if tenant.kept_row], action.tenant)
    if tenant is None or tenant.kept_row is None:
        return UNKNOWN_ID
    row, tenant.kept_row = tenant.kept_row, None
    fleet.touched.add((tenant.database, "*"))
    tenant.organization = row["clerk_org_id"]
    restore(fleet, [row])
    return f"the row of {tenant.slug} ({row['status']}) is restored"


def restore(fleet: Fleet, rows: list[dict[str, Any]]) -> None:
    """The tenant manager puts its rows back; that it cannot is a finding."""
    try:
        fleet.registry(_INSERT, json.dumps(rows))
    except psycopg.errors.UniqueViolation as error:
        fleet.violations.append(
            f"registry restored: the tenant manager's own restore fails: {error.diag.message_detail}"
        )
        names = [row["database_name"] for row in rows]
        fleet.registry("DELETE FROM tenant_registry WHERE database_name = ANY(%s)", names)
        fleet.registry(_INSERT, json.dumps(rows))


def table_emptied(fleet: Fleet, action: Action) -> str:
    """A reload in two transactions: for a moment, or for as long as a run takes, there is no row."""
    rows = [row for (row,) in fleet.registry("SELECT to_jsonb(t) FROM tenant_registry t")]
    known, there = known_with_a_row(fleet), {name for (name,) in fleet.cluster("SELECT datname FROM pg_database")}
    if any(row["database_name"] in there - known for row in rows):
        return "no run has seen all of its rows yet"
    whole_run = action.choice < 0.6
    fleet.registry("DELETE FROM tenant_registry")
    if whole_run:
        fleet.run("apply", "--json").wait()
    else:
        time.sleep(action.pause)
    restore(fleet, rows)
    return (
        f"the table with {len(rows)} rows is emptied and restored, {'with' if whole_run else 'without'} a run between"
    )


def organization_changed(fleet: Fleet, action: Action) -> str:
    """Another organization, with new people and some of the old ones."""
    found = registered(fleet, action, excluded=False)
    if found is None:
        return UNKNOWN_ID
    tenant, _ = found
    state = fleet.sandbox.clerk.state
    before = state.members_of(tenant.organization) if tenant.organization in state.organizations else []
    fleet.touched.add((tenant.database, "*"))
    organization = new_organization(fleet, tenant, 1)
    for number, member in enumerate(before):
        if number % 2 == 0:
            join(fleet, tenant, member.user_id, member.role)
    fleet.registry(
        "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s", organization, tenant.database
    )
    return f"{tenant.slug} has another organization, {organization}"


def database_without_row(fleet: Fleet, _: Action) -> str:
    if len(fleet.tenants) >= fleet.most_tenants:
        return UNKNOWN_ID
    tenant = new_tenant(fleet, "found")
    tenant.had_row = False
    create_database(fleet, tenant.database)
    return f"the database {tenant.database} is there, without a row"


def row_without_database(fleet: Fleet, _: Action) -> str:
    if len(fleet.tenants) >= fleet.most_tenants:
        return UNKNOWN_ID
    tenant = new_tenant(fleet, "rowonly")
    tenant.lacks = "database"
    new_organization(fleet, tenant, 1)
    write_row(fleet, tenant)
    return f"{tenant.slug} has a row, and no database"


def half_made_database(fleet: Fleet, action: Action) -> str:
    """A DROP that was interrupted, or a database that takes no connections; nobody registered it."""
    if len(fleet.tenants) >= fleet.most_tenants:
        return UNKNOWN_ID
    tenant = new_tenant(fleet, "half")
    tenant.had_row, tenant.lacks = False, "whole database"
    create_database(fleet, tenant.database)
    if action.choice < 0.5:
        fleet.cluster("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", tenant.database)
        return f"the DROP of {tenant.database} was interrupted"
    statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(tenant.database))
    fleet.cluster(statement.as_string())
    return f"{tenant.database} takes no connections"


def database_dropped(fleet: Fleet, action: Action) -> str:
    there = {name for (name,) in fleet.cluster("SELECT datname FROM pg_database")}
    tenant = fleet.pick([tenant for tenant in fleet.tenants if tenant.database in there], action.tenant)
    if tenant is None:
        return UNKNOWN_ID
    fleet.touched.add((tenant.database, "*"))
    tenant.lacks = "database"
    fleet.cluster(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(tenant.database)).as_string())
    if action.choice < 0.5:
        fleet.registry("DELETE FROM tenant_registry WHERE database_name = %s", tenant.database)
        tenant.kept_row = None
        return f"{tenant.slug} is dropped, with its row"
    return f"{tenant.slug} is dropped, and its row stays"


ACTIONS: dict[str, Callable[[Fleet, Action], str]] = {
    "tenant added": tenant_added,
    "tenant suspended": suspended,
    "tenant active again": active_again,
    "status set back": status_set_back,
    "row deleted": row_deleted,
    "row restored": row_restored,
    "table emptied and restored": table_emptied,
    "organization changed": organization_changed,
    "database without a row": database_without_row,
    "row without a database": row_without_database,
    "half-made database": half_made_database,
    "database dropped": database_dropped,
}
