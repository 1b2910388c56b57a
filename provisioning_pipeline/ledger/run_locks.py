"""Who is at work, by PostgreSQL's locks: a run by a lock of its processes, a tenant by the tenant's lock.

A killed process and a machine that restarts let go of their locks; what Dagster says of their run stays as it was. A
lock says this only of a session whose role may write to the ledger: anybody who may connect can take the same one.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from psycopg import Error, sql

from provisioning_pipeline.clients.postgres import Database, answers
from provisioning_pipeline.ledger.lock_holders import ADVISORY, MAY_WRITE
from provisioning_pipeline.ledger.locks import SIGN_OF_LIFE_SECONDS, TENANTS, begin_to_hold
from provisioning_pipeline.model.fault import Fault

_RUNS = 730_161
"""First key of the locks of runs."""
_EVERY_SECONDS = 10.0
_AGAIN_SECONDS = 1.0


@asynccontextmanager
async def holding_run_lock(database: Database, run_id: str) -> AsyncIterator[None]:
    """Hold the lock of a run inside, from the beginning on unless the ledger is away."""
    tried = asyncio.Event()
    holder = asyncio.create_task(hold_run_lock(database, run_id, tried))
    try:
        await tried.wait()
        yield
    finally:
        holder.cancel()
        await asyncio.wait([holder])


async def hold_run_lock(database: Database, run_id: str, tried: asyncio.Event | None = None) -> None:
    """Hold the lock of a run until cancelled, and take it again whenever its connection is lost.

    It is shared: each process of the run holds it. While the ledger is away no process holds it, and the run goes on.
    `tried` is set once it is held, or could not be taken at once.
    """
    tried = tried or asyncio.Event()
    while True:
        with suppress(Fault, Error):
            connection = await database.connect_alone()
            try:
                await begin_to_hold(connection)
                await connection.execute("SELECT pg_advisory_xact_lock_shared(%s, hashtext(%s))", [_RUNS, run_id])
                tried.set()
                while await answers(connection, SIGN_OF_LIFE_SECONDS):  # noqa: ASYNC110  # no event tells of a dead peer
                    await asyncio.sleep(_EVERY_SECONDS)
            finally:
                await connection.close()
        tried.set()
        await asyncio.sleep(_AGAIN_SECONDS)


async def runs_at_work(database: Database, run_ids: Collection[str]) -> frozenset[str]:
    """Those of these runs of which a process lives."""
    return await _held(database, _RUNS, run_ids)


async def tenants_at_work(database: Database, names: Collection[str]) -> frozenset[str]:
    """Those of these tenants at which a process is, of a run in Dagster or of the command line: database names."""
    return await _held(database, TENANTS, names)


async def _held(database: Database, kind: int, names: Collection[str]) -> frozenset[str]:
    if not names:
        return frozenset()
    query = sql.SQL(
        """
        SELECT name FROM unnest(%s::text[]) name
        -- the second key is shown without its sign
        WHERE (hashtext(name)::bigint + 4294967296) %% 4294967296 IN (
            SELECT l.objid::bigint FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE {is_it} AND {ours})
        """
    ).format(is_it=sql.SQL(ADVISORY), ours=sql.SQL(MAY_WRITE))
    rows = await database.fetch(query, [list(names), kind])
    return frozenset(row["name"] for row in rows)
