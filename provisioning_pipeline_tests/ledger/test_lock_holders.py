"""Somebody who may only connect holds every lock of ours that they can: what goes on, and what the operator is told."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import locks, runs, schema
from provisioning_pipeline.ledger.locks import (
    alone,
    certification_lock,
    logging_holders_of,
    request_lock,
    server_lock,
    tenant_lock,
)
from provisioning_pipeline.ledger.pending import Turns
from provisioning_pipeline.ledger.runs import runs_at_work, tenants_at_work
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

pytestmark = pytest.mark.anyio
HELD = (
    *((kind, name) for kind in (locks.TENANTS, locks._SERVERS, locks._CERTIFICATIONS) for name in ("acme", "eu")),
    (runs._RUNS, "run_1"),
)
"""First keys, and names that anybody may guess or see in pg_locks."""
EARLIER = "SELECT pg_advisory_lock(hashtext('provisioning.registration')), pg_advisory_lock(730160, 0)"
"""Locks for which everybody waited in earlier versions."""


@pytest.fixture(scope="module")
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        yield made


@contextmanager
def stranger(postgres: SandboxPostgres, database_name: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A session of a role that may connect, as every role may by default, and nothing else."""
    role = f"stranger_{uuid.uuid4().hex[:8]}"
    postgres.execute("postgres", f"CREATE ROLE {role} LOGIN PASSWORD 'theirs'")
    try:
        with psycopg.connect(
            make_conninfo(postgres.url(database_name), user=role, password="theirs", application_name="greedy"),
            autocommit=True,
        ) as connection:
            yield connection
    finally:
        postgres.execute("postgres", f"DROP ROLE {role}")


@asynccontextmanager
async def ledger_of(fleet: Fleet) -> AsyncIterator[Database]:
    async with ledger_database(fleet.settings(), read_only=False, most_connections=2) as database:
        yield database


async def test_a_stranger_with_every_lock_keeps_nobody_from_the_rest_and_is_named(fleet: Fleet) -> None:
    with stranger(fleet.postgres, fleet.name) as them:
        for kind, name in HELD:
            them.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [kind, name])
        them.execute(EARLIER)
        them.execute("SELECT pg_advisory_lock(730155002)")
        for table in ("alembic_version", "code_location", "tenant_link"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), them.transaction():
                them.execute(f"LOCK TABLE provisioning.{table} IN ACCESS SHARE MODE".encode())
        async with ledger_of(fleet) as ledger:
            async with tenant_lock(ledger, "beta", wait_seconds=0), request_lock(ledger, "k r", wait_seconds=0):
                await ledger.execute("UPDATE provisioning.tenant_link SET slug = slug")
            async with Turns(ledger).open() as turns:
                await turns.see(["beta"])
            assert await tenants_at_work(ledger, ["acme", "beta"]) == frozenset()
            assert await runs_at_work(ledger, ["run_1"]) == frozenset()
            told = []
            for lock in (
                tenant_lock(ledger, "acme", wait_seconds=0.01),
                server_lock(ledger, "eu", wait_seconds=0.01),
                certification_lock(ledger, "eu"),
            ):
                with pytest.raises(Fault) as caught:
                    async with lock:
                        pass
                assert caught.value.kind is FaultKind.BUSY
                told.append(caught.value.message)
        schema.migrate(fleet.url)
        pid, role = them.info.backend_pid, them.info.user
    for message in told:
        assert f"Session {pid} of role {role} (greedy" in message
        assert "none of this program's" in message
        assert f"SELECT pg_terminate_backend({pid})" in message
        assert f'REVOKE CONNECT ON DATABASE "{fleet.name}" FROM {role}' in message


async def test_another_run_is_named_without_suspicion(fleet: Fleet) -> None:
    async with ledger_of(fleet) as ledger, ledger_of(fleet) as other, tenant_lock(other, "acme", wait_seconds=0):
        with pytest.raises(Fault) as caught:
            async with tenant_lock(ledger, "acme", wait_seconds=0.01):
                pass
        assert await tenants_at_work(ledger, ["acme"]) == {"acme"}
    assert "Another run has been working on this tenant" in caught.value.message
    assert "(provisioning_pipeline, from 127.0.0.1, in a transaction since" in caught.value.message
    assert "none of this program's" not in caught.value.message


async def test_whoever_waits_for_a_table_of_ours_in_vain_is_told_who_has_it(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    async with ledger_of(fleet) as ledger, ledger_of(fleet) as other, other.transaction() as held:
        await alone(held, "code_location", wait_seconds=1)
        with pytest.raises(Fault) as caught:
            async with logging_holders_of(ledger, "code_location"), ledger.transaction() as waiting:
                await alone(waiting, "code_location", wait_seconds=0.01)
        pid = held.info.backend_pid
    assert caught.value.kind is FaultKind.BUSY
    assert f"Session {pid} of role" in caplog.text


def test_a_ledger_is_not_waited_for_for_ever_where_there_is_none_yet(
    sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_FIRST_WAIT_SECONDS", 0.05)
    name = f"first_{uuid.uuid4().hex[:8]}"
    url = sandbox_postgres.create_database(name)
    with ExitStack() as stack:
        stack.callback(sandbox_postgres.drop_database, name)
        with stranger(sandbox_postgres, name) as them:
            them.execute("SELECT pg_advisory_lock(7301552004)")
            with pytest.raises(Fault, match=r"was not free .* SELECT pid, usename, pg_terminate_backend") as caught:
                schema.migrate(url)
            assert caught.value.kind is FaultKind.BUSY
            found = sandbox_postgres.execute(
                name,
                "SELECT pid, usename FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE locktype = 'advisory' AND objsubid = 1 AND granted",
            )
            assert found == [(them.info.backend_pid, them.info.user)]
        schema.migrate(url)
