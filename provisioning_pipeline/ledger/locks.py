"""PostgreSQL's advisory locks: one at a time per tenant, server of which a place is claimed, request, certification.

Each lock is held by a transaction on a connection of its own and lives as long as that: a killed process, a cancelled
task and a broken connection let go at once, without a lease to wait for and without anything to clean up. A transaction
keeps its session to itself through a pooler too, and leaves nothing behind on it.

Any role that may connect to this database can take the same advisory locks. It keeps one tenant, one request or one
server from its turn with each, delays nothing else, and is named to the operator. What all wait
for has a lock of a table of ours instead, which no such role can take (`alone`).

A connection may break while the work goes on. So before each write of that work the lock is asked whether it still
holds. A lost one is taken again where no other session has written under it in between, and ends the work otherwise.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, LiteralString

from psycopg import Error, errors, sql

from provisioning_pipeline.clients.guards import guarded_by, unguarded
from provisioning_pipeline.clients.postgres import Connection, Database, Row, anew_if_lost, answers
from provisioning_pipeline.model.condition import Reason
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
    """Who holds this lock, and what ends it, in sentences; empty: no session seems to."""
    query = sql.SQL(
        """
        SELECT DISTINCT a.pid, quote_ident(a.usename) AS role, a.application_name AS program,
               host(a.client_addr) AS address, a.xact_start AS since, {may_write} AS ours
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE a.pid <> pg_backend_pid() AND {is_it} ORDER BY a.pid LIMIT 3
        """
    ).format(may_write=sql.SQL(MAY_WRITE), is_it=is_it)
    rows: list[Row] = []
    # we report the lock; a holder that we cannot name is no trouble of its own
    with suppress(Fault, Error):
        rows = await database.fetch(query, parameters)
    return " ".join(_sentence(row, database.name) for row in rows)


def _sentence(row: Row, database_name: str) -> str:
    facts = [row["program"], row["address"] and f"from {row['address']}"]
    facts.append(row["since"] and f"in a transaction since {row['since']:%Y-%m-%d %H:%M:%S %Z}")
    shown = ", ".join(fact for fact in facts if fact)
    who = f"Session {row['pid']} of role {row['role']}{f' ({shown})' if shown else ''} holds the lock"
    end = f"SELECT pg_terminate_backend({row['pid']})"
    if row["ours"]:
        return f"{who}; where that is no run that still works, an administrator ends it: {end}."
    return (
        f"{who}, and that role is none of this program's. An administrator ends it ({end}) and keeps it out: REVOKE "
        f'CONNECT ON DATABASE "{database_name}" FROM {row["role"]}, and FROM PUBLIC.'
    )


TENANTS = 730_155
_SERVERS = 730_156
_REQUESTS = 730_157
_CERTIFICATIONS = 730_158
_LAUNCHES = 730_160
"""First keys of the two-part locks, so that no other program's advisory locks meet ours."""

SIGN_OF_LIFE_SECONDS: Final = 10.0
_NO_TIMEOUTS: LiteralString = """
    BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL tcp_keepalives_idle = 30;
    SET LOCAL tcp_keepalives_interval = 10;
    SET LOCAL tcp_keepalives_count = 3
"""
"""A timeout of our role says nothing about who holds a lock. Read committed keeps no row from vacuum. A machine that
vanishes without a word, in a power cut say, lets go within a minute: the server would believe in it for two hours."""


def tenant_lock(database: Database, database_name: str, *, wait_seconds: float) -> AbstractAsyncContextManager[None]:
    """Hold the tenant's lock, waiting for another holder.

    Raises:
        Fault: BUSY, as for all locks: when it is still held after `wait_seconds`, or before a write once it was lost.
    """
    busy = f"Another run has been working on this tenant for over {wait_seconds:g} s; the next run looks again."
    return _held(_Lock(database, TENANTS, database_name, busy), wait_seconds)


def server_lock(database: Database, server: str, *, wait_seconds: float) -> AbstractAsyncContextManager[None]:
    """Hold a server's lock while one of its last places is claimed."""
    busy = f"Another run has been claiming a place on {server} for over {wait_seconds:g} s; the next run looks again."
    return _held(_Lock(database, _SERVERS, server, busy), wait_seconds)


def request_lock(database: Database, name: str, *, wait_seconds: float) -> AbstractAsyncContextManager[None]:
    """Hold a request's lock while it is looked for, carried out and stored."""
    busy = f"The same request has been at work for over {wait_seconds:g} s; send it again."
    return _held(_Lock(database, _REQUESTS, name, busy), wait_seconds)


def certification_lock(database: Database, server: str) -> AbstractAsyncContextManager[None]:
    """Hold the lock of a server's certification, which removes what another one has made. Waits for none."""
    busy = f"A certification of {server} is under way already. Start again when it has ended."
    return _held(_Lock(database, _CERTIFICATIONS, server, busy), 0.0)


def launch_lock(database: Database, name: str, *, wait_seconds: float) -> AbstractAsyncContextManager[None]:
    """Hold the lock of a launch from the look for a run at work until the new one is stored."""
    busy = f"Another process has been launching a run for {name} for over {wait_seconds:g} s."
    return _held(_Lock(database, _LAUNCHES, name, busy), wait_seconds)


async def alone(connection: Connection, table: LiteralString, *, wait_seconds: float) -> None:
    """Wait until no other caller of this for the same table of the ledger is inside a transaction, until the end
    of this one. Everyone may still read and write the table; only roles that may write to it can take this lock.

    Raises:
        LockNotAvailable: when it took longer. What else this transaction waits for has the same limit.
    """
    await _wait_at_most(connection, wait_seconds)
    await connection.execute(
        sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(sql.Identifier("provisioning", table))
    )


async def _wait_at_most(connection: Connection, seconds: float) -> None:
    milliseconds = sql.Literal(max(1, int(seconds * 1000)))
    await connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(milliseconds))


async def begin_to_hold(connection: Connection) -> None:
    """Begin a transaction that stays open for as long as a lock in it is to be held, whatever timeouts our role has."""
    await connection.execute(_NO_TIMEOUTS)
    if connection.info.server_version >= 170_000:
        await connection.execute("SET LOCAL transaction_timeout = 0")


@asynccontextmanager
async def _held(lock: "_Lock", wait_seconds: float) -> AsyncIterator[None]:
    try:
        await lock.take(wait_seconds)
        with guarded_by(lock.must_hold):
            yield
    finally:
        await lock.release()


class _Lock:
    """One lock of one holder.

    Before its first write the holder signs the ledger's row of that lock. A holder that gets a lost lock back and finds
    the signature that was there before knows that no other holder has written under it meanwhile.
    """

    def __init__(self, database: Database, kind: int, name: str, busy: str) -> None:
        self._database = database
        self._kind = kind
        self._name = name
        self._busy = busy
        self._connection: Connection | None = None
        self._signature = uuid.uuid4()
        self._last: uuid.UUID | None = None
        """The signature that stands there; None: there is none."""
        self._can_sign = kind not in (_REQUESTS, _LAUNCHES) and not database.read_only
        """Without signatures nothing is known of who wrote last, so a lost lock stays lost."""
        self._lost: Fault | None = None
        self._asking = asyncio.Lock()

    async def take(self, wait_seconds: float) -> None:
        """Wait for the lock."""
        until = time.monotonic() + wait_seconds
        while True:
            connection = await self._database.connect_alone()
            try:
                if await self._try(connection, max(0.0, until - time.monotonic())):
                    if self._can_sign:
                        self._can_sign, self._last = await self._found(connection)
                    self._connection = connection
                    return
            except (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected):
                # however the wait ended, another session holds it
                pass
            except Error as error:
                # the connection may have broken while we waited
                if not (connection.closed and time.monotonic() < until):
                    raise (self._database.fault_of(error, connection) or error) from None
                continue
            finally:
                if self._connection is None:
                    await connection.close()
            raise Fault(FaultKind.BUSY, Reason.TENANT_BUSY, await self._told())

    async def _try(self, connection: Connection, wait_seconds: float) -> bool:
        """Take the lock in a transaction that stays open. The server's own queue is first come, first served."""
        await begin_to_hold(connection)
        if wait_seconds:
            await _wait_at_most(connection, wait_seconds)
            await connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [self._kind, self._name])
            return True
        cursor = await connection.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [self._kind, self._name]
        )
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def _told(self) -> str:
        """That another session holds the lock, and which; a request's sender learns only the former."""
        # the second key is shown without its sign
        is_it = sql.SQL(ADVISORY + " AND l.objid::bigint = (hashtext(%s)::bigint + 4294967296) %% 4294967296")
        holder = await _in_words(self._database, is_it, [self._kind, self._name])
        if self._kind != _REQUESTS:
            return f"{self._busy} {holder}".rstrip()
        if holder:
            _LOG.warning("A request waited in vain for its lock. %s", holder)
        return self._busy

    async def release(self) -> None:
        if self._connection is None:
            return
        with suppress(Error):
            await self._connection.rollback()
        await self._connection.close()

    async def must_hold(self) -> None:
        """Make sure before a write that no other session may be writing; once lost for good, BUSY every time."""
        async with self._asking:
            if self._lost is None:
                self._lost = await self._why_lost()
            if self._lost is not None:
                raise self._lost

    async def _why_lost(self) -> Fault | None:
        if await self._is_ours() or (self._can_sign and await self._regained()):
            if not self._can_sign or self._last == self._signature:
                return None
            await self._sign()
            # asked once more: the signature was written while the lock was ours
            if await self._is_ours():
                return None
        return Fault(
            FaultKind.BUSY,
            Reason.TENANT_BUSY,
            f"The connection that held the lock of {self._name} broke, so another run may have begun on it. This one "
            "stopped before its next write; the next run goes on. If it stays, look at who ends connections of ours to "
            f"{self._database.where}.",
        )

    async def _is_ours(self) -> bool:
        assert self._connection is not None
        return not self._connection.closed and await answers(self._connection, SIGN_OF_LIFE_SECONDS)

    async def _found(self, connection: Connection) -> tuple[bool, uuid.UUID | None]:
        """Whether there are signatures, and whose stands there; none in a ledger of an earlier version."""
        cursor = await connection.execute("SELECT to_regclass('provisioning.lock_signature') IS NOT NULL")
        if await cursor.fetchone() != (True,):
            return False, None
        cursor = await connection.execute(
            "SELECT signature FROM provisioning.lock_signature WHERE kind = %s AND name = %s", [self._kind, self._name]
        )
        row = await cursor.fetchone()
        return True, row[0] if row else None

    async def _sign(self) -> None:
        """Let others know that we write under this lock."""
        with unguarded():
            await self._database.execute(
                """
                INSERT INTO provisioning.lock_signature AS l (kind, name, signature) VALUES (%s, %s, %s)
                ON CONFLICT (kind, name) DO UPDATE SET signature = excluded.signature, signed_at = now()
                """,
                [self._kind, self._name, self._signature],
            )
        self._last = self._signature

    @anew_if_lost
    async def _regained(self) -> bool:
        connection = await self._database.connect_alone()
        try:
            if await self._try(connection, 0.0) and await self._found(connection) == (True, self._last):
                self._connection = connection
                return True
        except Error as error:
            raise (self._database.fault_of(error, connection) or error) from None
        finally:
            if self._connection is not connection:
                await connection.close()
        return False
