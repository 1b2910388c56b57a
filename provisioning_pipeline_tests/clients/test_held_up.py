"""The owner of a database lets every session hang as it begins: ours must not fill the cluster."""

import time
from collections.abc import Iterator
from threading import Thread

import psycopg
import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.tenant_database import held_up
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.observe.snapshots import inspect_databases
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.hostile import AT, OWNER, READER, Hostile, hostile_database, hostile_template

pytestmark = pytest.mark.anyio


@pytest.fixture
def hostile(sandbox_postgres: SandboxPostgres) -> Iterator[Hostile]:
    with hostile_template(sandbox_postgres), hostile_database(sandbox_postgres) as made:
        yield made


@pytest.mark.slow
async def test_sessions_that_hang_as_they_begin_are_few_however_often_we_look(hostile: Hostile) -> None:
    url = hostile.url(READER, "postgres")
    with psycopg.connect(hostile.url(OWNER)) as reading:
        reading.execute("SELECT count(*) FROM pg_catalog.pg_class")
        vacuum = psycopg.connect(hostile.url(OWNER), autocommit=True)
        waiting = Thread(target=_run, args=(vacuum, "VACUUM FULL pg_catalog.pg_class"))
        waiting.start()
        try:
            async with Database(
                url, system="The cluster", unreachable=Reason.DATABASE_UNREACHABLE, read_only=True
            ) as cluster:
                until = time.monotonic() + 60
                while not await held_up(cluster):
                    assert time.monotonic() < until, "VACUUM does not wait"
                for _ in range(2):
                    (found,) = await inspect_databases(
                        lambda _: url, {}, [hostile.name], AT, at_once=1, held_up=await held_up(cluster)
                    )
                    assert found.reason is Reason.DATABASE_UNREACHABLE
                    assert "holds a lock on that database's catalogue" in found.message
                assert await held_up(cluster) == {hostile.name: 1}, "the owner's own, and none of ours"
        finally:
            reading.rollback()
            waiting.join()
            vacuum.close()


async def test_where_sessions_hang_no_further_one_is_opened() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/postgres?connect_timeout=1"
    (found,) = await inspect_databases(lambda _: nowhere, {}, ["acme"], AT, at_once=1, held_up={"acme": 3})
    assert (found.reason, found.message[:13]) == (Reason.DATABASE_UNREACHABLE, "The tenant's ")
    assert "3 sessions wait there for a lock on PostgreSQL's own tables" in found.message
    (other,) = await inspect_databases(lambda _: nowhere, {}, ["acme"], AT, at_once=1, held_up={"acme": 2})
    assert "cannot be reached" in other.message


def _run(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    connection.execute(statement.encode())
