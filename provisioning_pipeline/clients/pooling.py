"""What stands between us and a database: whether transactions and locks hold there, and is there room for a run."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from psycopg import Error

from provisioning_pipeline.clients.postgres import Connection, Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_PROBE: Final = 730_159
"""First key of the locks that are taken here, as `ledger.locks` has its own."""
_SECONDS: Final = 10.0


async def sessions_in_words(database: Database, *, needed: int, reason: Reason) -> str:
    """What an operator should know of our sessions there, to go on after what was found; empty: nothing.

    Args:
        needed: how many connections a run opens there at most.
        reason: of the fault, where such a database cannot serve us.

    Raises:
        Fault: when a pooler there gives us no transactions of our own, or a lock that is held over one connection is
            not held over another.
    """
    if await _pooled(database, reason):
        return f"; through a pooler that shares sessions, which must have {needed} of them for each run of this program"
    return await _room(database, needed)


async def _pooled(database: Database, reason: Reason) -> bool:
    """Whether a pooler gives our connections another session for each transaction."""
    where = f"{database.system} ({database.where})"
    async with AsyncExitStack() as stack:
        one, other = [await _closed_at_the_end(stack, database) for _ in range(2)]
        try:
            async with asyncio.timeout(_SECONDS):
                sessions = {await _hold(database, one, other, reason)}
                # whether free sessions are given out in turn or the last one first, one of these orders shows it
                sessions.add(await _sessions(one, other))
                sessions.add(frozenset((1 - place, pid) for place, pid in await _sessions(other, one)))
        except TimeoutError:
            raise Fault(
                FaultKind.SERVER,
                reason,
                f"{where} gave a second connection no answer while a first one was inside a transaction. A pooler "
                "there has one session for us: raise its pool_size.",
            ) from None
        except Error as error:
            raise (database.fault_of(error, one if one.closed else other) or error) from None
        return len(sessions) > 1


async def _closed_at_the_end(stack: AsyncExitStack, database: Database) -> Connection:
    connection = await database.connect_alone()
    stack.push_async_callback(connection.close)
    return connection


async def _hold(database: Database, one: Connection, other: Connection, reason: Reason) -> frozenset[tuple[int, int]]:
    """Take a lock over one connection and see that the other one may not have it; who had which session."""
    query = "SELECT pg_try_advisory_xact_lock(%s, %s)"
    async with one.transaction(), other.transaction():
        mine = await _pid(one)
        await one.execute(query, [_PROBE, mine])
        row = await (await other.execute(query, [_PROBE, mine])).fetchone()
        if row and row[0]:
            raise Fault(
                FaultKind.SERVER,
                reason,
                f"{database.system} ({database.where}) gave one lock to two connections, so nothing would keep two "
                "runs apart. Its URL leads to several servers, or to a pooler that changes sessions inside a "
                "transaction: give the URL of one server.",
            )
        return frozenset({(0, mine), (1, await _pid(other))})


async def _sessions(first: Connection, second: Connection) -> frozenset[tuple[int, int]]:
    async with first.transaction(), second.transaction():
        return frozenset({(0, await _pid(first)), (1, await _pid(second))})


async def _pid(connection: Connection) -> int:
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return int(row[0])


async def _room(database: Database, needed: int) -> str:
    """Whether there are fewer connections for us than a run may need."""
    rows = await database.fetch(
        """
        SELECT what, most FROM (
            SELECT format('role %%s', rolname), rolconnlimit FROM pg_roles WHERE rolname = session_user
            UNION ALL SELECT format('database %%s', datname), datconnlimit FROM pg_database
                WHERE datname = current_database()
            UNION ALL SELECT 'the server', current_setting('max_connections')::int
                - current_setting('superuser_reserved_connections')::int
        ) AS l(what, most)
        WHERE most BETWEEN 0 AND %s ORDER BY most LIMIT 1
        """,
        [needed - 1],
    )
    if not rows:
        return ""
    return f"; {rows[0]['what']} allows {rows[0]['most']} connections, and a run opens up to {needed} there"
