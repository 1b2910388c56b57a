"""A tenant's name in the ledger: it follows the registry row of which it has the id."""

from collections.abc import Mapping, Sequence

from psycopg import sql

from provisioning_pipeline.clients.postgres import Database, anew_if_lost
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_BY_NAME = """
    SELECT c.relname AS name, f.oid IS NOT NULL AS follows, EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY(i.indkey)
    ) AS distinct
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'provisioning'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'database_name' AND NOT a.attisdropped
    LEFT JOIN pg_constraint f ON f.conrelid = c.oid AND f.contype = 'f' AND a.attnum = ANY(f.conkey)
    WHERE c.relkind = 'r' AND c.relname <> 'tenant_link' ORDER BY c.relname
"""
"""The tables of the ledger that name tenants: do they follow by a foreign key, has each name its rows but once?"""


@anew_if_lost
async def move_tenant(database: Database, before: str, name: str) -> None:
    """Have everything that the ledger knows of a tenant go by another database name, in one transaction.

    The name that it leaves keeps a row, which says for which one: its database is not taken for another tenant.

    Raises:
        Fault: BUSY, when the ledger knows a workspace, begun or made, of the new name by now; nothing was done then.
    """
    async with database.transaction() as connection:
        cursor = await connection.execute(
            """
            SELECT l.database_name, l.workspace_id IS NOT NULL OR l.registry_id IS NOT NULL OR EXISTS (
                SELECT FROM provisioning.intent i WHERE i.database_name = l.database_name AND i.settled_at IS NULL)
            FROM provisioning.tenant_link l WHERE l.database_name = ANY(%s) ORDER BY l.database_name FOR UPDATE
            """,
            [[before, name]],
        )
        known: dict[str, bool] = dict(await cursor.fetchall())
        if known.get(name) or before not in known:
            raise Fault(
                FaultKind.BUSY,
                Reason.WAITING,
                f"The ledger has learnt of {name if known.get(name) else before} while this run read; the next run "
                "looks again.",
            )
        tables = await (await connection.execute(_BY_NAME)).fetchall()
        for table, follows, distinct in tables:
            if follows:
                continue
            rows = sql.Identifier("provisioning", table)
            if distinct:
                await connection.execute(sql.SQL("DELETE FROM {} WHERE database_name = %s").format(rows), [name])
            await connection.execute(
                sql.SQL("UPDATE {} SET database_name = %s WHERE database_name = %s").format(rows), [name, before]
            )
        # the row of the new name, if there is one, knows nothing but that name: it becomes that of the old one
        if name in known:
            await connection.execute(_RENAME, [_BETWEEN, name])
        await connection.execute(_RENAME, [name, before])
        if name in known:
            await connection.execute(_RENAME, [before, _BETWEEN])
        await connection.execute(
            """
            INSERT INTO provisioning.tenant_link (database_name, slug, left_for)
            VALUES (%(before)s, %(before)s, %(name)s)
            ON CONFLICT (database_name) DO UPDATE SET
                slug = excluded.slug, left_for = excluded.left_for, clerk_org_id = NULL, registered_at = NULL,
                registry_row_gone_at = NULL, registry_row_settled_at = NULL, updated_at = now()
            """,
            {"before": before, "name": name},
        )
        await connection.execute(
            "UPDATE provisioning.tenant_link SET left_for = NULL, registry_row_gone_at = NULL, "
            "registry_row_settled_at = NULL WHERE database_name = %s",
            [name],
        )


_BETWEEN = ""
"""A name that no database has."""
_RENAME = "UPDATE provisioning.tenant_link SET database_name = %s, updated_at = now() WHERE database_name = %s"


async def store_registry_ids(database: Database, found: Mapping[str, str]) -> None:
    """Store the id of each tenant's registry row: database name → id. A row makes its name a tenant's own again."""
    if not found:
        return
    names = list(found)
    await database.execute(
        """
        UPDATE provisioning.tenant_link l SET
            registry_id = found.id, left_for = CASE WHEN found.id IS NULL THEN l.left_for END
        FROM (
            SELECT name, id FROM unnest(%(names)s::text[], %(ids)s::text[]) AS given(name, id)
            UNION ALL
            -- an id that is another row's now is evidence of nothing
            SELECT o.database_name, NULL FROM provisioning.tenant_link o
            WHERE o.registry_id = ANY(%(ids)s) AND o.database_name <> ALL(%(names)s)
        ) found
        WHERE l.database_name = found.name
        """,
        {"names": names, "ids": [found[name] for name in names]},
    )


async def store_database_oids(database: Database, found: Mapping[str, int]) -> None:
    """Store the number that the cluster gives each tenant's database: database name → number."""
    if not found:
        return
    await database.execute(
        """
        UPDATE provisioning.tenant_link l SET database_oid = found.oid
        FROM unnest(%s::text[], %s::bigint[]) AS found(name, oid) WHERE l.database_name = found.name
        """,
        [list(found), list(found.values())],
    )


async def names_by_signs(
    database: Database,
    *,
    ids: Sequence[str],
    slugs: Sequence[str] = (),
    organizations: Sequence[str] = (),
    workspaces: Sequence[str] = (),
    oids: Sequence[int] = (),
) -> list[str]:
    """The database names of the tenants that the ledger knows by any of these."""
    if not (ids or slugs or organizations or workspaces or oids) or not await has_ledger(database):
        return []
    rows = await database.fetch_tuples(
        """
        SELECT database_name FROM provisioning.tenant_link
        WHERE registry_id = ANY(%s) OR slug = ANY(%s) OR clerk_org_id = ANY(%s) OR workspace_id = ANY(%s::uuid[])
            OR database_oid = ANY(%s::bigint[])
        """,
        [list(ids), list(slugs), list(organizations), list(workspaces), list(oids)],
    )
    return [name for (name,) in rows]
