"""Rows of tables that others own, by `COPY ... TO STDOUT`: the one way of reading that runs none of their code.

A SELECT is planned with our rights, and planning alone runs functions of theirs: of indexes, of statistics, of
constraints; then come operators and casts of their types. A look at the catalogue before it is no help: an index may
come in between, whatever lock a reader can take. COPY of a table plans nothing. The server itself refuses, on the table
that it has locked, what is not plain (a view, a foreign table) and, with `row_security` off, one with policies for us;
and it calls nothing but the output functions of types, which only a superuser can write. All this is in PostgreSQL's
`DoCopy`, `BeginCopyTo` and `CREATE TYPE`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

from psycopg import Error, errors, sql
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from provisioning_pipeline.clients.postgres import Connection

Line = list[str | None]

_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def comes_raw(connection: Connection) -> bool:
    """Whether its database has no encoding, so that PostgreSQL would refuse to send what is no UTF-8."""
    return connection.pgconn.parameter_status(b"server_encoding") == b"SQL_ASCII"


def copy_of(what: sql.Composable, *, raw: bool) -> sql.Composed:
    """The statement that reads `what`: a query in brackets, or a table with its columns. `raw`: bytes as they are."""
    return sql.SQL("COPY {} TO STDOUT (ENCODING {})").format(what, "SQL_ASCII" if raw else "UTF8")


async def copied(
    connection: Connection, statements: bytes, begins: Callable[[int], None] = lambda _: None
) -> AsyncIterator[tuple[int, Line]]:
    """The rows that these statements in UTF-8 give, sent in one message, each with the number of its COPY, from 0 on.

    Values are as PostgreSQL writes them, NULL is None; what is no UTF-8 is replaced by U+FFFD. Others than COPY give no
    rows. `begins` is told of each COPY before its rows.

    Raises:
        psycopg.Error: what PostgreSQL refuses, or that the connection broke.
    """
    pgconn = connection.pgconn
    pgconn.send_query(statements)
    while pgconn.flush():
        await _ready(pgconn, to_write=True)
    number = -1
    refused: Error | None = None
    try:
        while (result := await _result(pgconn)) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                refused = refused or errors.error_from_result(result)
            elif result.status == ExecStatus.COPY_OUT:
                number += 1
                begins(number)
                while (line := await _line(pgconn)) is not None:
                    yield number, _values(line)
    except Error:
        # the end of a connection comes after the server's reason for it
        if refused is None:
            raise
    if refused is not None:
        raise refused


async def _result(pgconn: PGconn) -> PGresult | None:
    while pgconn.is_busy():
        await _ready(pgconn)
        pgconn.consume_input()
    return pgconn.get_result()


async def _line(pgconn: PGconn) -> bytes | None:
    while True:
        length, line = pgconn.get_copy_data(1)
        if length > 0:
            return bytes(line)
        if length < 0:
            return None
        await _ready(pgconn)
        pgconn.consume_input()


async def _ready(pgconn: PGconn, *, to_write: bool = False) -> None:
    loop, place = asyncio.get_running_loop(), pgconn.socket
    ready = loop.create_future()

    def now() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(place, now)
    if to_write:
        loop.add_writer(place, now)
    try:
        await ready
    finally:
        loop.remove_reader(place)
        if to_write:
            loop.remove_writer(place)


def _values(line: bytes) -> Line:
    return [None if value == b"\\N" else _text(value) for value in line.removesuffix(b"\n").split(b"\t")]


def _text(value: bytes) -> str:
    if b"\\" in value:
        value = _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), value)
    return value.decode(errors="replace")
