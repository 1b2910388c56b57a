"""Which tenants the ledger has known with a registry row, and which of these rows the registry has lost."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.schema import has_ledger


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
