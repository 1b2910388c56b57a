"""Who holds a lock of ours, for the operator who has to end it.

Any role that may connect to the registry's database can take an advisory lock there, also one of ours. What only roles
that may write to the ledger can hold are locks of its tables.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, LiteralString

from psycopg import Error, sql

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.model.fault import Fault, FaultKind

_LOG = logging.getLogger(__name__)
ADVISORY: Final[LiteralString] = """
    l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.classid = %s
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
"""
"""Whether `l`, of pg_locks, is a lock with this first key. Parameter: the key."""
MAY_WRITE: Final[LiteralString] = """
    COALESCE(has_table_privilege(a.usesysid, to_regclass('provisioning.lock_signature')::oid, 'UPDATE'), true)
"""
"""Whether the session `a`, of pg_stat_activity, is that of a role that may write to the ledger."""
_MOST_TOLD: Final = 3


async def holder_in_words(database: Database, kind: int, name: str) -> str:
    """Who holds the advisory lock of these two keys, and what ends it, in sentences; empty: no session seems to."""
    # the second key is shown without its sign
    is_it = sql.SQL(ADVISORY + " AND l.objid::bigint = (hashtext(%s)::bigint + 4294967296) %% 4294967296")
    return await _in_words(database, is_it, [kind, name])


@asynccontextmanager
async def logging_holders_of(database: Database, table: LiteralString) -> AsyncIterator[None]:
    """Log who holds a lock of this table of the ledger, where what is done inside waits in vain for one."""
    try:
        yield
    except Fault as fault:
        if fault.kind is FaultKind.BUSY:
            is_it = sql.SQL("l.relation = to_regclass(%s)::oid AND l.granted AND l.mode ~ 'Exclusive'")
            holder = await _in_words(database, is_it, [f"provisioning.{table}"])
            _LOG.warning("%s %s", fault.message, holder)
        raise


async def _in_words(database: Database, is_it: sql.SQL, parameters: Sequence[object]) -> str:
    query = sql.SQL(
        """
        SELECT DISTINCT a.pid, quote_ident(a.usename) AS role, a.application_name AS program,
               host(a.client_addr) AS address, a.xact_start AS since, {may_write} AS ours
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE a.pid <> pg_backend_pid() AND {is_it} ORDER BY a.pid LIMIT {most}
        """
    ).format(may_write=sql.SQL(MAY_WRITE), is_it=is_it, most=sql.Literal(_MOST_TOLD))
    rows: list[Row] = []
    # the lock is the trouble that is told; that its holder cannot be named is none
    with suppress(Fault, Error):
        rows = await database.fetch(query, parameters)
    return " ".join(_sentence(row, database.name) for row in rows)


def _sentence(row: Row, database_name: str) -> str:
    facts = [row["program"], row["address"] and f"from {row['address']}"]
    facts.append(row["since"] and f"in a transaction since {row['since']:%Y-%m-%d %H:%M:%S %Z}")
    shown = ", ".join(fact for fact in facts if fact)
    told = f"Session {row['pid']} of role {row['role']}{f' ({shown})' if shown else ''} holds the lock"
    end = f"SELECT pg_terminate_backend({row['pid']})"
    if row["ours"]:
        return f"{told}; where that is no run that still works, an administrator ends it: {end}."
    return (
        f"{told}, and that role is none of this program's. An administrator ends it ({end}) and keeps it out: REVOKE "
        f'CONNECT ON DATABASE "{database_name}" FROM {row["role"]}, and FROM PUBLIC.'
    )
