"""What shows that something wrote to a tenant database since its last inspection."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from provisioning_pipeline.clients import tenant_database
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.tenant import ANN, BOB, Tenant, opened
from provisioning_pipeline_tests.cluster import running_cluster

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO core.workspace (subdomain) VALUES ('zenith')",
        "UPDATE core.workspace SET subdomain = 'other'",
        "DELETE FROM core.workspace",
        'TRUNCATE core."keyValuePair"',
        'ALTER TABLE core."keyValuePair" ADD COLUMN more text',
        'DROP TABLE core."keyValuePair"',
        "CREATE SCHEMA workspace_other",
        "SELECT pg_stat_reset()",
    ],
)
async def test_whatever_is_written_is_told(tenant: Tenant, statement: str) -> None:
    tenant.write("INSERT INTO core.workspace (subdomain) VALUES ('acme')")
    before = await tenant.evidence()
    tenant.write(statement)
    assert await tenant.evidence() != before


async def test_looks_and_other_reads_leave_the_evidence_as_it_is(tenant: Tenant) -> None:
    acme = tenant.insert(ANN, BOB)
    tenant.flag(hand_made.INVITE_TEAM, None, acme.id)
    tenant.write("INSERT INTO core.workspace (subdomain) VALUES ('zenith')")
    before = await tenant.evidence()
    for _ in range(2):
        assert (await tenant.look()).workspaces
        tenant.write('SELECT * FROM core."user"', "SET statement_timeout = 1000", "SELECT count(*) FROM pg_class")
    assert await tenant.evidence() == before


async def test_a_database_made_anew_is_another_one(tenant: Tenant, tenant_template: str) -> None:
    before = await tenant.evidence()
    tenant.postgres.drop_database(tenant.name)
    tenant.postgres.create_database(tenant.name, template=tenant_template)
    assert await tenant.evidence() != before


@pytest.fixture
def another_postgres() -> Iterator[SandboxPostgres]:
    """A server of its own, to be hurt."""
    with running_cluster(keep=False) as postgres:
        yield postgres


async def test_a_server_that_lost_its_counters_is_noticed_although_its_postmaster_went_on(
    another_postgres: SandboxPostgres,
) -> None:
    tenant = Tenant(another_postgres, "postgres")
    before, started = await tenant.evidence(), tenant.sql("SELECT pg_postmaster_start_time()")
    with suppress(psycopg.OperationalError), another_postgres.connect() as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        connection.execute("SELECT 1")
    assert await evidence_once_back(tenant) != before
    assert tenant.sql("SELECT pg_postmaster_start_time()") == started


async def evidence_once_back(tenant: Tenant) -> str:
    while True:
        with suppress(Fault):
            return await tenant.evidence()


async def test_a_server_that_does_not_count_never_says_the_same_twice(tenant: Tenant) -> None:
    tenant.postgres.execute("postgres", "ALTER DATABASE postgres SET track_counts = off")
    try:
        assert await tenant.evidence() != await tenant.evidence()
    finally:
        tenant.postgres.execute("postgres", "ALTER DATABASE postgres RESET track_counts")


async def test_evidence_is_of_all_databases_or_of_those_asked_for(tenant: Tenant, bare: Tenant) -> None:
    async with opened(tenant.postgres.url()) as cluster:
        assert {tenant.name, bare.name, "postgres"} <= set(await tenant_database.evidence(cluster))
        assert set(await tenant_database.evidence(cluster, [bare.name, "no_such_tenant"])) == {bare.name}
        assert await tenant_database.evidence(cluster, []) == {}
