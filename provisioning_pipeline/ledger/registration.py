"""Tenants that the tenant manager registers, over HTTP or by a row."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, Error, errors, sql
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import Database, anew_if_lost
from provisioning_pipeline.ledger.organizations import alone_with_organizations
from provisioning_pipeline.ledger.registration_conflicts import known_of, must_not_conflict
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.registry_table import ASKED_ADMIN_COLUMN, REFUSALS, Column, cast_sql
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.api_key import KeyRefusal
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import registry_status
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration

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

    None where the tenant that is asked for is known already: it is not one more.
    """
    known = "SELECT 1 FROM provisioning.tenant_link WHERE database_name = %s"
    if await database.fetch_tuples(known, [asked.database_name]):
        return []
    return [row[0] for row in await database.fetch_tuples(_UNSEEN, [caller.api_key_id])]


async def must_have_room(
    connection: AsyncConnection[TupleRow],
    registry: Registry,
    asked: Registration,
    caller: Caller,
    databases: Databases,
) -> None:
    """Refuse one more tenant without a database where the key has too many. A tenant without a row is none.

    Raises:
        Conflict: with how many there may be.
    """
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


async def remember(connection: AsyncConnection[TupleRow], asked: Registration, caller: Caller) -> None:
    """Write down whose key added the tenant's row."""
    await connection.execute(
        """
        INSERT INTO provisioning.tenant_link (database_name, slug, registered_by_key) VALUES (%s, %s, %s)
        ON CONFLICT (database_name) DO UPDATE SET registered_by_key = excluded.registered_by_key
        """,
        [asked.database_name, asked.slug, caller.api_key_id],
    )


_LOG = logging.getLogger(__name__)
_LOCK_SECONDS = 3.0


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
        known = await known_of(connection, registry, columns, asked)
        must_not_conflict(known, asked, caller, aside)
        own, link = known.row(asked), known.link(asked)
        try:
            if own is None:
                await must_have_room(connection, registry, asked, caller, databases)
                await _insert(connection, registry, columns, asked, status)
                await remember(connection, asked, caller)
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
    return str(error).splitlines()[0]


async def _insert(
    connection: AsyncConnection[TupleRow],
    registry: Registry,
    columns: dict[str, Column],
    asked: Registration,
    status: str,
) -> None:
    offered: dict[str, sql.Composable] = {
        "id": sql.SQL("pg_catalog.gen_random_uuid()"),
        "slug": sql.Literal(asked.slug),
        "name": sql.Literal(asked.name or asked.slug),
        "database_name": sql.Literal(asked.database_name),
        "status": sql.Literal(status),
        "clerk_org_id": sql.Literal(asked.clerk_org_id),
        ASKED_ADMIN_COLUMN: sql.Literal(asked.admin_email),
        "database_url": sql.Literal(f"postgresql:///{asked.database_name}"),
        "created_at": sql.SQL("pg_catalog.now()"),
        "updated_at": sql.SQL("pg_catalog.now()"),
    }
    unknown = sorted(name for name, column in columns.items() if column.required and name not in offered)
    if unknown:
        raise Conflict(
            f"The registry {registry.table} requires {', '.join(unknown)}, which we do not know. Register tenant "
            f"{asked.slug} there yourself, then ask again."
        )
    _must_know_organizations(registry, columns, asked)
    always = {"slug", "name", "database_name", "status"} | ({"clerk_org_id"} if asked.clerk_org_id else set())
    always |= {ASKED_ADMIN_COLUMN} if asked.admin_email else set()
    used = [name for name in offered if name in columns and (name in always or columns[name].required)]
    await connection.execute(
        sql.SQL("INSERT INTO {table} ({names}) VALUES ({values})").format(
            table=registry.identifier,
            names=sql.SQL(", ").join(sql.Identifier(name) for name in used),
            values=sql.SQL(", ").join(cast_sql(offered[name], columns[name]) for name in used),
        )
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
        name: sql.SQL("{} IS DISTINCT FROM {}").format(_comparable(sql.Identifier(name)), _comparable(value))
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


def _comparable(value: sql.Composable) -> sql.Composable:
    """A value in a comparison: as text, for which no operator but PostgreSQL's own is ever chosen."""
    return sql.SQL("({})::text").format(value)


def _must_know_organizations(registry: Registry, columns: dict[str, Column], asked: Registration) -> None:
    if asked.clerk_org_id is not None and "clerk_org_id" not in columns:
        raise Conflict(
            f"The registry {registry.table} has no column clerk_org_id, so it cannot say whose organization "
            f"{asked.clerk_org_id} is. Add the column, or leave the organization out."
        )


@dataclass(frozen=True, slots=True)
class KnownRows:
    """The rows that the registry had when a run last looked, and what is left of them.

    Args:
        known: how many tenants had one.
        lost: the database names of those that have none now.
        rows: whether the registry has any row at all; None: there is no such table.
    """

    known: int
    lost: tuple[str, ...]
    rows: bool | None


async def known_rows(registry: Registry) -> KnownRows:
    """Compare the rows that the ledger remembers with those that are there, in one query.

    Raises:
        Fault: when the table is no tenant registry, or hides rows from our user.
    """
    if not await has_ledger(registry.database):
        return KnownRows(0, (), rows=True)
    names = await registry.names()
    (row,) = await registry.database.fetch(
        sql.SQL(
            """
            WITH there AS MATERIALIZED ({names})
            SELECT pg_catalog.count(*) AS known, EXISTS (SELECT 1 FROM there) AS rows,
                   COALESCE(pg_catalog.json_agg(l.database_name ORDER BY l.database_name)
                       FILTER (WHERE there.name IS NULL), '[]') AS lost
            FROM provisioning.tenant_link l LEFT JOIN there ON there.name = l.database_name
            -- a tenant with a workspace had a row, whichever run wrote its link
            WHERE (l.registered_at IS NOT NULL OR l.workspace_id IS NOT NULL) AND l.registry_row_gone_at IS NULL
            """
        ).format(names=names or sql.SQL("SELECT NULL::text AS name WHERE false")),
        own_path=(await registry.described()).runs_code,
    )
    return KnownRows(row["known"], tuple(row["lost"]), None if names is None else row["rows"])


async def store_registered(database: Database, *, seen: Sequence[str], gone: Sequence[str]) -> None:
    """Remember that these tenants have a registry row, and of those that theirs was taken away."""
    if not seen and not gone:
        return
    await database.execute(
        """
        UPDATE provisioning.tenant_link SET
            registered_at = COALESCE(registered_at, now()),
            registry_row_gone_at = CASE WHEN database_name = ANY(%(gone)s) THEN now() END
        WHERE database_name = ANY(%(seen)s) OR database_name = ANY(%(gone)s)
        """,
        {"seen": list(seen), "gone": list(gone)},
    )
