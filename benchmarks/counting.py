"""How often this process calls something."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import psycopg


@dataclass
class Sent:
    """What PostgreSQL was sent: statements, those that begin and end transactions aside, and how often it was
    connected to."""

    statements: int = 0
    connections: int = 0


@contextmanager
def sent_to_postgres() -> Iterator[Sent]:
    """Counts everything that this process sends meanwhile over psycopg's asynchronous connections."""
    sent = Sent()
    execute, connect = psycopg.AsyncCursor.execute, psycopg.AsyncConnection.connect

    async def executing(cursor: Any, *arguments: Any, **options: Any) -> Any:
        # of what ends a transaction nothing is seen here
        sent.statements += not (isinstance(arguments[0], str) and arguments[0].startswith("BEGIN"))
        return await execute(cursor, *arguments, **options)

    async def connecting(*arguments: Any, **options: Any) -> Any:
        sent.connections += 1
        return await connect(*arguments, **options)

    with (
        mock.patch.object(psycopg.AsyncCursor, "execute", executing),
        mock.patch.object(psycopg.AsyncConnection, "connect", connecting),
    ):
        yield sent
