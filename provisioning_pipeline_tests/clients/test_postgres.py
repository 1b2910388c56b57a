"""Postgres: failures in words, without the password, and dry runs that the server itself enforces."""

import logging
from contextlib import AsyncExitStack

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from provisioning_pipeline.clients.postgres import Database, database_name, with_database, without_secrets
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.postgres import SandboxPostgres, free_port
from provisioning_pipeline_tests.clients.tenant import registry as database

pytestmark = pytest.mark.anyio
CANARY = "c4nary-s3cret"


async def fault_of(url: str) -> Fault:
    async with database(url) as opened:
        with pytest.raises(Fault) as raised:
            await opened.fetch("SELECT 1 AS one")
    fault = raised.value
    assert (fault.kind, fault.reason) == (FaultKind.TRANSIENT, Reason.REGISTRY_UNREACHABLE)
    assert CANARY not in fault.message
    assert len(fault.message.splitlines()) == 1
    assert without_secrets(url) in fault.message
    return fault


async def test_an_unreachable_host_is_named_without_the_password() -> None:
    port = free_port()
    fault = await fault_of(f"postgresql://u:{CANARY}@127.0.0.1:{port}/registry")
    assert f"127.0.0.1:{port}/registry" in fault.message
    assert "refused" in fault.message


async def test_an_unknown_host_is_named_without_the_password() -> None:
    assert "no-such-host.invalid" in (await fault_of(f"postgresql://u:{CANARY}@no-such-host.invalid/registry")).message


async def test_a_wrong_password_is_told_without_the_password(sandbox_postgres: SandboxPostgres) -> None:
    role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier("visitor"), sql.Literal("right"))
    sandbox_postgres.execute("postgres", role)
    try:
        fault = await fault_of(f"postgresql://visitor:{CANARY}@127.0.0.1:{sandbox_postgres.port}/not_there")
    finally:
        sandbox_postgres.execute("postgres", "DROP ROLE visitor")
    assert "not_there" in fault.message


async def test_a_missing_database_is_told(sandbox_postgres: SandboxPostgres) -> None:
    fault = await fault_of(sandbox_postgres.url("no_such_database"))
    assert 'database "no_such_database" does not exist' in fault.message


async def test_a_read_only_database_refuses_every_write(sandbox_postgres: SandboxPostgres) -> None:
    url = sandbox_postgres.create_database("read_only_one")
    sandbox_postgres.execute("read_only_one", "CREATE TABLE public.t (n int)")
    async with database(url, read_only=True) as opened:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await opened.execute("INSERT INTO public.t VALUES (1)")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await opened.execute("CREATE TABLE other ()")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            async with opened.transaction() as connection:
                await connection.execute("INSERT INTO public.t VALUES (2)")
        assert await opened.fetch("SELECT count(*) AS n FROM public.t") == [{"n": 0}]
    sandbox_postgres.drop_database("read_only_one")


async def fail_in_the_middle(opened: Database) -> None:
    async with opened.transaction() as connection:
        await connection.execute("INSERT INTO public.t VALUES (3)")
        await connection.execute("SELECT 1 / 0")


async def test_statements_commit_alone_and_a_transaction_is_all_or_nothing(sandbox_postgres: SandboxPostgres) -> None:
    url = sandbox_postgres.create_database("commits")
    async with database(url) as opened:
        await opened.execute("CREATE TABLE public.t (n int)")
        assert await opened.execute("INSERT INTO public.t VALUES (1), (2)") == 2
        with pytest.raises(psycopg.errors.DivisionByZero):
            await fail_in_the_middle(opened)
        assert sandbox_postgres.execute("commits", "SELECT sum(n) FROM public.t") == [(3,)]
    sandbox_postgres.drop_database("commits")


async def test_a_connection_that_breaks_is_a_fault_and_the_next_one_works(sandbox_postgres: SandboxPostgres) -> None:
    async with database(sandbox_postgres.url()) as opened:
        with pytest.raises(Fault) as raised:
            await opened.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        assert raised.value.kind is FaultKind.TRANSIENT
        assert await opened.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_text_that_is_not_utf_8_is_told_and_not_quoted(sandbox_postgres: SandboxPostgres) -> None:
    sandbox_postgres.execute(
        "postgres", "CREATE DATABASE any_bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C' STRATEGY file_copy"
    )
    # Latin-1, which UTF-8 does not know
    sandbox_postgres.execute(
        "any_bytes", "SET client_encoding = SQL_ASCII; CREATE TABLE public.t AS SELECT E'M\\xfcller' AS n"
    )
    async with database(sandbox_postgres.url("any_bytes")) as opened:
        with pytest.raises(Fault, match="holds text that cannot be read as UTF-8") as raised:
            await opened.fetch("SELECT n FROM public.t")
    assert "ller" not in raised.value.message
    sandbox_postgres.drop_database("any_bytes")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://u:{CANARY}@db.example.com:6543/tenants", "db.example.com:6543/tenants"),
        (f"postgresql://u:{CANARY}@db/tenants?sslmode=require", "db:5432/tenants"),
        (f"postgresql:///tenants?password={CANARY}", "localhost:5432/tenants"),
        (f"postgresql://u:{CANARY}@/tenants?host=/run/pg", "/run/pg:5432/tenants"),
    ],
)
def test_where_a_database_is_holds_no_secret(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert database(url).where == shown


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_another_database_of_the_same_server_has_any_name(name: str) -> None:
    other = with_database(f"postgresql://u:{CANARY}@db:6543/tenants", name)
    assert database_name(other) == name
    assert without_secrets(other) == f"db:6543/{name}"
    assert CANARY in other


async def test_a_database_that_goes_away_is_one_fault_and_says_nothing_by_itself(
    sandbox_postgres: SandboxPostgres, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # as on the command line, where no logs are set up
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    url = sandbox_postgres.create_database("leaving")
    async with database(url) as opened:
        await opened.fetch("SELECT 1 AS one")
        sandbox_postgres.drop_database("leaving")
        for _ in range(2):
            with pytest.raises(Fault, match='database "leaving" does not exist') as raised:
                await opened.fetch("SELECT 1 AS one")
            assert raised.value.reason is Reason.REGISTRY_UNREACHABLE
    assert capfd.readouterr().err == ""


async def test_who_waits_in_vain_for_a_connection_of_this_process_is_told(
    sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database(sandbox_postgres.url()) as opened, AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(opened.transaction())
        monkeypatch.setattr("provisioning_pipeline.clients.postgres._PLACE_SECONDS", 0.01)
        with pytest.raises(Fault, match="all 4 connections of this process have been in use"):
            await opened.fetch("SELECT 1 AS one")
