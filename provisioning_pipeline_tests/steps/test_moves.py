"""Tenants whose registry row names another database, slug, name or organization: none dies, none is born twice."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from provisioning_pipeline.report.plan_lines import lines_of
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.views.tenant_timeline import timeline
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
READY = ("True", "AllTrue")
LEFT = ("False", "DatabaseLeft")
IN_DOUBT = ("Unknown", "MoveInDoubt")
FLEET = ("ada", "bob", "cyd")
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def fleet() -> Iterator[World]:
    """Tenants that are ready, in a registry that takes what its owner should not write."""
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        made = World(sandbox)
        for slug in FLEET:
            sandbox.add_tenant(slug)
        assert made.apply().summary.unwell == []
        made.registry("ALTER TABLE tenant_registry DROP CONSTRAINT tenant_registry_pkey CASCADE")
        made.registry("ALTER TABLE tenant_registry DROP CONSTRAINT tenant_registry_slug_key")
        made.registry("ALTER TABLE tenant_registry DROP CONSTRAINT tenant_registry_database_name_key")
        yield made


@pytest.fixture
def world(fleet: World) -> Iterator[World]:
    """The same, put right by its owner afterwards: each tenant is ready again, with the workspace that it had."""
    before = [(slug, fleet.link(slug)["workspace_id"]) for slug in FLEET]
    fleet.registry("CREATE TABLE kept AS SELECT * FROM tenant_registry")
    databases = databases_of(fleet)
    yield fleet
    fleet.registry("DELETE FROM tenant_registry")
    fleet.registry("INSERT INTO tenant_registry SELECT * FROM kept")
    fleet.registry("DROP TABLE kept")
    for new in sorted(databases_of(fleet) - databases):
        fleet.sandbox.postgres.execute("postgres", f'DROP DATABASE "{new}"')
    for old in sorted(databases - databases_of(fleet)):
        fleet.sandbox.postgres.create_database(old)
    fleet.apply()
    assert [(slug, fleet.link(slug)["workspace_id"]) for slug in FLEET] == before
    assert {slug: fleet.conditions(slug)["Ready"] for slug in FLEET} == dict.fromkeys(FLEET, READY)
    at_rest(fleet)


def databases_of(world: World) -> set[str]:
    rows = world.sandbox.postgres.execute(
        "postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'twenty_tenant%%'", ()
    )
    return {str(row[0]) for row in rows}


def at_rest(world: World, *slugs: str) -> None:
    applied = world.apply(*slugs)
    assert (applied.summary.actions, applied.summary.mutating_calls) == (0, 0)


def point(world: World, slug: str, database: str) -> None:
    world.registry("UPDATE tenant_registry SET database_name = %s WHERE slug = %s", database, slug)


def lives(world: World) -> dict[str, str]:
    """Database name → where it is in its life."""
    return dict(world.registry("SELECT database_name, reason FROM provisioning.condition WHERE type = 'Lifecycle'"))


def told(world: World, slug: str) -> list[str]:
    (entry,) = [entry for entry in world.plan().tenants if entry.tenant.slug == slug]
    return [str(line) for line in lines_of(entry)]


def history(world: World, slug: str) -> str:
    """What the tenant's timeline tells."""

    async def read() -> str:
        async with connect(world.settings, dry_run=True) as connections:
            found = await timeline(connections.ledger.database, slug)
            assert found is not None
        return "\n".join(event.what for event in found.events)

    return asyncio.run(read())


@pytest.mark.parametrize("asked_by", ["nothing", "old name", "new name", "slug"])
def test_a_renamed_database_is_the_same_tenants(world: World, asked_by: str) -> None:
    before, members, workspaces = world.link("ada"), world.members("ada"), world.workspaces()
    old, new = before["database_name"], f"{before['database_name']}_r{next(_NUMBERS)}"
    world.sandbox.postgres.execute("postgres", f'ALTER DATABASE "{old}" RENAME TO "{new}"')
    # nothing but the id says whose the row is
    world.registry(
        "UPDATE tenant_registry SET database_name = %s, slug = 'ada-new', twenty_workspace_id = NULL "
        "WHERE slug = 'ada'",
        new,
    )
    assert any("follow database" in line for line in told(world, "ada-new"))

    names = {"nothing": (), "old name": (old,), "new name": (new,), "slug": ("ada-new",)}[asked_by]
    applied = world.apply(*names)

    assert world.workspaces() == workspaces
    link = world.link("ada-new")
    assert (link["database_name"], link["workspace_id"]) == (new, before["workspace_id"])
    assert world.members("ada-new") == members
    assert world.conditions(new)["Ready"] == READY
    assert applied.summary.mutating_calls == 0
    assert f"follow database: from {old} to {new}" in history(world, "ada-new")
    assert "create workspace" in history(world, "ada-new"), "the timeline goes on"
    at_rest(world)
    assert lives(world)[new] == "Active"
    world.sandbox.postgres.execute("postgres", f'ALTER DATABASE "{new}" RENAME TO "{old}"')


@pytest.mark.parametrize("by_name", [False, True], ids=["all", "by name"])
def test_a_database_that_is_renamed_before_its_row_is_no_new_tenant(world: World, by_name: bool) -> None:
    old = world.link("bob")["database_name"]
    new = f"{old}_{next(_NUMBERS)}"
    workspaces = world.workspaces()
    world.sandbox.postgres.execute("postgres", f'ALTER DATABASE "{old}" RENAME TO "{new}"')

    for _ in ("seen for the first time", "seen before"):
        world.apply(*((new,) if by_name else ()))

    assert world.conditions(new)["Registered"] == IN_DOUBT
    assert lives(world)[new] == "InDoubt"
    assert world.registry("SELECT 1 FROM tenant_registry WHERE database_name = %s", new) == []
    assert world.workspaces() == workspaces

    point(world, "bob", new)
    world.apply()

    assert world.conditions(new)["Ready"] == READY
    assert world.workspaces() == workspaces
    world.sandbox.postgres.execute("postgres", f'ALTER DATABASE "{new}" RENAME TO "{old}"')


def test_a_tenant_that_has_another_database_takes_its_workspace_along_and_the_old_one_is_no_new_tenant(
    world: World,
) -> None:
    before, workspaces = world.link("bob"), world.workspaces()
    old, new = before["database_name"], f"{before['database_name']}_new"
    world.sandbox.postgres.create_database(new)
    point(world, "bob", new)

    world.apply()

    assert world.link("bob")["database_name"] == new
    assert world.conditions("bob")["Ready"] == READY
    assert world.conditions(old)["Registered"] == LEFT
    assert (lives(world)[new], lives(world)[old]) == ("Active", "Gone")
    at_rest(world)
    at_rest(world, old)
    assert world.workspaces() == workspaces
    assert len(world.registry("SELECT slug FROM tenant_registry")) == len(FLEET)


def test_a_row_that_names_another_tenants_database_gives_no_workspace_away(world: World) -> None:
    workspaces, ada, bob = world.workspaces(), world.link("ada"), world.link("bob")
    world.registry("DELETE FROM tenant_registry WHERE slug = 'bob'")
    point(world, "ada", bob["database_name"])

    for names in ((), ("ada",), ("bob",)):
        applied = world.apply(*names)
        assert applied.summary.mutating_calls == 0

    for link in (ada, bob):
        assert world.conditions(link["database_name"])["Registered"] == IN_DOUBT
        assert lives(world)[link["database_name"]] == "InDoubt"
        assert world.link(link["database_name"])["workspace_id"] == link["workspace_id"]
    assert world.workspaces() == workspaces


def test_two_tenants_that_change_places_keep_their_workspaces_until_a_person_says_whose_is_whose(world: World) -> None:
    workspaces, ada, bob = world.workspaces(), world.link("ada"), world.link("bob")
    members = {slug: world.members(slug) for slug in ("ada", "bob")}
    point(world, "ada", bob["database_name"])
    world.registry("UPDATE tenant_registry SET database_name = %s WHERE slug = 'bob'", ada["database_name"])

    world.apply()
    world.apply()

    for link in (ada, bob):
        assert world.conditions(link["database_name"])["Registered"] == IN_DOUBT
    assert {slug: world.members(slug) for slug in ("ada", "bob")} == members
    assert world.workspaces() == workspaces


def test_a_registry_that_numbers_its_rows_anew_is_known_by_the_databases(world: World) -> None:
    # each row has the id that another one had
    world.registry(
        "UPDATE tenant_registry r SET id = n.id FROM (SELECT slug, lead(id, 1, first) OVER (ORDER BY slug) AS id FROM "
        "(SELECT slug, id, first_value(id) OVER (ORDER BY slug) AS first FROM kept) k) n WHERE n.slug = r.slug"
    )
    at_rest(world)
    ids = dict(world.registry("SELECT database_name, id::text FROM tenant_registry"))
    stored = dict(world.registry("SELECT database_name, registry_id FROM provisioning.tenant_link"))
    assert {name: stored[name] for name in ids} == ids


def test_another_slug_and_name_are_followed_and_the_workspace_keeps_its_own(world: World) -> None:
    workspace = world.link("cyd")["workspace_id"]
    called = world.twenty('SELECT "displayName" FROM core.workspace WHERE id = %s', workspace)
    world.registry("UPDATE tenant_registry SET slug = 'cyd-two', name = 'Cyd the Second' WHERE slug = 'cyd'")
    world.apply()
    assert world.link("cyd-two")["workspace_id"] == workspace
    assert world.conditions("cyd-two")["Ready"] == READY
    assert world.twenty('SELECT "displayName" FROM core.workspace WHERE id = %s', workspace) == called


def test_two_rows_with_one_slug_are_two_tenants(world: World) -> None:
    links, workspaces = {slug: world.link(slug) for slug in FLEET}, world.workspaces()
    world.registry("UPDATE tenant_registry SET slug = 'ada', name = 'Ada' WHERE slug = 'bob'")
    world.apply()
    for link in links.values():
        assert world.conditions(link["database_name"])["Ready"] == READY
    assert world.workspaces() == workspaces


def test_another_organization_brings_its_people_and_takes_the_others_away_once_approved(fleet: World) -> None:
    world, policy = fleet, {"members_gone": "remove", "harm_most": 0}
    workspaces, link, members = world.workspaces(), world.link("cyd"), world.members("cyd")
    other = world.sandbox.add_tenant("zoe")
    organization, was = world.organization("zoe"), world.organization("cyd")
    world.registry("DELETE FROM tenant_registry WHERE slug = 'zoe'")
    world.sandbox.postgres.execute("postgres", f'DROP DATABASE "{other.database_name}"')
    world.registry("UPDATE tenant_registry SET clerk_org_id = %s WHERE slug = 'cyd'", organization)
    assert f"follow organization: {organization}, and no longer {was}" in "\n".join(told(world, "cyd"))

    world.apply(**policy)

    assert (world.link("cyd")["workspace_id"], world.workspaces()) == (link["workspace_id"], workspaces)
    assert f"follow organization: from {was} to {organization}" in history(world, "cyd")
    waiting = world.plan_with(**policy).waiting
    assert waiting is not None
    assert members.items() <= world.members("cyd").items()
    world.apply_approved(waiting.name, **policy)
    # the last admin left once another one was there
    world.apply(members_gone="remove")
    assert {email.partition("@")[2] for email in world.members("cyd")} == {"zoe.example"}
    assert world.conditions("cyd")["Ready"] == READY
