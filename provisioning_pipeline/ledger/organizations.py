"""What ledger and registry say of the same tenants: who has a row, and who has which Clerk organization."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow, class_row

from provisioning_pipeline.clients.postgres import Database, anew_if_lost
from provisioning_pipeline.ledger.locks import alone, logging_holders_of
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.registry_table import MUST_HAVE, VIEW, Column, text_of
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.model.people import Claim

_ONE_AT_A_TIME: Final = "alembic_version"
"""The table whose lock we take to give an organization: it has one row that only migrations change."""
_LOCK_SECONDS = 20.0


async def claims(registry: Registry, organizations: Sequence[str] | None = None) -> list[Claim]:
    """Every claim to these organizations, or to all, by links and by registry rows; none where there is no ledger.

    Raises:
        Fault: when the registry hides rows from our user.
    """
    if not await has_ledger(registry.database):
        return []
    columns = await registry.readable_columns()
    wanted = None if organizations is None else list(organizations)
    rows = await registry.read(_query(registry, columns), {"wanted": wanted})
    return [Claim(**row) for row in rows]


@asynccontextmanager
async def alone_with_organizations(
    registry: Registry, *, own_path: bool, wait_seconds: float
) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """A transaction in which no other key or run gives an organization to a tenant; `own_path` as for `Database`.

    A policy of a table below a view, which would hide a rival's row, is an error in it.

    Raises:
        Fault: BUSY when others are inside for too long.
    """
    is_view = (await registry.described()).kind == VIEW
    async with (
        logging_holders_of(registry.database, _ONE_AT_A_TIME),
        registry.database.transaction(own_path=own_path) as connection,
    ):
        await alone(connection, _ONE_AT_A_TIME, wait_seconds=wait_seconds)
        if is_view:
            await connection.execute("SET LOCAL row_security = off")
        yield connection


def _query(registry: Registry, columns: Mapping[str, Column]) -> sql.Composed:
    rows: sql.Composable = sql.SQL("SELECT NULL::text AS name, NULL::text AS named, NULL::text AS status WHERE false")
    if set(MUST_HAVE) <= columns.keys():
        rows = sql.SQL(
            "SELECT database_name::text AS name, NULLIF({}, ''::text) AS named, NULLIF({}, ''::text) AS status FROM {}"
        ).format(text_of(columns, "clerk_org_id"), text_of(columns, "status"), registry.identifier)
    return sql.SQL(
        """
        WITH registered AS MATERIALIZED ({rows})
        SELECT r.named AS organization_id, r.name AS database_name, l.database_name IS NOT NULL AS linked,
               true AS registered, r.named, r.status, false AS given_up
        FROM registered r
        LEFT JOIN provisioning.tenant_link l ON l.database_name = r.name AND l.clerk_org_id = r.named
        WHERE r.named IS NOT NULL AND (%(wanted)s::text[] IS NULL OR r.named = ANY(%(wanted)s))
        UNION ALL
        SELECT l.clerk_org_id, l.database_name, true, r.name IS NOT NULL, r.named, r.status,
               l.organization_named AND r.name IS NOT NULL AND r.named IS NULL
        FROM provisioning.tenant_link l LEFT JOIN registered r ON r.name = l.database_name
        WHERE l.clerk_org_id IS NOT NULL AND r.named IS DISTINCT FROM l.clerk_org_id
          AND (%(wanted)s::text[] IS NULL OR l.clerk_org_id = ANY(%(wanted)s))
        """
    ).format(rows=rows)


@anew_if_lost
async def store_organizations(
    registry: Registry, found: Mapping[str, str], *, stands: Callable[[Claim], bool]
) -> frozenset[str]:
    """Store the organization of these tenants: database name → organization. Those that could not have theirs.

    A run has read for minutes, and a key may have registered a tenant meanwhile: the transaction that gives an
    organization reads once more what other tenants have. It takes one only from a tenant whose claim no longer stands.

    Args:
        stands: whether another tenant still has an organization by this claim.

    Raises:
        Fault: when the registry cannot be read whole.
    """
    columns = await registry.readable_columns()
    if not found:
        return frozenset()
    await _note_named(registry, columns, found)
    changed: dict[str, str] = dict(
        await registry.database.fetch_tuples(
            """
            SELECT found.name, found.organization
            FROM unnest(%s::text[], %s::text[]) AS found(name, organization)
            JOIN provisioning.tenant_link l ON l.database_name = found.name
            WHERE l.clerk_org_id IS DISTINCT FROM found.organization
            """,
            [list(found), list(found.values())],
        )
    )
    if not changed:
        return frozenset()
    own_path = (await registry.described()).runs_code
    async with alone_with_organizations(registry, own_path=own_path, wait_seconds=_LOCK_SECONDS) as connection:
        cursor = connection.cursor(row_factory=class_row(Claim))
        await cursor.execute(_query(registry, columns), {"wanted": sorted(set(changed.values()))})
        known = await cursor.fetchall()
        named = {(claim.organization_id, claim.database_name) for claim in known if claim.named}
        refused = frozenset(
            name
            for name, organization in changed.items()
            if any(
                claim.organization_id == organization
                and claim.database_name != name
                and stands(claim)
                and not (claim.given_up and (organization, name) in named)
                for claim in known
            )
        )
        names = [name for name in changed if name not in refused]
        organizations = [changed[name] for name in names]
        by_row = [(organization, name) in named for name, organization in zip(names, organizations, strict=True)]
        await connection.execute(
            """
            UPDATE provisioning.tenant_link l SET clerk_org_id = NULL, organization_moved_at = pg_catalog.now()
            FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])) AS found(name, organization)
            WHERE l.clerk_org_id = found.organization AND l.database_name <> found.name
            """,
            [names, organizations],
        )
        await connection.execute(
            """
            UPDATE provisioning.tenant_link l SET
                clerk_org_id = found.organization, organization_moved_at = NULL, organization_named = found.by_row,
                updated_at = pg_catalog.now()
            FROM ROWS FROM (
                pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::boolean[])
            ) AS found(name, organization, by_row)
            WHERE l.database_name = found.name AND l.clerk_org_id IS DISTINCT FROM found.organization
            """,
            [names, organizations, by_row],
        )
    return refused


async def _note_named(registry: Registry, columns: Mapping[str, Column], found: Mapping[str, str]) -> None:
    """Store of these tenants that the registry names what they are linked to: taking that out means something."""
    if not {*MUST_HAVE, "clerk_org_id"} <= columns.keys():
        return
    await registry.database.execute(
        sql.SQL(
            """
            UPDATE provisioning.tenant_link l SET organization_named = true FROM {} r
            WHERE NOT l.organization_named AND l.database_name = ANY(%s)
              AND r.database_name::text = l.database_name AND {} = l.clerk_org_id
            """
        ).format(registry.identifier, text_of(columns, "r", "clerk_org_id")),
        [list(found)],
        own_path=(await registry.described()).runs_code,
    )


async def store_registered(
    database: Database, *, seen: Sequence[str], gone: Sequence[str], settled: Sequence[str] = ()
) -> None:
    """Store that the tenants in `seen` have a registry row, that those in `gone` have none now, and that those in
    `settled` lost theirs for good."""
    if not (seen or gone or settled):
        return
    await database.execute(
        """
        UPDATE provisioning.tenant_link SET
            registered_at = COALESCE(registered_at, now()),
            registry_row_gone_at =
                CASE WHEN database_name <> ALL(%(seen)s) THEN COALESCE(registry_row_gone_at, now()) END,
            registry_row_settled_at = CASE WHEN database_name = ANY(%(settled)s) THEN now() END
        WHERE database_name = ANY(%(seen)s::text[] || %(gone)s::text[] || %(settled)s::text[])
        """,
        {"seen": list(seen), "gone": list(gone), "settled": list(settled)},
    )
