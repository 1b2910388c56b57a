"""Registry rows that are taken away, lost for a moment or say something again: what runs make of it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provisioning_pipeline.model.fault import RunFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.steps.onboarding.changes import STORE_LINK
from provisioning_pipeline.tasks.preflight import preflight
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
FLEET = ("ada", "bob", "cyd", "dee")
GONE = ("False", "RegistryRowGone")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Four tenants that are ready, of whom the last is suspended since."""
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        made = World(sandbox)
        for slug in FLEET:
            sandbox.add_tenant(slug)
        assert made.apply().summary.unwell == []
        made.registry("UPDATE tenant_registry SET status = 'suspended' WHERE slug = 'dee'")
        made.apply()
        yield made


def states(world: World) -> dict[str, tuple[str, str]]:
    """Slug → Ready of the fleet, as the ledger has it."""
    rows = world.registry(
        "SELECT l.slug, c.status, c.reason FROM provisioning.tenant_link l JOIN provisioning.condition c "
        "USING (database_name) WHERE c.type = 'Ready'"
    )
    return {slug: (status, reason) for slug, status, reason in rows if slug in FLEET}


def rows(world: World) -> list[str]:
    return [row[0] for row in world.registry("SELECT slug FROM tenant_registry ORDER BY slug")]


@contextmanager
def without_rows(world: World, where: str) -> Iterator[None]:
    """The rows are away, and come back as they were."""
    world.registry(f"CREATE TABLE kept AS SELECT * FROM tenant_registry WHERE {where}")
    world.registry(f"DELETE FROM tenant_registry WHERE {where}")
    try:
        yield
    finally:
        # a tenant manager's own restore, which dies on a slug that is there
        world.registry("INSERT INTO tenant_registry SELECT * FROM kept")
        world.registry("DROP TABLE kept")


def test_a_suspended_tenant_whose_row_is_deleted_stays_out_until_its_row_is_back(world: World) -> None:
    database, workspaces = world.link("dee")["database_name"], world.workspaces()
    with without_rows(world, "slug = 'dee'"):
        for named in ((), ("dee",)):
            applied = world.apply(*named)
            assert "dee" not in rows(world)
            assert world.conditions("dee")["Registered"] == GONE
            assert {line.slug: line.state for line in applied.tenants}["dee"] == "aside"
        # nor when the database is made anew, renamed, or gone for a while
        renamed = f"{database[:-8]}ffffffff"
        world.sandbox.postgres.execute("postgres", f'ALTER DATABASE "{database}" RENAME TO "{renamed}"')
        world.apply()
        assert rows(world) == ["ada", "bob", "cyd"]
        for name in (renamed, database):
            assert world.conditions(name)["Registered"] == ("Unknown", "MoveInDoubt")
        world.sandbox.postgres.execute("postgres", f'ALTER DATABASE "{renamed}" RENAME TO "{database}"')
        world.apply()
        assert rows(world) == ["ada", "bob", "cyd"]
        assert world.conditions("dee")["Registered"] == GONE
        assert world.workspaces() == workspaces
    world.apply()
    assert world.conditions("dee")["Ready"] == ("False", "TenantSuspended")


def test_a_row_that_is_put_back_brings_its_tenant_back(world: World) -> None:
    workspace = world.link("ada")["workspace_id"]
    with without_rows(world, "slug = 'ada'"):
        world.apply()
        assert world.conditions("ada")["Ready"] == GONE
    world.apply()
    assert world.conditions("ada")["Ready"] == ("True", "AllTrue")
    assert world.link("ada")["workspace_id"] == workspace


@pytest.mark.parametrize("where", ["true", "slug <> 'ada'"])
def test_a_registry_that_lost_many_rows_is_in_doubt_and_nothing_changes(world: World, where: str) -> None:
    before, workspaces, new = states(world), world.workspaces(), "twenty_tenant_new_0a1b2c3d"
    world.sandbox.postgres.create_database(new)
    try:
        with without_rows(world, where):
            left = rows(world)
            for named in ((), ("bob", "dee", new)):
                applied = world.apply(*named)
                assert rows(world) == left
                (doubt,) = [sentence for sentence in applied.summary.refusals if "tenant_registry" in sentence]
                assert "provisioning apply --approve" in doubt
                assert states(world) == before
                assert world.conditions(new)["Registered"] == ("Unknown", "RegistryInDoubt")
            assert doubt in world.plan().notes
            (check,) = [found for found in asyncio.run(preflight(world.settings)) if found.system == "Tenant registry"]
            assert (check.ok, check.found) == (False, doubt)
    finally:
        world.sandbox.postgres.drop_database(new)
    assert world.apply().summary.refusals == ()
    assert states(world) == before
    assert world.workspaces() == workspaces


def test_no_table_is_made_in_the_place_of_one_that_is_being_restored(world: World) -> None:
    before = states(world)
    world.registry("ALTER TABLE tenant_registry RENAME TO elsewhere")
    try:
        applied = world.apply()
        assert world.registry("SELECT to_regclass('tenant_registry') IS NULL") == [(True,)]
        assert any("no table tenant_registry" in sentence for sentence in applied.summary.refusals)
        assert states(world) == before
    finally:
        world.registry("ALTER TABLE elsewhere RENAME TO tenant_registry")


def test_a_loss_that_somebody_approves_by_name_is_believed(world: World) -> None:
    with without_rows(world, "slug IN ('bob', 'cyd')"):
        name = world.apply().summary.refusals[0].split("--approve ")[1].rstrip("`.")
        with pytest.raises(RunFault, match="nothing was done"):
            world.apply_approved("0123456789ab")
        world.apply_approved(name)
        assert {states(world)[slug] for slug in ("bob", "cyd")} == {GONE}
        assert world.apply().summary.refusals == ()
    assert world.apply().summary.unwell == []
    assert states(world)["bob"] == ("True", "AllTrue")


@pytest.mark.parametrize("status", ["provisioning", " PENDING ", None])
def test_a_ready_tenants_pending_status_is_put_right_by_the_next_run(world: World, status: str | None) -> None:
    world.registry("ALTER TABLE tenant_registry ALTER status DROP NOT NULL")
    world.registry("UPDATE tenant_registry SET status = %s WHERE slug = 'ada'", status)
    (entry,) = world.plan("ada").work
    assert STORE_LINK in entry.changes

    applied = world.apply()

    (said,) = world.registry("SELECT status FROM tenant_registry WHERE slug = 'ada'")
    assert said[0] in ("active", "ACTIVE")
    stored = world.registry(
        "SELECT detail FROM provisioning.outcome WHERE run_id = %s AND change = 'store link'", applied.summary.run_id
    )
    assert stored == [("status active in tenant_registry",)]
    assert world.plan().work == ()


CLOSED = {
    "DatabaseInvalid": "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'twenty_tenant_odd_0a1b2c3d'",
    "DatabaseClosed": "ALTER DATABASE twenty_tenant_odd_0a1b2c3d ALLOW_CONNECTIONS false",
}


@pytest.mark.parametrize("reason", CLOSED)
def test_nothing_is_made_for_a_database_to_which_nobody_can_connect(world: World, reason: str) -> None:
    name, before = "twenty_tenant_odd_0a1b2c3d", world.workspaces()
    world.sandbox.postgres.create_database(name)
    world.sandbox.postgres.execute("postgres", CLOSED[reason])
    try:
        world.apply()
        assert world.conditions(name)["Ready"] == ("False", reason)
        assert rows(world) == list(FLEET)
        assert world.workspaces() == before
        (check,) = [found for found in asyncio.run(preflight(world.settings)) if found.system == "Tenant cluster"]
        assert check.ok
        assert f"no one can connect to {name}" in check.found
    finally:
        world.sandbox.postgres.execute("postgres", f"UPDATE pg_database SET datconnlimit = -1 WHERE datname = '{name}'")
        world.sandbox.postgres.execute("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        world.sandbox.postgres.drop_database(name)


def test_an_admin_who_was_asked_for_over_http_outlives_the_ledger(world: World) -> None:
    database = "twenty_tenant_eve_0a1b2c3d"
    world.sandbox.postgres.create_database(database)
    world.registry(
        "INSERT INTO tenant_registry (slug, name, database_name, database_url) VALUES ('eve', 'Eve', %s, '')", database
    )
    world.registry(
        "INSERT INTO provisioning.tenant_link (database_name, slug, asked_admin_email) "
        "VALUES (%s, 'eve', 'eve@asked.example')",
        database,
    )
    world.apply()
    assert world.conditions("eve")["Ready"] == ("True", "AllTrue")
    assert world.registry("SELECT twenty_admin_email FROM tenant_registry WHERE slug = 'eve'") == [
        ("eve@asked.example",)
    ]
    workspaces = world.workspaces()

    world.registry("DROP SCHEMA provisioning CASCADE")
    world.apply()

    assert world.conditions("eve")["Ready"] == ("True", "AllTrue")
    assert world.sees("eve")["email"] == "eve@asked.example"
    assert world.workspaces() == workspaces
