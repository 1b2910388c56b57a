"""Connections that end, are refused, or are shared: what we asked for is done all the same, or told for what it is."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from provisioning_pipeline.clients import postgres
from provisioning_pipeline.clients.pooling import sessions_in_words
from provisioning_pipeline.clients.postgres import ConnectionLost, Database, anew_if_lost
from provisioning_pipeline.clients.postgres_refusals import Refusal, refusal_of
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.postgres import SandboxPostgres, free_port
from provisioning_pipeline_tests.clients.tenant import registry as database
from provisioning_pipeline_tests.cluster import running_cluster
from provisioning_pipeline_tests.pooler import pooled

pytestmark = pytest.mark.anyio
PASSWORD = "c4nary-s3cret"


@pytest.fixture(scope="module")
def shared(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    """The URL of a database with a table."""
    url = sandbox_postgres.create_database("connections")
    sandbox_postgres.execute("connections", "CREATE TABLE public.t (n int)")
    yield url
    sandbox_postgres.drop_database("connections")


@contextmanager
def altered(postgres: SandboxPostgres, statement: str, back: str) -> Iterator[None]:
    postgres.execute("postgres", statement)
    try:
        yield
    finally:
        postgres.execute("postgres", back)


def sessions(postgres: SandboxPostgres) -> list[int]:
    rows = postgres.execute(
        "postgres", "SELECT pid FROM pg_stat_activity WHERE datname = 'connections' AND application_name LIKE 'prov%'"
    )
    return [row[0] for row in rows]


def end_all(postgres: SandboxPostgres) -> None:
    """As an administrator does, and wait until they are gone."""
    for pid in sessions(postgres):
        postgres.execute("postgres", "SELECT pg_terminate_backend(%s)", [pid])
    wait_until_they_time_out(postgres)


def wait_until_they_time_out(postgres: SandboxPostgres) -> None:
    while sessions(postgres):
        pass


# --- connections that end -----------------------------------------------------------------------------------------


async def read(opened: Database) -> None:
    assert await opened.fetch("SELECT 1 AS one") == [{"one": 1}]


async def read_in_a_transaction(opened: Database) -> None:
    async with opened.transaction() as connection:
        await connection.execute("SELECT 1")


async def read_slowly(opened: Database, postgres: SandboxPostgres) -> None:
    async with opened.transaction() as connection:
        await connection.execute("SELECT 1")
        wait_until_they_time_out(postgres)
        await connection.execute("SELECT 1")


async def write(opened: Database) -> None:
    assert await opened.execute("INSERT INTO public.t VALUES (1)") == 1


ENDINGS = {"by a timeout": wait_until_they_time_out, "by an administrator": end_all}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize(
    ("ask", "read_only"), [(read, True), (read, False), (read_in_a_transaction, True), (write, False)]
)
async def test_a_connection_that_was_ended_while_idle_is_replaced(
    sandbox_postgres: SandboxPostgres,
    shared: str,
    end: Callable[[SandboxPostgres], None],
    ask: Callable[[Database], Awaitable[None]],
    read_only: bool,
) -> None:
    timeout = "20ms" if end is wait_until_they_time_out else "0"
    with altered(
        sandbox_postgres,
        f"ALTER DATABASE connections SET idle_session_timeout = '{timeout}'",
        "ALTER DATABASE connections RESET idle_session_timeout",
    ):
        async with database(shared, read_only=read_only) as opened:
            for _ in range(3):
                await ask(opened)
                end(sandbox_postgres)


async def test_a_transaction_that_breaks_before_its_commit_is_made_anew_and_nothing_is_there_twice(
    sandbox_postgres: SandboxPostgres, shared: str
) -> None:
    sandbox_postgres.execute("connections", "TRUNCATE public.t")
    tries = []

    @anew_if_lost
    async def work(opened: Database) -> None:
        tries.append(1)
        async with opened.transaction() as connection:
            await connection.execute("INSERT INTO public.t VALUES (1)")
            if len(tries) == 1:
                end_all(sandbox_postgres)
            await connection.execute("INSERT INTO public.t VALUES (2)")

    async with database(shared) as opened:
        await work(opened)
    assert len(tries) == 2
    assert sandbox_postgres.execute("connections", "SELECT n FROM public.t ORDER BY n") == [(1,), (2,)]


async def test_what_broke_is_told_for_what_it_is(sandbox_postgres: SandboxPostgres, shared: str) -> None:
    async with database(shared) as opened:
        with pytest.raises(ConnectionLost, match=r"closed our connection because .* an administrator ended it"):
            async with opened.transaction() as connection:
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with altered(
        sandbox_postgres,
        "ALTER DATABASE connections SET idle_in_transaction_session_timeout = '10ms'",
        "ALTER DATABASE connections RESET idle_in_transaction_session_timeout",
    ):
        async with database(shared) as opened:
            with pytest.raises(ConnectionLost, match="closed our connection while a transaction of ours was idle"):
                await read_slowly(opened, sandbox_postgres)


class Firewall:
    """Passes bytes on, and from `forget` on those of new connections only, without a word to either side."""

    def __init__(self, port: int) -> None:
        self.server, self.passing = port, {0}

    def forget(self) -> None:
        self.passing = {max(self.passing) + 1}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", self.server)
        mine = max(self.passing)

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if mine in self.passing:
                    target.write(data)
            target.close()

        await asyncio.gather(pass_on(reader, requests), pass_on(answers, writer), return_exceptions=True)


@pytest.mark.slow
async def test_a_connection_that_a_firewall_forgot_is_replaced(
    sandbox_postgres: SandboxPostgres, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioning_pipeline.clients.postgres._TRUSTED_IDLE_SECONDS", 0.0)
    monkeypatch.setattr("provisioning_pipeline.clients.postgres._SIGN_OF_LIFE_SECONDS", 0.1)
    firewall = Firewall(sandbox_postgres.port)
    listening = await asyncio.start_server(firewall, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with database(shared.replace(f":{sandbox_postgres.port}/", f":{port}/")) as opened:
        await read(opened)
        firewall.forget()
        async with asyncio.timeout(5):
            await read(opened)
            await write(opened)
    listening.close()


@pytest.mark.slow
async def test_a_server_that_restarts_is_waited_for() -> None:
    with running_cluster() as postgres:
        postgres.execute("postgres", "CREATE TABLE public.t (n int)")
        async with database(postgres.url()) as opened, database(postgres.url(), read_only=True) as reading:
            await asyncio.gather(write(opened), read(reading))
            postgres.stop()
            asked = [asyncio.create_task(write(opened)), asyncio.create_task(read(reading))]
            await asyncio.sleep(0)
            await asyncio.to_thread(postgres.start)
            await asyncio.gather(*asked)
        assert postgres.execute("postgres", "SELECT count(*) FROM public.t") == [(2,)]


# --- connections that are refused ---------------------------------------------------------------------------------

VISITOR = "visitor_of_connections"


@pytest.fixture
def visitor(sandbox_postgres: SandboxPostgres, shared: str) -> Iterator[str]:
    """The URL of a user who may connect."""
    role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(VISITOR), sql.Literal(PASSWORD))
    sandbox_postgres.execute("postgres", role)
    yield f"postgresql://{VISITOR}:{PASSWORD}@127.0.0.1:{sandbox_postgres.port}/connections"
    sandbox_postgres.execute("postgres", f"DROP ROLE {VISITOR}")


@pytest.mark.parametrize(
    ("statement", "back", "advice"),
    [
        (f"ALTER ROLE {VISITOR} NOLOGIN", "SELECT", "give our role LOGIN"),
        (
            "REVOKE CONNECT ON DATABASE connections FROM PUBLIC",
            "GRANT CONNECT ON DATABASE connections TO PUBLIC",
            "GRANT CONNECT ON DATABASE",
        ),
        (
            "ALTER DATABASE connections ALLOW_CONNECTIONS false",
            "ALTER DATABASE connections ALLOW_CONNECTIONS true",
            "ALLOW_CONNECTIONS false",
        ),
        (f"ALTER ROLE {VISITOR} CONNECTION LIMIT 0", "SELECT", "A run opens up to 7 connections there"),
        (
            "ALTER DATABASE connections CONNECTION LIMIT 0",
            "ALTER DATABASE connections CONNECTION LIMIT -1",
            "A run opens up to 7 connections there",
        ),
    ],
)
async def test_a_refusal_is_told_with_what_to_do(
    sandbox_postgres: SandboxPostgres, visitor: str, statement: str, back: str, advice: str
) -> None:
    with altered(sandbox_postgres, statement, back):
        async with database(visitor, patience_seconds=0, most_of_all=7) as opened:
            with pytest.raises(Fault) as raised:
                await opened.fetch("SELECT 1")
    assert advice in raised.value.message
    assert "Check host" not in raised.value.message
    assert PASSWORD not in raised.value.message


NOBODY_ANSWERS = "Check host and port"
TEXTS = {
    'FATAL:  password authentication failed for user "u"': (Refusal.FINAL, "Check user and password"),
    "fe_sendauth: no password supplied": (Refusal.FINAL, "Check user and password"),
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption': (
        Refusal.FINAL,
        "pg_hba.conf does not let",
    ),
    'FATAL:  role "sasl" does not exist': (Refusal.FINAL, "Check the user"),
    'FATAL:  database "role" does not exist': (Refusal.FINAL, "Check the database name"),
    "FATAL:  the database system is starting up": (Refusal.STARTING, "wait until it is up"),
    "FATAL:  the database system is shutting down": (Refusal.STARTING, "wait until it is up"),
    "FATAL:  the database system is not yet accepting connections": (Refusal.STARTING, "wait until it is up"),
    "FATAL:  the database system is in recovery mode": (Refusal.STARTING, "wait until it is up"),
    "FATAL:  the database system is not accepting connections (hot standby mode is disabled)": (
        Refusal.FINAL,
        "Point the setting at the primary",
    ),
    'FATAL:  too many connections for role "u"': (Refusal.FULL, ""),
    'FATAL:  too many connections for database "d"': (Refusal.FULL, ""),
    "FATAL:  sorry, too many clients already": (Refusal.FULL, ""),
    "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute": (Refusal.FULL, ""),
    "FATAL:  remaining connection slots are reserved for non-replication superuser connections": (Refusal.FULL, ""),
    "FATAL:  no more connections allowed (max_client_conn)": (Refusal.FULL, ""),
    'FATAL:  unsupported startup parameter: "x"': (Refusal.FINAL, "ignore_startup_parameters"),
    "FATAL:  no such database: d": (Refusal.FINAL, "Check the database name"),
    "FATAL:  canceling statement due to lock timeout": (Refusal.FINAL, "pg_locks"),
    "FATAL:  out of shared memory": (Refusal.UNKNOWN, "pg_locks"),
    "FATAL:  pgbouncer cannot connect to server": (Refusal.STARTING, "pooler"),
    "session is not read-write": (Refusal.FINAL, "target_session_attrs"),
    "server does not support SSL, but SSL was required": (Refusal.FINAL, "sslmode"),
    "SSL error: certificate verify failed": (Refusal.FINAL, "sslmode"),
    'connection to server at "tls.example", port 5432 failed: Connection refused': (Refusal.AWAY, NOBODY_ANSWERS),
    'connection to server at "db", port 5432 failed: No route to host': (Refusal.AWAY, NOBODY_ANSWERS),
    "connection timeout expired": (Refusal.AWAY, NOBODY_ANSWERS),
    "something else": (Refusal.UNKNOWN, "Check host, port, user, password and database name"),
    "FATAL:  das Datenbanksystem startet": (Refusal.UNKNOWN, "Check host, port, user, password and database name"),
}


@pytest.mark.parametrize(("text", "told"), TEXTS.items())
def test_every_text_of_a_refused_connection_has_its_own_advice(text: str, told: tuple[Refusal, str]) -> None:
    refusal, advice = refusal_of(psycopg.OperationalError(f"connection failed: {text}\nIs the server running?"))
    assert refusal is told[0]
    assert told[1] in advice


async def test_a_server_that_never_answered_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr("provisioning_pipeline.clients.postgres.asyncio.sleep", pause)
    async with database(f"postgresql://u@127.0.0.1:{free_port()}/d") as opened:
        with pytest.raises(Fault, match=r"refused.*Check host and port"):
            await opened.fetch("SELECT 1")
    assert paused == []


async def test_a_server_of_another_language_is_waited_for_while_it_starts(
    sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = postgres._connect
    said = ["", "FATAL:  das Datenbanksystem startet", "FATAL:  le système de bases de données se lance", ""]

    async def connect(url: str, *, owner_is_trusted: bool) -> postgres.Connection:
        text = said.pop(0)
        if text:
            raise psycopg.OperationalError(f"connection failed: {text}")
        return await real(url, owner_is_trusted=owner_is_trusted)

    monkeypatch.setattr(postgres, "_connect", connect)
    monkeypatch.setattr(postgres, "_FIRST_PAUSE_SECONDS", 0.0)
    async with database(sandbox_postgres.url()) as opened:
        await (await opened.connect_alone()).close()
        assert await opened.fetch("SELECT 1 AS one") == [{"one": 1}]
    assert said == []


async def test_a_place_that_comes_free_at_the_server_is_waited_for(
    sandbox_postgres: SandboxPostgres, visitor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox_postgres.execute("postgres", f"ALTER ROLE {VISITOR} CONNECTION LIMIT 1")
    other = psycopg.connect(visitor)
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)
        other.close()

    monkeypatch.setattr("provisioning_pipeline.clients.postgres.asyncio.sleep", pause)
    async with database(visitor) as opened:
        await read(opened)
        # one of our own makes room, too
        await (await opened.connect_alone()).close()
    assert paused


# --- timeouts of our role, and servers that only read -------------------------------------------------------------


async def test_a_timeout_of_our_role_is_told_for_what_it_is(sandbox_postgres: SandboxPostgres, visitor: str) -> None:
    sandbox_postgres.execute("postgres", f"ALTER ROLE {VISITOR} SET statement_timeout = '10ms'")
    sandbox_postgres.execute("postgres", f"ALTER ROLE {VISITOR} SET lock_timeout = '5ms'")
    sandbox_postgres.execute("connections", f"GRANT ALL ON public.t TO {VISITOR}")
    try:
        async with database(visitor) as opened:
            with pytest.raises(Fault, match=r"statement timeout.*ALTER ROLE") as raised:
                await opened.fetch("SELECT pg_sleep(5)")
            assert raised.value.kind is FaultKind.TRANSIENT
            with sandbox_postgres.connect("connections") as other, other.transaction():
                other.execute("LOCK TABLE public.t")
                with pytest.raises(Fault, match="longer than lock_timeout") as raised:
                    await opened.execute("DELETE FROM public.t")
                assert (raised.value.kind, raised.value.reason) == (FaultKind.BUSY, Reason.TENANT_BUSY)
    finally:
        sandbox_postgres.execute("connections", f"REVOKE ALL ON public.t FROM {VISITOR}")


async def test_a_server_that_takes_no_writes_is_told(sandbox_postgres: SandboxPostgres, visitor: str) -> None:
    sandbox_postgres.execute("postgres", f"ALTER ROLE {VISITOR} SET default_transaction_read_only = on")
    async with database(visitor) as opened:
        with pytest.raises(Fault, match=r"takes no writes.*It is a standby, or default_transaction_read_only"):
            await opened.execute("CREATE TEMP TABLE x (); DROP TABLE public.t")


# --- sessions that others get after us ----------------------------------------------------------------------------


async def test_nothing_is_left_on_a_session_of_a_pooler(shared: str) -> None:
    with pooled(shared) as pooler, psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as others:
        settings = "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> 'client_encoding'"
        before = others.execute(settings).fetchall()
        async with database(pooler.url, read_only=True) as reading, database(pooler.url) as writing:
            for _ in range(8):
                # often enough for a client to prepare it
                await read(reading)
                await write(writing)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await reading.execute("INSERT INTO public.t VALUES (1)")
            others.execute("UPDATE public.t SET n = 2")
        assert others.execute(settings).fetchall() == before
        assert others.execute("SELECT name FROM pg_prepared_statements").fetchall() == []
        assert others.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchall() == []


async def in_words(url: str, needed: int = 2) -> str:
    async with database(url, read_only=True) as opened:
        return await sessions_in_words(opened, needed=needed, reason=Reason.REGISTRY_REFUSED)


async def test_a_pooler_and_what_it_must_have_are_told(shared: str) -> None:
    assert await in_words(shared) == ""
    with pooled(shared, sessions=2) as pooler:
        assert "through a pooler that shares sessions, which must have 2 of them" in await in_words(pooler.url)


@pytest.mark.slow
async def test_a_pooler_that_cannot_serve_us_is_refused(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioning_pipeline.clients.pooling._SECONDS", 0.2)
    with pooled(shared, sessions=1) as pooler:
        with pytest.raises(Fault, match="raise its pool_size") as raised:
            await in_words(pooler.url)
        assert raised.value.reason is Reason.REGISTRY_REFUSED
    with pooled(shared, statement_mode=True) as pooler, pytest.raises(Fault, match="pooler in statement mode"):
        await in_words(pooler.url)


async def test_too_few_connections_for_a_run_are_told(sandbox_postgres: SandboxPostgres, visitor: str) -> None:
    sandbox_postgres.execute("postgres", f"ALTER ROLE {VISITOR} CONNECTION LIMIT 5")
    assert await in_words(visitor, needed=5) == ""
    told = await in_words(visitor, needed=6)
    assert told == f"; role {VISITOR} allows 5 connections, and a run opens up to 6 there"


async def test_a_pooler_that_allows_no_transactions_is_refused_in_words(shared: str) -> None:
    with pooled(shared, statement_mode=True) as pooler:
        for read_only in (True, False):
            async with database(pooler.url, read_only=read_only) as opened:
                with pytest.raises(Fault, match=r"pooler in statement mode.*pool_mode") as raised:
                    await opened.execute("DELETE FROM public.t")
                assert raised.value.kind is FaultKind.SERVER
