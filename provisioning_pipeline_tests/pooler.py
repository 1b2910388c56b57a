"""A pooler as PgBouncer is one, before a test's PostgreSQL: clients share few sessions, each for one transaction."""

import queue
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg

_SSL_REQUEST = 80877103
_OK = b"R" + struct.pack("!ii", 8, 0)
_PARAMETERS = b"".join(
    b"S" + struct.pack("!i", 4 + len(name) + len(value) + 2) + name + b"\0" + value + b"\0"
    for name, value in ((b"server_version", b"15.0"), (b"client_encoding", b"UTF8"), (b"integer_datetimes", b"on"))
)
_READY = b"Z" + struct.pack("!i", 5) + b"I"


@dataclass
class Pooler:
    """Reached at `url`. Any password will do: it signs in to the server by itself."""

    server_url: str
    statement_mode: bool = False
    url: str = ""
    _sessions: "queue.LifoQueue[psycopg.Connection[tuple[object, ...]]]" = field(default_factory=queue.LifoQueue)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def start(self, sessions: int) -> None:
        """Open the sessions that all clients share, and listen."""
        for _ in range(sessions):
            self._sessions.put(psycopg.connect(self.server_url, autocommit=True))
        database = urlsplit(self.server_url).path
        self.url = f"postgresql://anybody:anything@127.0.0.1:{self._listener.getsockname()[1]}{database}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Let go of clients and sessions."""
        self._listener.close()
        while not self._sessions.empty():
            self._sessions.get().close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        held: psycopg.Connection[tuple[object, ...]] | None = None
        try:
            self._welcome(client)
            while True:
                asked = _request(client)
                if self.statement_mode and b"BEGIN" in asked:
                    client.sendall(_refusal("transaction blocks not allowed in statement pooling mode"))
                    return
                session = held = held or self._sessions.get(timeout=20)
                for message, ended in _answer(session, asked):
                    if ended:
                        # before the client hears of it: it may ask at once over another connection
                        held = None
                        self._sessions.put(session)
                    client.sendall(message)
        except (OSError, EOFError, queue.Empty):
            pass
        finally:
            client.close()
            if held is not None:
                # inside a transaction: nobody gets that session any more
                held.close()
                with suppress(psycopg.Error):
                    self._sessions.put(psycopg.connect(self.server_url, autocommit=True))

    def _welcome(self, client: socket.socket) -> None:
        while True:
            (length,) = struct.unpack("!i", _exactly(client, 4))
            body = _exactly(client, length - 4)
            if struct.unpack("!i", body[:4])[0] != _SSL_REQUEST:
                break
            client.sendall(b"N")
        if b"options\0" in body:
            client.sendall(_refusal("unsupported startup parameter: options"))
            raise EOFError
        client.sendall(_OK + _PARAMETERS + _READY)


@contextmanager
def pooled(server_url: str, *, sessions: int = 1, statement_mode: bool = False) -> Iterator[Pooler]:
    """A running pooler in transaction mode, or in statement mode."""
    pooler = Pooler(server_url, statement_mode)
    pooler.start(sessions)
    try:
        yield pooler
    finally:
        pooler.stop()


def _request(client: socket.socket) -> bytes:
    """All messages up to the one after which the client waits."""
    found = b""
    while True:
        kind = _exactly(client, 1)
        if kind == b"X":
            raise EOFError
        head = _exactly(client, 4)
        found += kind + head + _exactly(client, struct.unpack("!i", head)[0] - 4)
        if kind in b"QS":
            return found


def _answer(session: "psycopg.Connection[tuple[object, ...]]", asked: bytes) -> Iterator[tuple[bytes, bool]]:
    """Pass a request on: each message of its answer, and whether it is the last one of a transaction."""
    with socket.socket(fileno=socket.dup(session.fileno())) as server:
        server.setblocking(True)
        server.sendall(asked)
        while True:
            select.select([server], [], [])
            head = _exactly(server, 5)
            body = _exactly(server, struct.unpack("!i", head[1:])[0] - 4)
            ready = head[:1] == b"Z"
            yield head + body, ready and body == b"I"
            if ready:
                return


def _exactly(source: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = source.recv(count - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def _refusal(text: str) -> bytes:
    body = b"SFATAL\0VFATAL\0C08P01\0M" + text.encode() + b"\0\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body
