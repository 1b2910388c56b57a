"""Rows that we add to the registry: of tenants that a service registers over HTTP, and of adopted databases."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, Error, errors, sql
from psycopg.rows import TupleRow, dict_row

from provisioning_pipeline.clients.postgres import Database, Row, anew_if_lost
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.ledger.organizations import alone_with_organizations
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.registry_table import (
    ASKED_ADMIN_COLUMN,
    REFUSALS,
    WORKSPACE_COLUMNS,
    Column,
    cast_sql,
    text_of,
)
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.model.api_key import KeyRefusal, Reach
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.registry import registry_status
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration

_LOG = logging.getLogger(__name__)
_LOCK_SECONDS = 3.0
_UNSEEN: Final = """
    SELECT l.database_name FROM provisioning.tenant_link l
    WHERE l.registered_by_key = %s AND NOT EXISTS (
        SELECT 1 FROM provisioning.condition c
        WHERE c.database_name = l.database_name AND c.type = 'Detected' AND c.status = 'True')
"""
"""Tenants of a key of whose database no run says that it is there."""


@dataclass(frozen=True, slots=True)
class Databases:
    """How many tenants without a database one key may have registered.

    Args:
        most: so many; None: any number.
        present: databases that are on the cluster for certain, whatever runs have seen.
    """

    most: int | None
    present: Collection[str] = ()


NOT_LIMITED: Final = Databases(None)


async def unseen(database: Database, asked: Registration, caller: Caller) -> Sequence[str]:
    """Database names of the tenants that this key registered, and of which no run has seen the database.

    Empty where the tenant that is asked for is known already: it is not one more.
    """
    known = "SELECT 1 FROM provisioning.tenant_link WHERE database_name = %s"
    if await database.fetch_tuples(known, [asked.database_name]):
        return []
    return [row[0] for row in await database.fetch_tuples(_UNSEEN, [caller.api_key_id])]


async def _must_have_room(
    connection: AsyncConnection[TupleRow],
    registry: Registry,
    asked: Registration,
    caller: Caller,
    databases: Databases,
) -> None:
    """Refuse one more tenant without a database where the key has too many. A tenant without a row does not count."""
    if databases.most is None or asked.database_name in databases.present:
        return
    cursor = await connection.execute(
        sql.SQL(
            "SELECT pg_catalog.count(*) FROM ({unseen}) u WHERE u.database_name <> ALL(%s) AND EXISTS ("
            "SELECT 1 FROM {table} r WHERE r.database_name::text = u.database_name)"
        ).format(unseen=sql.SQL(_UNSEEN), table=registry.identifier),
        [caller.api_key_id, list(databases.present)],
    )
    row: tuple[Any, ...] | None = await cursor.fetchone()
    if row is not None and row[0] >= databases.most:
        raise Conflict(
            f"{row[0]} tenants that this key registered have no database yet, and {databases.most} may be without one. "
            "Create their databases, or take their rows out of the registry, then ask again.",
            KeyRefusal.TOO_MANY_WITHOUT_DATABASE,
        )


@anew_if_lost
async def register(
    registry: Registry,
    asked: Registration,
    caller: Caller,
    *,
    status: str,
    aside: Collection[str],
    else_statuses: Sequence[str] = (),
    databases: Databases = NOT_LIMITED,
) -> tuple[bool, bool]:
    """Make the registry say what was asked; whether anything had to be changed, and whether the tenant is excluded.

    A row that is there keeps its status and whatever the request does not name. The ledger, which has to be there,
    remembers which key added a row.

    Args:
        status: of a new row; one of `else_statuses` where the table does not know it.
        aside: statuses of tenants that are left alone, as policies compare them.
        databases: how many tenants without a database the key may have registered.

    Raises:
        Conflict: when slug, database or organization are another tenant's, the tenant has another organization, its
            key has registered too many tenants without a database, or the table does not take the row.
        Fault: when the database cannot be reached; BUSY when others register, or change that row, for too long.
    """
    await registry.ensure_table()
    columns = await must_show_all(registry, asked)
    status = await registry.spelling([status, *else_statuses])
    # triggers of the tenant manager's may rely on our role's own search path
    async with alone_with_organizations(registry, own_path=True, wait_seconds=_LOCK_SECONDS) as connection:
        known = await _known_of(connection, registry, columns, asked)
        _must_not_conflict(known, asked, caller, aside)
        own, link = known.row, known.link
        try:
            if own is None:
                await _must_have_room(connection, registry, asked, caller, databases)
                await _insert(connection, registry, columns, asked, status)
                await connection.execute(
                    """
                    INSERT INTO provisioning.tenant_link (database_name, slug, registered_by_key) VALUES (%s, %s, %s)
                    ON CONFLICT (database_name) DO UPDATE SET registered_by_key = excluded.registered_by_key
                    """,
                    [asked.database_name, asked.slug, caller.api_key_id],
                )
                return True, False
            changed = await _update(connection, registry, columns, asked)
            linked = link["clerk_org_id"] if link else None
            # its owner has changed it in the registry, and no run has read it yet
            moved = linked is not None and bool(own["clerk_org_id"]) and own["clerk_org_id"] != linked
            return changed or moved, registry_status(own["status"]) in aside
        except REFUSALS as error:
            _LOG.warning("The registry does not take tenant %s: %s.", asked.slug, type(error).__name__)
            raise Conflict(
                f"The registry {registry.table} does not take tenant {asked.slug}: {_told(error)}. "
                "Register it there yourself, then ask again."
            ) from None


async def must_show_all(registry: Registry, asked: Registration) -> dict[str, Column]:
    """The columns of a table that shows us all of its rows: what we may not see cannot be registered twice.

    Raises:
        Conflict: when it hides some.
    """
    try:
        return await registry.readable_columns()
    except Fault as fault:
        if fault.kind is not FaultKind.SERVER:
            raise
        message = f"The registry {registry.table} does not take tenant {asked.slug}: {fault.message}"
        raise Conflict(message) from None


def _told(error: Error) -> str:
    """Which rule of the table refused; a text about data would repeat values."""
    if isinstance(error, errors.DataError):
        return f"a value does not fit its column ({type(error).__name__})"
    return first_line(error)


async def _insert(
    connection: AsyncConnection[TupleRow],
    registry: Registry,
    columns: dict[str, Column],
    asked: Registration,
    status: str,
) -> None:
    row = _new_row(
        columns,
        asked.slug,
        asked.name or asked.slug,
        asked.database_name,
        status,
        **{"clerk_org_id": asked.clerk_org_id, ASKED_ADMIN_COLUMN: asked.admin_email},
    )
    if row.unknown:
        raise Conflict(
            f"The registry {registry.table} requires {', '.join(row.unknown)}, which we do not know. Register tenant "
            f"{asked.slug} there yourself, then ask again."
        )
    _must_know_organizations(registry, columns, asked)
    await connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(registry.identifier, row.names, row.values)
    )
    there = sql.SQL("SELECT 1 FROM {} WHERE database_name::text = %s AND slug::text = %s").format(registry.identifier)
    if await (await connection.execute(there, [asked.database_name, asked.slug])).fetchone() is None:
        raise Conflict(
            f"The registry {registry.table} was given a row for tenant {asked.slug} and has none: a trigger, a rule or "
            "a policy of it drops or changes the row. Register the tenant there yourself, then ask again."
        )


async def _update(
    connection: AsyncConnection[TupleRow], registry: Registry, columns: dict[str, Column], asked: Registration
) -> bool:
    _must_know_organizations(registry, columns, asked)
    given = {"name": asked.name, "clerk_org_id": asked.clerk_org_id, ASKED_ADMIN_COLUMN: asked.admin_email}
    changes = {
        name: cast_sql(sql.Literal(value), columns[name])
        for name, value in given.items()
        # a column of ours is written where we may: the ledger has it in any case
        if value is not None and name in columns and (name != ASKED_ADMIN_COLUMN or columns[name].writable)
    }
    if not changes:
        return False
    touched = sql.SQL(", updated_at = pg_catalog.now()") if "updated_at" in columns else sql.SQL("")
    differs = {
        # as texts, for which no operator but PostgreSQL's own is ever chosen
        name: sql.SQL("({})::text IS DISTINCT FROM ({})::text").format(sql.Identifier(name), value)
        for name, value in changes.items()
    }
    own = sql.SQL("database_name::text = {}").format(sql.Literal(asked.database_name))
    cursor = await connection.execute(
        sql.SQL("UPDATE {table} SET {changes}{touched} WHERE {own} AND ({differs})").format(
            table=registry.identifier,
            changes=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in changes.items()
            ),
            touched=touched,
            own=own,
            differs=sql.SQL(" OR ").join(differs.values()),
        )
    )
    # a trigger may put a name into its own form; an organization is taken as it is or not at all
    kept = [differs[name] for name in changes if not cursor.rowcount or name != "name"]
    left = sql.SQL("SELECT 1 FROM {} WHERE {} AND ({})").format(
        registry.identifier, own, sql.SQL(" OR ").join([sql.SQL("false"), *kept])
    )
    if await (await connection.execute(left)).fetchone() is not None:
        raise Conflict(
            f"The registry {registry.table} was given {', '.join(changes)} of tenant {asked.slug} and keeps what it "
            "had: a trigger, a rule or a policy of it drops the change. Change it there yourself, then ask again."
        )
    return cursor.rowcount > 0


def _must_know_organizations(registry: Registry, columns: dict[str, Column], asked: Registration) -> None:
    if asked.clerk_org_id is not None and "clerk_org_id" not in columns:
        raise Conflict(
            f"The registry {registry.table} has no column clerk_org_id, so it cannot say whose organization "
            f"{asked.clerk_org_id} is. Add the column, or leave the organization out."
        )


_IN_THE_REGISTRY = "It decides who gets into a workspace. Change it in the registry itself, then ask again."


@dataclass(frozen=True, slots=True)
class _Known:
    """What registry and ledger have under the slug, the database or the organization that is asked for.

    Args:
        rows: of the registry: database_name, slug, clerk_org_id, status and workspace_id as texts.
        links: of the ledger: database_name, slug, clerk_org_id, workspace_id as texts, and moved, whether the tenant's
            organization was given to another one.
        row, link: the tenant's own among them.
    """

    rows: Sequence[Row]
    links: Sequence[Row]
    row: Row | None
    link: Row | None


async def _known_of(
    connection: AsyncConnection[TupleRow], registry: Registry, columns: Mapping[str, Column], asked: Registration
) -> _Known:
    """Read it, under the lock for giving organizations to tenants. Excluded tenants, and those without a row, count."""
    workspace = next((name for name in WORKSPACE_COLUMNS if name in columns), "")
    cursor = connection.cursor(row_factory=dict_row)
    named = [asked.slug, asked.database_name, asked.clerk_org_id]
    await cursor.execute(
        sql.SQL(
            "SELECT database_name::text AS database_name, slug::text AS slug, {organization} AS clerk_org_id, "
            "{status} AS status, {workspace} AS workspace_id FROM {table} "
            "WHERE slug::text = %s OR database_name::text = %s OR {organization} = %s"
        ).format(
            organization=text_of(columns, "clerk_org_id"),
            status=text_of(columns, "status"),
            workspace=text_of(columns, workspace),
            table=registry.identifier,
        ),
        named,
    )
    rows = await cursor.fetchall()
    await cursor.execute(
        """
        SELECT database_name, slug, clerk_org_id, workspace_id::text AS workspace_id,
               organization_moved_at IS NOT NULL AS moved
        FROM provisioning.tenant_link WHERE slug = %s OR database_name = %s OR clerk_org_id = %s
        """,
        named,
    )
    links = await cursor.fetchall()
    own = [next((it for it in found if it["database_name"] == asked.database_name), None) for found in (rows, links)]
    return _Known(rows, links, *own)


def _must_not_conflict(known: _Known, asked: Registration, caller: Caller, aside: Collection[str]) -> None:
    """Refuse what is another tenant's, and another organization for a tenant that has, or had, one.

    The registry's owner may give an organization to another tenant; no key may. The refusal names no tenant that the
    caller's key is not for.
    """
    _must_be_its_name(known, asked, caller.reach)
    if asked.clerk_org_id is not None:
        _must_be_free(known, asked, asked.clerk_org_id, caller.reach, aside)
        _must_be_its_own(known, asked, asked.clerk_org_id, aside)


def _must_be_its_name(known: _Known, asked: Registration, reach: Reach) -> None:
    for row in known.rows:
        if row["database_name"] == asked.database_name and row["slug"] != asked.slug:
            owner = f"tenant {row['slug']}" if reach.covers(row["slug"]) else "another tenant"
            raise Conflict(f"Database {asked.database_name} is registered as {owner}.", KeyRefusal.DATABASE_TAKEN)
        if row["slug"] == asked.slug and row["database_name"] != asked.database_name:
            raise Conflict(
                f"Tenant {asked.slug} is registered with database {row['database_name']}.", KeyRefusal.SLUG_TAKEN
            )
    if known.row is None and known.link is not None and not reach.covers(known.link["slug"]):
        # its row was taken away: under a slug of its own, a key would get hold of another key's tenant
        raise Conflict(
            f"Database {asked.database_name} was another tenant's, which this key is not for.",
            KeyRefusal.DATABASE_TAKEN,
        )


def _must_be_free(known: _Known, asked: Registration, organization: str, reach: Reach, aside: Collection[str]) -> None:
    for source, found in (("registry", known.rows), ("ledger", known.links)):
        for other in found:
            if other["clerk_org_id"] != organization or other["database_name"] == asked.database_name:
                continue
            owner = f"tenant {other['slug']}'s" if reach.covers(other["slug"]) else "another tenant's"
            why = " That tenant is excluded, and keeps it." if _is_aside(other, aside) else ""
            raise Conflict(
                f"Clerk organization {organization} is {owner} in the {source}.{why} {_IN_THE_REGISTRY}",
                KeyRefusal.ORGANIZATION_TAKEN,
            )


def _must_be_its_own(known: _Known, asked: Registration, organization: str, aside: Collection[str]) -> None:
    row, link = known.row, known.link
    has = (row or {}).get("clerk_org_id") or (link or {}).get("clerk_org_id")
    if has == organization:
        return
    if has:
        why = "has another Clerk organization already"
    elif link is not None and link["moved"]:
        why = "had a Clerk organization, which was given to another tenant"
    elif link is not None and link["workspace_id"] and (row is None or _is_aside(row, aside)):
        why = "has a workspace, and is suspended or gone"
    elif row is not None and row["workspace_id"] and not (link and link["workspace_id"]):
        why = "has a workspace in the registry, of which no run has learnt yet whose it is"
    else:
        return
    raise Conflict(f"Tenant {asked.slug} {why}. {_IN_THE_REGISTRY}", KeyRefusal.ORGANIZATION_FIXED)


def _is_aside(tenant: Row, aside: Collection[str]) -> bool:
    return registry_status(tenant.get("status")) in aside


@anew_if_lost
async def adopt(registry: Registry, tenant: Tenant, status: str, else_statuses: Sequence[str] = ()) -> bool:
    """Add a row for a database that never had one, and remember that it has one now; whether it was added.

    Required columns beyond those known here are a refusal, not a guess. A row that the tenant manager adds at the same
    moment stands.

    Args:
        status: what the row says; one of `else_statuses` where the table does not know it.

    Raises:
        Fault: when the table does not take the row, or the tenant was known with one.
    """
    columns = await registry.readable_columns()
    remembers = await has_ledger(registry.database)
    status = await registry.spelling([status, *else_statuses])

    def refused(why: str) -> Fault:
        return Fault(
            FaultKind.TENANT,
            Reason.ADOPTION_REFUSED,
            f"Database {tenant.database_name} has no row in {registry.table}, and none could be added: {why}. "
            "Let the tenant manager register it.",
        )

    row = _new_row(columns, tenant.slug, tenant.name, tenant.database_name, status)
    if row.unknown:
        raise refused(f"it requires {', '.join(row.unknown)}")
    insert = sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {values} "
        "WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE database_name::text = {name}) ON CONFLICT DO NOTHING"
    ).format(table=registry.identifier, names=row.names, values=row.values, name=sql.Literal(tenant.database_name))
    there = sql.SQL("SELECT 1 FROM {} WHERE database_name::text = %s").format(registry.identifier)
    name = [tenant.database_name]
    try:
        async with registry.database.transaction(own_path=True) as connection:
            if remembers and await (await connection.execute(_KNOWN_WITH_ROW, name)).fetchone() is not None:
                raise refused("its row was taken away meanwhile")
            inserted = (await connection.execute(insert)).rowcount
            if await (await connection.execute(there, name)).fetchone() is None:
                taken = f"slug {tenant.slug} may be another tenant's, or a trigger or a rule dropped the row"
                raise refused(f"the table took no such row ({taken})")
            if remembers:
                await connection.execute(_REMEMBER_ROW, name)
            return inserted > 0
    except REFUSALS as error:
        raise refused(first_line(error)) from None


_KNOWN_WITH_ROW = """
    SELECT 1 FROM provisioning.tenant_link
    WHERE database_name = %s AND (registered_at IS NOT NULL OR workspace_id IS NOT NULL)
"""
_REMEMBER_ROW = """
    UPDATE provisioning.tenant_link SET registered_at = COALESCE(registered_at, now()) WHERE database_name = %s
"""


@dataclass(frozen=True, slots=True)
class _NewRow:
    """A row to insert: its columns and values, and the columns that the table requires and we do not know."""

    names: sql.Composed
    values: sql.Composed
    unknown: Sequence[str]


def _new_row(
    columns: Mapping[str, Column], slug: str, name: str, database_name: str, status: str, **given: str | None
) -> _NewRow:
    """What the table requires; and slug, name, database, status, and what is `given`, where it has the column.

    A required `database_url` gets a URL without user and password.
    """
    named = {"slug": slug, "name": name, "database_name": database_name, "status": status}
    always = named.keys() | {key for key, value in given.items() if value}
    offered = {**named, **given, "database_url": f"postgresql:///{database_name}"}
    made: dict[str, sql.Composable] = {
        "id": sql.SQL("pg_catalog.gen_random_uuid()"),
        "created_at": sql.SQL("pg_catalog.now()"),
        "updated_at": sql.SQL("pg_catalog.now()"),
        **{key: sql.Literal(value) for key, value in offered.items()},
    }
    used = [key for key in made if key in columns and (key in always or columns[key].required)]
    return _NewRow(
        sql.SQL(", ").join(sql.Identifier(key) for key in used),
        sql.SQL(", ").join(cast_sql(made[key], columns[key]) for key in used),
        sorted(key for key, column in columns.items() if column.required and key not in made),
    )
