"""Tenant databases: what shows that something wrote to one, and an inspection of one.

A tenant manager may leave a whole copy of Twenty's schema `core` there, a part of one, an older one, or none. The
owner of such a database may mean harm. So it is read without a query over any table of theirs (`COPY`), by what the
catalogue says (`tenant_catalogue`), with an end to bytes and seconds on our side (`Gate`), and what it says is
text until it is proved to be more (`tenant_reader`).
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Final, LiteralString

from psycopg import Error, errors
from psycopg.pq import ConnStatus

from provisioning_pipeline.clients.postgres import Connection, Database, with_database
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.tenant_catalogue import (
    MEMBERS,
    READ,
    Table,
    begin,
    has_database,
    members_tables,
    missing,
)
from provisioning_pipeline.clients.tenant_reader import TenantReader, TooLarge
from provisioning_pipeline.clients.twenty.members import schema_name
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.core_rows import WorkspaceRow, found_workspaces
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.tenant_database import Inspection

_AT_ONCE: Final = 65_536
_GOODBYE_SECONDS: Final = 1.0


class Shut(Enum):
    """Why a gate ended its connection."""

    TOO_MUCH = "the server sent more bytes than are taken"
    TOO_LATE = "the time was over"


class Gate:
    """What passes between one connection and its server.

    Args:
        shut: why the connection was ended here; None while it is not.
    """

    def __init__(self, server: socket.socket, libpq: socket.socket, most_bytes: int) -> None:
        self.shut: Shut | None = None
        self._server, self._libpq = server, libpq
        self._left = most_bytes
        self._passing = [asyncio.ensure_future(self._pass(*ways)) for ways in ((libpq, server), (server, libpq))]

    async def _pass(self, source: socket.socket, target: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await loop.sock_recv(source, _AT_ONCE):
                if source is self._server:
                    self._left -= len(data)
                    if self._left < 0:
                        self.shut_for(Shut.TOO_MUCH)
                        return
                await loop.sock_sendall(target, data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def shut_for(self, why: Shut) -> None:
        """End the connection on both sides; the first reason given stays."""
        self.shut = self.shut or why
        for end in (self._libpq, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Wait, not for long, until libpq's last words have reached the server, and give the sockets back."""
        to_server, _ = self._passing
        await asyncio.wait([to_server], timeout=_GOODBYE_SECONDS)
        for task in self._passing:
            task.cancel()
        # only then: the loop knows sockets by numbers, which the next connection may get
        await asyncio.wait(self._passing)
        self._server.close()
        self._libpq.close()


@asynccontextmanager
async def gated(connection: Connection, *, most_bytes: int, seconds: float) -> AsyncIterator[Gate]:
    """Everything that this connection sends and gets meanwhile goes through a gate. It is closed at the end.

    Args:
        connection: not in use elsewhere, with nothing under way.
        most_bytes: that its server may send, with what encryption adds.
        seconds: from now on.
    """
    place = connection.fileno()
    server = socket.socket(fileno=os.dup(place))
    ours, libpqs = socket.socketpair()
    for end in (server, ours, libpqs):
        end.setblocking(False)
    # libpq reads and writes by this number alone, also below TLS: so it needs to know nothing of the gate
    os.dup2(libpqs.fileno(), place, inheritable=False)
    libpqs.close()
    gate = Gate(server, ours, most_bytes)
    timer = asyncio.get_running_loop().call_later(seconds, gate.shut_for, Shut.TOO_LATE)
    try:
        yield gate
    finally:
        timer.cancel()
        await connection.close()
        await gate.close()


STATEMENT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 15.0
MOST_ROWS: Final = 10_000
_BYTES_A_ROW: Final = 800
_GONE_SECONDS: Final = 5.0
_GONE_BYTES: Final = 100_000
_LONGEST_ERROR: Final = 300
_LONGEST_SCHEMA: Final = 63
_MOST_NAMED: Final = 3

# --- evidence -----------------------------------------------------------------------------------------------------

_EVIDENCE: LiteralString = """
    SELECT COALESCE(json_object_agg(d.datname, concat_ws(' ',
        d.datid,  -- another one was dropped and made anew under the same name
        d.tup_inserted, d.tup_updated, d.tup_deleted,  -- with those of the catalogue, so also DDL and TRUNCATE
        'reset', extract(epoch FROM d.stats_reset),  -- the counters began at 0 again
        server.since)), '{}') AS evidence
    FROM pg_stat_database d, (
        SELECT concat_ws(' ',
            'start', extract(epoch FROM pg_postmaster_start_time()),  -- another server: restored, or promoted
            -- a crash loses the counters, and the postmaster outlives one of any other process
            'kept', (SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter),
            -- nothing is counted: never the same twice
            CASE WHEN current_setting('track_counts') <> 'on' THEN extract(epoch FROM clock_timestamp()) END
        ) AS since
    ) server
    WHERE d.datname IS NOT NULL AND (%(names)s::text[] IS NULL OR d.datname = ANY(%(names)s))
"""


async def evidence(cluster: Database, names: Sequence[str] | None = None) -> dict[str, str]:
    """Database name → what stays the same for as long as nothing writes there, of all databases or of these; one query.

    It stays the same when something is only read, and is another text after any INSERT, UPDATE, DELETE, TRUNCATE or
    DDL, after the database was made anew, and when PostgreSQL lost or reset its counters. Autovacuum may change it too.

    To be read before the look that it stands for: PostgreSQL counts a write only after its commit, up to a minute
    later, so what the look does not see is not in the evidence either, and a later one shows it.
    """
    (row,) = await cluster.fetch(_EVIDENCE, {"names": None if names is None else list(names)})
    return dict(row["evidence"])


_HELD_UP: LiteralString = """
    SELECT COALESCE(json_object_agg(held.name, held.waiting), '{}') AS held_up
    FROM (
        SELECT d.datname AS name, count(*) AS waiting
        FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE NOT l.granted AND l.locktype = 'relation' AND l.relation < 16384 GROUP BY d.datname
    ) held
"""


async def held_up(cluster: Database) -> dict[str, int]:
    """Database name → how many sessions wait there for a lock on a table of PostgreSQL's own, where any do.

    The owner of a database can hold such a lock (VACUUM FULL pg_class behind a transaction that reads it). A new
    connection then hangs before any timeout of ours counts, and stays at the server when we let go of it.
    """
    (row,) = await cluster.fetch(_HELD_UP)
    return dict(row["held_up"])


# --- a look -------------------------------------------------------------------------------------------------------

_CHANGED: Final = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.WrongObjectType,
    errors.InvalidColumnReference,
)
"""Tables were changed after we asked the catalogue."""


class _Changed(Exception):
    """The connection was cut, or tables were changed, while we read."""


async def look(
    url: str,
    name: str,
    evidence: str,
    looked_at: datetime,
    *,
    most_rows: int = MOST_ROWS,
    statement_seconds: float = STATEMENT_SECONDS,
    seconds: float = LOOK_SECONDS,
) -> Inspection:
    """Look into one tenant database over a connection of its own: three messages, five where there are workspaces.

    Trouble with that database is part of the look and never raised; no message holds a secret. Nothing of its owner's
    is run. A connection that is cut is opened once more, since the database may be gone for good.

    Args:
        url: of any database of the same cluster; never shown.
        name: the database to look into.
        evidence: as it was read before.
        looked_at: by the clock of the ledger's database.
        most_rows: of one table that are taken. Of all tables together, 800 bytes for each are read.
        statement_seconds: how long one statement may take.
        seconds: how long all of it may take; a few more where the database may be gone.
    """
    found = Inspection(name, evidence, looked_at)
    database = Database(
        with_database(url, name),
        system="The tenant's database",
        unreachable=Reason.DATABASE_UNREACHABLE,
        read_only=True,
        owner_is_trusted=False,
    )
    until = asyncio.get_running_loop().time() + seconds
    try:
        try:
            return await _attempt(database, found, most_rows, statement_seconds, until)
        except _Changed:
            return await _attempt(database, found, most_rows, statement_seconds, until, is_last=True)
    except TimeoutError:
        return _unread(found, f"it took longer than {seconds:g} s")
    except Fault as fault:
        if await _is_gone(url, name):
            return replace(
                found, vanished=True, reason=Reason.DATABASE_VANISHED, message="The database was dropped meanwhile."
            )
        return replace(found, reason=Reason.DATABASE_UNREACHABLE, message=fault.message)


async def _attempt(
    database: Database,
    found: Inspection,
    most_rows: int,
    statement_seconds: float,
    until: float,
    *,
    is_last: bool = False,
) -> Inspection:
    """One try.

    Raises:
        _Changed: where another is worth it; never of the last.
        TimeoutError: when the time is over.
        Fault: when there is no connection to be had.
    """
    async with asyncio.timeout_at(until):
        connection = await database.connect_alone()
    most_bytes, left = most_rows * _BYTES_A_ROW, until - asyncio.get_running_loop().time()
    async with gated(connection, most_bytes=most_bytes, seconds=left) as gate:
        reader: TenantReader | None = None
        try:
            owners, catalogue = await begin(connection, READ, statement_seconds=statement_seconds)
            owned = replace(found, owners=owners | catalogue.owners)
            if "core" not in catalogue.schemas:
                message = "The tenant's database has no schema core yet."
                return replace(owned, reason=Reason.NO_SCHEMA_YET, message=message)
            if catalogue.unsafe:
                return _unsafe(owned, catalogue.unsafe)
            reader = TenantReader(connection, most_rows)
            return await _read(reader, owned, {name: table for (_, name), table in catalogue.tables.items()})
        except TooLarge as error:
            return _too_large(found, str(error))
        except Error as error:
            if gate.shut is Shut.TOO_LATE:
                raise TimeoutError from None
            if gate.shut is Shut.TOO_MUCH:
                reading = reader.reading if reader else "the catalogue"
                return _too_large(found, f"with {reading}, more than {most_bytes:,} bytes came")
            if not is_last and (isinstance(error, _CHANGED) or connection.pgconn.status == ConnStatus.BAD):
                raise _Changed from None
            return _unread(found, first_line(error)[:_LONGEST_ERROR], error)


async def _read(reader: TenantReader, found: Inspection, core: Mapping[str, Table]) -> Inspection:
    rows, flags = await reader.core(core)
    schemas = {workspace.id: _schemas_of(workspace) for workspace in rows.workspaces}
    if wanted := sorted({schema for names in schemas.values() for schema in names}):
        members = await members_tables(reader.connection, wanted, MEMBERS)
        if members.unsafe:
            return _unsafe(found, members.unsafe)
        found = replace(found, owners=found.owners | members.owners)
        rows = replace(
            rows,
            with_schema=frozenset(own for own, names in schemas.items() if members.schemas.intersection(names)),
            records=await reader.records(schemas, members),
        )
    await reader.end()
    lacking = missing(core)
    return replace(
        found,
        reason=Reason.OLDER_SCHEMA if lacking else None,
        message=f"Schema core in the tenant's database has no {', '.join(lacking)}: it is older than what this program "
        "knows, or was not copied in full. What is there was read."
        if lacking
        else "",
        workspaces=found_workspaces(rows),
        flags=tuple(sorted(flags, key=lambda flag: flag.row_id or "")),
    )


def _schemas_of(workspace: WorkspaceRow) -> list[str]:
    """The schemas that are this workspace's: the one that it names and the one that Twenty would make."""
    names = [workspace.schema] if workspace.schema else []
    with suppress(ValueError):  # an id that is no UUID: not Twenty's
        names.append(schema_name(workspace.id))
    # PostgreSQL would cut a longer one, to the name of another
    return [name for name in dict.fromkeys(names) if len(name.encode()) <= _LONGEST_SCHEMA]


async def _is_gone(url: str, name: str) -> bool:
    """Whether the cluster has no such database any more; what it says of that itself depends on its language."""
    cluster = Database(url, system="The tenant cluster", unreachable=Reason.DATABASE_UNREACHABLE, read_only=True)
    try:
        async with asyncio.timeout(_GONE_SECONDS):
            connection = await cluster.connect_alone()
        async with gated(connection, most_bytes=_GONE_BYTES, seconds=_GONE_SECONDS):
            return not await has_database(connection, name)
    except (Fault, Error, TimeoutError):
        return False


# --- what is reported ---------------------------------------------------------------------------------------------


def kept_out(found: Inspection, waiting: int) -> Inspection:
    """The look into a database that is not opened, because so many sessions hang there as they begin."""
    return _unread(
        found,
        f"{waiting} sessions wait there for a lock on PostgreSQL's own tables, and one more of ours would stay there",
        hint="Look who holds it in pg_locks and end that session (pg_terminate_backend); the next run looks again.",
    )


def _unread(
    found: Inspection, why: str, error: Error | None = None, hint: str = "The next run looks again."
) -> Inspection:
    if isinstance(error, errors.InsufficientPrivilege):
        hint = "Grant our user USAGE on schema core and on the workspaces' schemas, and SELECT on their tables."
    elif isinstance(error, errors.LockNotAvailable):
        hint = "Another session holds a lock on a table there, which pg_locks shows; the next run looks again."
    return replace(
        found, reason=Reason.DATABASE_UNREACHABLE, message=f"The tenant's database cannot be read: {why}. {hint}"
    )


def _too_large(found: Inspection, what: str) -> Inspection:
    return replace(
        found,
        reason=Reason.TENANT_DATABASE_TOO_LARGE,
        message=f"Nothing was taken of the tenant's database: {what}. No more is read of one tenant's "
        "(for rows, PROVISIONING_TENANT_DATABASE_ROWS says how many).",
    )


def _unsafe(found: Inspection, unsafe: Sequence[str]) -> Inspection:
    named = first_few(unsafe, _MOST_NAMED, by="; ", more="; and ")
    return replace(
        found,
        reason=Reason.TENANT_DATABASE_UNSAFE,
        message=f"The tenant's database was not read: {named}. By that its owner could "
        "run code with our rights, or hide rows from us. Have the owner put a plain table in its place.",
    )
