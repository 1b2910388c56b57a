"""PostgreSQL: pooled connections whose failures are sentences and whose dry run is enforced by the server.

Nothing is ever set on a session: what holds for one transaction ends with it. So connections may come through a pooler
that gives the same session to others, and what we read stays read-only all the same.

Every transaction, also that of a single query, has a fixed search path. So a function or an operator of ours is
PostgreSQL's own, whatever others made of the same name in `public`, and whatever path our role has.
"""

import asyncio
import json
import logging
import os
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, LiteralString, ParamSpec, Self, TypeVar

from psycopg import AsyncConnection, AsyncCursor, DataError, Error, OperationalError, errors, sql
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, dict_row
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import set_json_loads

from provisioning_pipeline.clients.guards import may_write
from provisioning_pipeline.clients.postgres_refusals import (
    ConnectionLost,
    OddJson,
    Refusal,
    failure_of,
    first_line,
    refusal_of,
)
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

P = ParamSpec("P")
# the fault alone reports what befalls a connection; psycopg's own words go where logs are set up
logging.getLogger("psycopg").addHandler(logging.NullHandler())

T = TypeVar("T")
Row = dict[str, Any]
Connection = AsyncConnection[TupleRow]
Query = LiteralString | sql.Composed
Parameters = Sequence[Any] | Mapping[str, Any] | None

FIXED_PATH: Final[LiteralString] = "SET LOCAL search_path = pg_catalog, pg_temp"
"""For one transaction: what is not named with its schema is PostgreSQL's own."""
PATIENCE_SECONDS: Final = 20.0
"""A server that answered before may be restarting: as long as that takes, we do not give up."""
_PLACE_SECONDS: Final = 30.0
"""Longest wait for a connection that another task of this process uses."""
_MOST_IDLE_SECONDS: Final = 300.0
_TRUSTED_IDLE_SECONDS: Final = 5.0
"""A connection that was idle for longer is asked for a sign of life: a firewall may have dropped it silently."""
_SIGN_OF_LIFE_SECONDS: Final = 2.0
_TRIES: Final = 3
"""A statement under which the server goes down each time must not keep it down."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0
_CONNECTION_DEFAULTS: Final[Mapping[str, str | int]] = {
    "connect_timeout": 5,
    "application_name": "provisioning_pipeline",
    "client_encoding": "UTF8",
    # no firewall sees a connection of ours idle for long; one that is dead all the same is found out within a minute
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""For what the URL does not say itself."""
_SHARE_FOR_LOCKS: Final = 0.6
"""Of the time that we wait for a connection, how long the server waits for a lock that it needs to give one."""
_NOT_PASSED_ON: Final = "unsupported startup parameter"
"""What a pooler says to options."""


def database_name(url: str) -> str:
    """The database that a connection URL names."""
    return str(conninfo_to_dict(url).get("dbname", ""))


def with_database(url: str, name: str) -> str:
    """The same server and user, another database. The result holds the password."""
    return make_conninfo(url, dbname=name)


def without_secrets(url: str) -> str:
    """Host, port and database of a connection URL, to be shown."""
    parameters = conninfo_to_dict(url)
    hosts = str(parameters.get("host") or "localhost").split(",")
    ports = str(parameters.get("port") or "").split(",")
    # one port for all of several hosts, or one for each
    shown = [
        f"{host}:{port or 5432}" for host, port in zip(hosts, ports if ports[1:] else ports * len(hosts), strict=False)
    ]
    return f"{','.join(shown)}/{parameters.get('dbname', '')}"


async def _connect(url: str, *, owner_is_trusted: bool) -> Connection:
    """One connection in autocommit mode.

    Statements are never prepared: through a pooler, the next one may meet another session.

    The owner of a database can have each new session in it wait for a lock of its catalogue (`VACUUM FULL pg_class`
    behind a transaction that is left open). The server does not notice that we gave up, and keeps that session, and its
    place, for as long as the owner likes. So the server itself has to end the wait, before we do.
    """
    # sent as every client may send it: psycopg reads times in this form alone, and we show them as UTC; a role may be
    # given another form or zone
    os.environ |= {"PGDATESTYLE": "ISO", "PGTZ": "UTC"}
    given = conninfo_to_dict(url)
    ours = {name: value for name, value in _CONNECTION_DEFAULTS.items() if name not in given}

    async def connected(**more: str) -> Connection:
        target = make_conninfo(url, **ours, **more)
        return await AsyncConnection.connect(target, autocommit=True, prepare_threshold=None)

    if owner_is_trusted:
        connection = await connected()
    else:
        # 0 is for ever
        seconds = float(given.get("connect_timeout") or 0) or float(_CONNECTION_DEFAULTS["connect_timeout"])
        options = f"{given.get('options') or ''} -c lock_timeout={round(seconds * 1000 * _SHARE_FOR_LOCKS)}"
        try:
            connection = await connected(options=options.strip())
        except OperationalError as error:
            if _NOT_PASSED_ON not in str(error):
                raise
            connection = await connected()
    set_json_loads(loads, connection)
    return connection


def loads(data: str | bytes) -> Any:
    """A value of type json or jsonb.

    Raises:
        OddJson: when Python cannot read it.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OddJson(
            "it is nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        ) from None


EARLIEST: Final = datetime(1678, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2262, 1, 1, tzinfo=UTC)
"""As far as pandas counts, too."""


class AnyTime(TimestamptzLoader):
    """Loads a time that Python has no word for as the earliest or latest one that is understood everywhere here."""

    def load(self, data: Buffer) -> datetime:
        """One time in text form."""
        try:
            return super().load(data)
        except DataError:
            text = bytes(data)
            return EARLIEST if text.startswith(b"-") or text.endswith(b"BC") else LATEST


def anew_if_lost(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Of a function that does everything in one transaction: done anew where a connection broke before the commit."""

    @wraps(work)
    async def tried(*arguments: P.args, **named: P.kwargs) -> T:
        for _ in range(_TRIES - 1):
            try:
                return await work(*arguments, **named)
            except ConnectionLost as lost:
                if lost.committing:
                    raise
        return await work(*arguments, **named)

    return tried


class Database:
    """One database. Opened on first use; every statement commits by itself unless inside `transaction`.

    A connection that its server or a firewall closed meanwhile is replaced before it is given out. A server that
    answered before and restarts is waited for; one that never answered is reported at once.

    Args:
        url: connection URL; never shown.
        system: what to call it in error texts, for example `The tenant registry`.
        unreachable: the reason that stands for "no connection".
        read_only: PostgreSQL refuses every write on these connections.
        most_connections: how many this process uses at once, besides those outside the pool.
        patience_seconds: how long to wait for a server that restarts or has no connection free.
        most_of_all: how many connections a run opens there at most, for the advice where there are too few.
        owner_is_trusted: its owner does not mean to keep our sessions waiting.
    """

    def __init__(
        self,
        url: str,
        *,
        system: str,
        unreachable: Reason,
        read_only: bool,
        most_connections: int = 4,
        patience_seconds: float = PATIENCE_SECONDS,
        most_of_all: int | None = None,
        owner_is_trusted: bool = True,
    ) -> None:
        self._url = url
        self._owner_is_trusted = owner_is_trusted
        self.system = system
        self.where = without_secrets(url)
        self.name = database_name(url)
        self.read_only = read_only
        self._unreachable = unreachable
        self._patience = patience_seconds
        self._most_of_all = most_of_all or most_connections
        self._most = most_connections
        self._places = asyncio.Semaphore(most_connections)
        self._idle: list[tuple[Connection, float]] = []
        self._answered = False
        self._away_since: float | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop()[0].close()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def fetch(self, query: Query, parameters: Parameters = None, *, own_path: bool = False) -> list[Row]:
        """Run one query and return its rows as dictionaries; `own_path` as in `transaction`."""
        return await self._fetched(
            lambda connection: connection.cursor(row_factory=dict_row), query, parameters, own_path=own_path
        )

    async def fetch_tuples(self, query: Query, parameters: Parameters = None) -> list[TupleRow]:
        """Run one query and return its rows as tuples, which is cheaper where there are very many."""
        return await self._fetched(lambda connection: connection.cursor(), query, parameters, own_path=False)

    async def _fetched(
        self, opened: Callable[[Connection], AsyncCursor[T]], query: Query, given: Parameters, *, own_path: bool
    ) -> list[T]:
        reads = _is_read(query)

        async def ask(connection: Connection) -> list[T]:
            cursor = await opened(connection).execute(query, given)
            try:
                return await cursor.fetchall()
            except OddJson:
                raise
            except DataError:
                if not reads:
                    raise
            # one odd time must not hide all other rows; reading every time with this takes four times as long
            cursor = opened(connection)
            cursor.adapters.register_loader("timestamptz", AnyTime)
            return await (await cursor.execute(query, given)).fetchall()

        return await self._run(ask, writes=not reads, own_path=own_path)

    async def execute(self, query: Query, parameters: Parameters = None, *, own_path: bool = False) -> int:
        """Run one statement and return how many rows it touched; `own_path` as in `transaction`."""

        async def write(connection: Connection) -> int:
            return (await connection.execute(query, parameters)).rowcount

        return await self._run(write, writes=True, own_path=own_path)

    @anew_if_lost
    async def _run(self, work: Callable[[Connection], Awaitable[T]], *, writes: bool, own_path: bool) -> T:
        async with self.transaction(own_path=own_path, writes=writes) as connection:
            return await work(connection)

    @asynccontextmanager
    async def transaction(self, *, own_path: bool = False, writes: bool = True) -> AsyncIterator[Connection]:
        """A connection inside one transaction.

        Args:
            writes: False: nothing is written in it, so that it needs no leave and its end is never in doubt.
            own_path: with the search path of our role in place of the fixed one, for statements under which code of
                the tenant manager's runs (triggers, functions below a view), which may rely on it. Such statements
                name each function with its schema and compare texts with texts, so that nothing planted fits better.

        Raises:
            Fault: transient, when the database cannot be reached or the connection breaks.
        """
        writes = writes and not self.read_only
        # a role may be given another isolation: behind a lock, a snapshot from before the lock would be read
        begin: LiteralString = f"BEGIN ISOLATION LEVEL READ COMMITTED{' READ ONLY' if self.read_only else ''}"
        if not own_path:
            begin = f"{begin}; {FIXED_PATH}"
        if writes:
            await may_write()
        await self._take_a_place()
        connection: Connection | None = None
        committing = False
        try:
            async with AsyncExitStack() as stack:
                connection = await self._begun(stack, begin)
                yield connection
                if writes:
                    if _has_news(connection):
                        # its end, most likely: found out before the commit is sent, it is known that nothing holds
                        await connection.execute("SELECT 1")
                    committing = True
        except Error as error:
            fault = self.fault_of(error, connection, committing=committing)
            if isinstance(error, errors.ReadOnlySqlTransaction) and connection is not None:
                # a standby by now: the next connection may lead to the new primary
                await connection.close()
            if fault is None:
                raise
            raise fault from None
        finally:
            try:
                if connection is not None:
                    await self._give_back(connection)
            finally:
                self._places.release()

    # --- connections ----------------------------------------------------------------------------------------------

    async def connect_alone(self) -> Connection:
        """A connection outside the pool, in autocommit mode; the caller closes it.

        Raises:
            Fault: transient, when the database cannot be reached.
        """
        connection, _ = await self._ready(pooled=False)
        return connection

    async def _take_a_place(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self.system} was used after it was closed")
        try:
            async with asyncio.timeout(_PLACE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise Fault(
                FaultKind.TRANSIENT,
                self._unreachable,
                f"{self.system} ({self.where}): all {self._most} connections of this process have been in use for over "
                f"{_PLACE_SECONDS:g} s. Look at what holds them in pg_stat_activity; the next run tries again.",
            ) from None

    async def _begun(self, stack: AsyncExitStack, begin: LiteralString) -> Connection:
        """A connection that answers, inside a transaction. Nothing but what begins it was sent on it yet."""
        while True:
            connection, fresh = await self._ready()
            try:
                await stack.enter_async_context(_transaction(connection, begin))
            except Error as error:
                await connection.close()
                fault = self.fault_of(error, connection, committing=False)
                if fresh or not isinstance(fault, ConnectionLost):
                    raise fault or error from None
            except BaseException:
                await connection.close()
                raise
            else:
                return connection

    async def _ready(self, *, pooled: bool = True) -> tuple[Connection, bool]:
        """A connection that answers, and whether it is new."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            while pooled and self._idle:
                connection, since = self._idle.pop()
                if await _is_alive(connection, time.monotonic() - since):
                    return connection, False
            try:
                connection = await _connect(self._url, owner_is_trusted=self._owner_is_trusted)
            except OperationalError as error:
                if not await self._may_wait(error):
                    raise self._refused(error) from None
            else:
                self._answered, self._away_since = True, None
                # for callers that begin a transaction of their own on a connection outside the pool
                await connection.set_read_only(True if self.read_only else None)
                return connection, True
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _may_wait(self, error: OperationalError) -> bool:
        refusal, _ = refusal_of(error)
        if refusal is Refusal.FINAL or (refusal in (Refusal.AWAY, Refusal.UNKNOWN) and not self._answered):
            return False
        if refusal is Refusal.FULL and self._idle:
            # one of our own makes room
            await self._idle.pop()[0].close()
        # one wait for an outage, however many ask meanwhile
        self._away_since = self._away_since or time.monotonic()
        return time.monotonic() - self._away_since < self._patience

    async def _give_back(self, connection: Connection) -> None:
        if self._closed or connection.closed or connection.info.transaction_status is not TransactionStatus.IDLE:
            await connection.close()
            return
        now = time.monotonic()
        self._idle.append((connection, now))
        while now - self._idle[0][1] > _MOST_IDLE_SECONDS:
            await self._idle.pop(0)[0].close()

    # --- failures in words ----------------------------------------------------------------------------------------

    def fault_of(self, error: Error, connection: Connection | None, *, committing: bool = False) -> Fault | None:
        """What PostgreSQL's error means for a run; None: it is about the statement, which its caller knows."""
        return failure_of(
            error,
            f"{self.system} ({self.where})",
            self._unreachable,
            lost=connection is not None and connection.closed,
            committing=committing,
            read_only=self.read_only,
        )

    def _refused(self, error: OperationalError) -> Fault:
        refusal, advice = refusal_of(error)
        where, text = f"{self.system} ({self.where})", first_line(error)
        if refusal is Refusal.FULL:
            advice = (
                f"A run opens up to {self._most_of_all} connections there: raise the limit of our role or of the "
                "database, or lower PROVISIONING_TENANT_CONCURRENCY (docs/installation.md#connections)."
            )
        return Fault(FaultKind.TRANSIENT, self._unreachable, f"{where} cannot be reached: {text}. {advice}")


@asynccontextmanager
async def _transaction(connection: Connection, begin: LiteralString) -> AsyncIterator[None]:
    """One transaction that begins in our words: psycopg's own would take another round trip for the search path."""
    await connection.execute(begin)
    try:
        yield
    except BaseException:
        with suppress(Error):
            await connection.rollback()
        raise
    await connection.commit()


def _is_read(query: Query) -> bool:
    begin: object = query
    while isinstance(begin, sql.Composed):
        # a query over hundreds of schemas is put together once, by psycopg
        begin = next(iter(begin), "")
    text = begin.as_string() if isinstance(begin, sql.Composable) else str(begin)
    return text.lstrip()[:6].upper() == "SELECT"


async def _is_alive(connection: Connection, idle_seconds: float) -> bool:
    """Whether the server still answers on an idle connection; it is closed if not."""
    if connection.closed:
        return False
    if idle_seconds < _TRUSTED_IDLE_SECONDS and not _has_news(connection):
        return True
    return await answers(connection, _SIGN_OF_LIFE_SECONDS)


def _has_news(connection: Connection) -> bool:
    """Whether something came in on an idle connection: its end, most likely. Costs no round trip."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))


async def answers(connection: Connection, within_seconds: float) -> bool:
    """Whether the server answers on this connection in time; it is closed if not."""
    asked = asyncio.ensure_future(connection.execute("SELECT 1"))
    try:
        await asyncio.wait({asked}, timeout=within_seconds)
    finally:
        if not asked.done():
            # to give up on a silent server takes as long as the network does: we do not wait for that
            asked.cancel()
            asked.add_done_callback(lambda _: connection.pgconn.finish())
    if not asked.done():
        return False
    if asked.cancelled() or asked.exception() is not None:
        await connection.close()
        return False
    return True
