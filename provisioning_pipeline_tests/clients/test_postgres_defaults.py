"""Postgres: what a role or a database is set to changes nothing of what is read and written."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from psycopg import errors

from provisioning_pipeline.clients.postgres import EARLIEST, LATEST, Database
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.tenant import registry as database

pytestmark = pytest.mark.anyio
NAME = "given_defaults"


@pytest.fixture
def url(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    yield sandbox_postgres.create_database(NAME)
    sandbox_postgres.drop_database(NAME)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
async def test_times_are_read_whatever_the_date_style(
    sandbox_postgres: SandboxPostgres, url: str, style: str, monkeypatch: pytest.MonkeyPatch, *, read_only: bool
) -> None:
    monkeypatch.setenv("PGDATESTYLE", style)
    sandbox_postgres.execute("postgres", f"ALTER DATABASE {NAME} SET datestyle = '{style}'")
    async with database(url, read_only=read_only) as opened:
        (row,) = await opened.fetch("SELECT '2026-02-03 04:05:06Z'::timestamptz AS at")
    assert row["at"] == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


async def test_times_are_in_utc_whatever_the_time_zone(
    sandbox_postgres: SandboxPostgres, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    sandbox_postgres.execute("postgres", f"ALTER DATABASE {NAME} SET timezone = 'Asia/Kolkata'")
    async with database(url, read_only=True) as opened:
        (row,) = await opened.fetch("SELECT '2026-02-03 04:05:06Z'::timestamptz AS at")
    assert f"{row['at']:%Y-%m-%d %H:%M}" == "2026-02-03 04:05"


async def test_a_time_beyond_the_calendar_hides_no_other_row(url: str) -> None:
    query = "SELECT at::timestamptz AS at FROM unnest(%s::text[]) AS at"
    times = ["2026-02-03 04:05Z", "infinity", "-infinity", "15000-01-01", "0044-03-15 BC"]
    expected = [datetime(2026, 2, 3, 4, 5, tzinfo=UTC), LATEST, EARLIEST, LATEST, EARLIEST]
    async with database(url, read_only=True) as opened:
        assert [row["at"] for row in await opened.fetch(query, [times])] == expected
        assert [at for (at,) in await opened.fetch_tuples(query, [times])] == expected


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
async def test_behind_a_lock_what_others_wrote_before_is_seen(
    sandbox_postgres: SandboxPostgres, url: str, level: str
) -> None:
    sandbox_postgres.execute("postgres", f"ALTER DATABASE {NAME} SET default_transaction_isolation = '{level}'")
    sandbox_postgres.execute(NAME, "CREATE TABLE public.claim (organization text)")
    begun = asyncio.Event()

    async def claim(opened: Database) -> int:
        async with opened.transaction() as connection:
            begun.set()
            await connection.execute("SELECT pg_advisory_xact_lock(1)")
            cursor = await connection.execute("SELECT count(*) FROM public.claim")
            (found,) = await cursor.fetchone() or (None,)
            await connection.execute("INSERT INTO public.claim VALUES ('org_1')")
            return int(found)

    async with database(url) as opened:
        async with opened.transaction() as holder:
            await holder.execute("SELECT pg_advisory_xact_lock(1)")
            waiting = asyncio.create_task(claim(opened))
            await begun.wait()
            await holder.execute("INSERT INTO public.claim VALUES ('org_1')")
            while not await opened.fetch("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                pass
        assert await waiting == 1


async def test_after_a_failover_no_connection_to_the_old_primary_is_used_again(
    sandbox_postgres: SandboxPostgres, url: str
) -> None:
    sandbox_postgres.execute(NAME, "CREATE TABLE public.t (n int)")
    # what a standby answers, without a standby
    sandbox_postgres.execute("postgres", f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")
    async with database(url) as opened:
        with pytest.raises(Fault, match="takes no writes"):
            await opened.execute("INSERT INTO public.t VALUES (1)")
        sandbox_postgres.execute("postgres", f"ALTER DATABASE {NAME} RESET default_transaction_read_only")
        assert await opened.execute("INSERT INTO public.t VALUES (2)") == 1


async def test_what_reads_only_keeps_its_connection_when_it_tries_to_write(url: str) -> None:
    async with database(url, read_only=True) as opened:
        with pytest.raises(errors.ReadOnlySqlTransaction):
            await opened.execute("CREATE TABLE public.t ()")
        assert await opened.fetch("SELECT 1 AS one") == [{"one": 1}]
