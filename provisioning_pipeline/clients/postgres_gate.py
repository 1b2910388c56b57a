"""A gate between libpq and a server that is not trusted: after so many bytes, or so long, the connection ends.

libpq holds a message whole before it gives any of it away, and one row is one message. No size in the catalogue bounds
it: a jsonb of 199 bytes, with no TOAST, comes as 78 MB when its numbers are like 1e131071 (seen on PostgreSQL 18). And
who gives up on a query through psycopg waits for what the server says to that. So bytes and seconds are counted before
libpq sees any, and libpq then meets the end of its connection, which it reports like every other.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final

from provisioning_pipeline.clients.postgres import Connection

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
