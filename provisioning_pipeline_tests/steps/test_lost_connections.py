"""Whole runs whose connections to PostgreSQL are ended in the middle, time out, or go through a pooler."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from provisioning_pipeline.clients.transport import Effect, watched
from provisioning_pipeline.run.run import Applied
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.tasks.preflight import preflight
from provisioning_pipeline_tests.pooler import pooled
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
OURS = "application_name = 'provisioning_pipeline'"


@contextmanager
def world_of(tenants: int) -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=tenants, members=3, twenty=(TwentyOptions(activation_seconds=0.0),))) as made:
        yield World(made)


def end(world: World, which: str = OURS) -> None:
    """End these sessions, and wait until they are gone."""
    postgres = world.sandbox.postgres
    query = f"SELECT count(*) FROM pg_stat_activity WHERE {which} AND pid <> pg_backend_pid()"
    postgres.execute(
        "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which} AND pid <> pg_backend_pid()"
    )
    while postgres.execute("postgres", query) != [(0,)]:
        pass


def must_be_ready(world: World, applied: Applied) -> None:
    assert [(line.slug, line.reason, line.message) for line in applied.summary.unwell] == []
    assert not applied.broken
    assert world.registry("SELECT count(*) FROM provisioning.intent WHERE settled_at IS NULL") == [(0,)]


def test_a_run_survives_that_all_its_connections_are_ended_after_each_call_that_changes_something() -> None:
    # one tenant: nobody else's connections are ended in the middle of a commit, of which nobody knows whether it holds
    with world_of(1) as world:
        ended = []

        def watch(name: str, effect: Effect, when: str) -> None:
            if when == "after" and effect in (Effect.WRITE, Effect.CREATE):
                ended.append(name)
                end(world)

        with watched(watch):
            must_be_ready(world, world.apply())
        assert len(ended) > 5
        assert len(world.workspaces()) == 1


def test_a_run_that_lost_its_lock_to_another_one_stops_before_its_next_write() -> None:
    with world_of(1) as world:
        others: list[Applied] = []
        late: list[str] = []

        def watch(name: str, effect: Effect, when: str) -> None:
            if effect not in (Effect.WRITE, Effect.CREATE):
                return
            if when == "before" and others:
                late.append(name)
            if when == "after" and name == "signUpInNewWorkspace" and not others:
                end(world, f"{OURS} AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
                # of a thread of its own: it knows nothing of this run's locks
                other = threading.Thread(target=lambda: others.append(world.apply()))
                other.start()
                other.join()

        with watched(watch):
            applied = world.apply()

        (mine,), (other_run,) = applied.summary.tenants, others
        assert late == []
        assert mine.reason == "TenantBusy"
        assert "The connection that held the lock" in mine.message
        must_be_ready(world, other_run)
        assert len(world.workspaces()) == 1
        must_be_ready(world, world.apply())
        assert len(world.workspaces()) == 1


def test_timeouts_of_registry_and_cluster_keep_nobody_from_being_ready() -> None:
    with world_of(2) as world:
        # not of Twenty's: the stand-in's own connections would be cut, too
        for name in ("tenant_manager", "postgres"):
            for timeout in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
                world.sandbox.postgres.execute("postgres", f"ALTER DATABASE {name} SET {timeout} = '200ms'")
        must_be_ready(world, world.apply())


@pytest.mark.anyio
async def test_through_poolers_a_run_does_everything_and_twenty_goes_on_writing() -> None:
    with world_of(2) as world:
        postgres = world.sandbox.postgres
        with (
            pooled(postgres.url("tenant_manager"), sessions=30) as registry,
            pooled(world.sandbox.tenant_cluster_url, sessions=30) as cluster,
            pooled(postgres.url("twenty"), sessions=30) as twenty,
        ):
            poolers = {
                "registry_url": registry.url,
                "tenant_cluster_url": cluster.url,
                "twenty_database_url": twenty.url,
                "tenant_databases": "report",
            }
            settings = World(world.sandbox, **poolers).settings
            checks = await preflight(settings)
            assert [check.found for check in checks if not check.ok] == []
            assert sum("through a pooler" in check.found for check in checks) == 3
            # asyncio runs here already
            run = threading.Thread(target=lambda: must_be_ready(world, world.apply(**poolers)))
            run.start()
            run.join()
            assert [entry.status for entry in world.workspaces()] == ["ACTIVE", "ACTIVE"]
            with psycopg.connect(twenty.url, autocommit=True, prepare_threshold=None) as server:
                for _ in range(40):
                    # whichever session it gets
                    server.execute('UPDATE core."user" SET email = email')
