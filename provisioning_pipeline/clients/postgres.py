"""PostgreSQL: pooled connections whose failures are sentences and whose dry run is enforced by the server."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, LiteralString, Self

from psycopg import AsyncConnection, OperationalError, errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

# where nobody set up logs (the command line), a database that is away is told once, by the fault; where somebody did,
# the pool's warnings go there like all others
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())

Row = dict[str, Any]
_CONNECT_TIMEOUT_SECONDS = 5
_APPLICATION = "provisioning_pipeline"


def database_name(url: str) -> str:
    """The database that a connection URL names."""
    return str(conninfo_to_dict(url).get("dbname", ""))


def with_database(url: str, name: str) -> str:
    """The same server and user, another database. The result holds the password."""
    return make_conninfo(url, dbname=name)


def without_secrets(url: str) -> str:
    """Host, port and database of a connection URL, for people."""
    parameters = conninfo_to_dict(url)
    hosts = str(parameters.get("host") or "localhost").split(",")
    ports = str(parameters.get("port") or "").split(",")
    # one port for all of several hosts, or one for each
    shown = [
        f"{host}:{port or 5432}" for host, port in zip(hosts, ports if ports[1:] else ports * len(hosts), strict=False)
    ]
    return f"{','.join(shown)}/{parameters.get('dbname', '')}"


class Database:
    """One database. Opened on first use; every statement commits by itself unless inside `transaction`.

    Args:
        url: connection URL; never shown.
        system: what to call it in error texts, for example `The tenant registry`.
        unreachable: the reason that stands for "no connection".
        read_only: PostgreSQL refuses every write on these connections.
    """

    def __init__(
        self, url: str, *, system: str, unreachable: Reason, read_only: bool, most_connections: int = 4
    ) -> None:
        self._url = url
        self.system = system
        self.where = without_secrets(url)
        self.name = database_name(url)
        self._unreachable = unreachable
        self._read_only = read_only
        self._most = most_connections
        self._pool: AsyncConnectionPool[AsyncConnection[TupleRow]] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
        self._closed = True

    async def _opened(self) -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
        if self._closed:
            message = f"{self.system} was used after it was closed"
            raise RuntimeError(message)
        if self._pool is None:
            # a plain connection first: the pool would wait out its timeout and hide the cause
            connection = await AsyncConnection.connect(
                self._url, connect_timeout=_CONNECT_TIMEOUT_SECONDS, application_name=_APPLICATION
            )
            await connection.close()
            if self._pool is None:
                pool = AsyncConnectionPool(
                    self._url,
                    # what its warnings call it
                    name=self.system,
                    min_size=0,
                    max_size=self._most,
                    open=False,
                    kwargs={
                        "autocommit": True,
                        "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
                        "application_name": _APPLICATION,
                    },
                    configure=self._configure,
                )
                self._pool = pool
                await pool.open(wait=False)
        return self._pool

    async def _configure(self, connection: AsyncConnection[TupleRow]) -> None:
        if self._read_only:
            await connection.execute("SET default_transaction_read_only = on")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """A pooled connection in autocommit mode.

        Raises:
            Fault: transient, when the database cannot be reached or the connection breaks.
        """
        try:
            pool = await self._opened()
            async with pool.connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise self._no_connection(await self._why_not(error)) from None
        except OperationalError as error:
            if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
                raise
            raise self._no_connection(error) from None

    async def _why_not(self, waited: PoolTimeout) -> Exception:
        """Why the pool had no connection to give: what the server says to a new one, else that all are in use."""
        try:
            connection = await AsyncConnection.connect(
                self._url, connect_timeout=_CONNECT_TIMEOUT_SECONDS, application_name=_APPLICATION
            )
        except OperationalError as error:
            return error
        await connection.close()
        return waited

    def _no_connection(self, error: Exception) -> Fault:
        return Fault(
            FaultKind.TRANSIENT,
            self._unreachable,
            f"{self.system} ({self.where}) cannot be reached: {_first_line(error)}. "
            "Check host, port, user, password and database name in the settings.",
        )

    @asynccontextmanager
    async def own_connection(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """A connection outside the pool, closed at the end, with all that its session holds."""
        try:
            connection = await AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_SECONDS, application_name=_APPLICATION
            )
        except OperationalError as error:
            raise self._no_connection(error) from None
        try:
            await self._configure(connection)
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """A connection inside one transaction."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(
        self, query: LiteralString | sql.Composed, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> list[Row]:
        """Run one query and return its rows as dictionaries."""
        async with self.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(query, parameters)
            return await cursor.fetchall()

    async def fetch_tuples(
        self, query: LiteralString | sql.Composed, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> list[TupleRow]:
        """Run one query and return its rows as tuples, which is cheaper where there are very many."""
        async with self.connection() as connection:
            return await (await connection.execute(query, parameters)).fetchall()

    async def execute(
        self, query: LiteralString | sql.Composed, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> int:
        """Run one statement and return how many rows it touched."""
        async with self.connection() as connection:
            return (await connection.execute(query, parameters)).rowcount


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
