"""The cluster that holds the tenant databases: which there are, and what a look into one of them says."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pandas as pd
from psycopg import AsyncConnection, Error, OperationalError
from psycopg.rows import dict_row

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.postgres import Database, with_database
from provisioning_pipeline.model.frames import DATABASES, PROBES, frame

_AT_ONCE = 8
_TIMEOUT_SECONDS = 5


async def database_names(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> list[str]:
    """The names of the tenant databases, or of those in `only`, in one query over the catalogue, sorted.

    One row of JSON: ten thousand rows cost more than the query.
    """
    (row,) = await cluster.fetch(
        """
        SELECT COALESCE(json_agg(datname ORDER BY datname), '[]') AS names FROM pg_database
        WHERE datname ~ %(pattern)s AND NOT datistemplate AND datname <> ALL(%(excluded)s)
          AND (%(only)s::text[] IS NULL OR datname = ANY(%(only)s))
        """,
        {"pattern": pattern, "excluded": list(excluded), "only": None if only is None else list(only)},
    )
    return list(row["names"])


async def databases(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> pd.DataFrame:
    """The same as a frame with the columns of `DATABASES`."""
    return frame(DATABASES, [(name,) for name in await database_names(cluster, pattern, excluded, only)])


async def probes(cluster_url: str, names: Sequence[str]) -> pd.DataFrame:
    """Look into these databases, a few at a time; a frame with the columns of `PROBES`.

    A database that cannot be looked into is a row that says why, never an error of the run.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def probe(name: str) -> dict[str, Any]:
        async with gate:
            return await _probe(cluster_url, name)

    return frame(PROBES, await all_of(probe(name) for name in names))


async def _probe(cluster_url: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "database_name": name,
        "reachable": True,
        "vanished": False,
        "has_core": False,
        "display_name": None,
        "problem": None,
    }
    try:
        connection = await AsyncConnection.connect(
            with_database(cluster_url, name),
            connect_timeout=_TIMEOUT_SECONDS,
            autocommit=True,
            row_factory=dict_row,
            application_name="provisioning_pipeline",
        )
    except OperationalError as error:
        text = str(error).strip().splitlines()[0]
        return found | {"reachable": False, "vanished": "does not exist" in text, "problem": text}
    try:
        async with connection:
            await connection.execute("SET default_transaction_read_only = on")
            await connection.execute(f"SET statement_timeout = '{_TIMEOUT_SECONDS}s'")
            return found | await _inside(connection)
    except Error as error:
        text = str(error).strip().splitlines()[0] or type(error).__name__
        return found | {"reachable": False, "problem": text}


async def _inside(connection: AsyncConnection[dict[str, Any]]) -> dict[str, Any]:
    cursor = await connection.execute(
        """
        SELECT to_regnamespace('core') IS NOT NULL AS has_core,
               EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('core.workspace')
                       AND attname = 'displayName' AND NOT attisdropped) AS has_name
        """
    )
    shape = await cursor.fetchone()
    if not shape or not shape["has_core"]:
        return {"has_core": False}
    if not shape["has_name"]:
        return {"has_core": True}
    cursor = await connection.execute('SELECT "displayName" AS name FROM core.workspace ORDER BY id LIMIT 2')
    names = [row["name"] for row in await cursor.fetchall() if row["name"]]
    # two workspaces in one tenant database: neither name is the tenant's for certain
    return {"has_core": True, "display_name": names[0] if len(names) == 1 else None}
