"""Servers of other versions: one tenant goes first where something is unknown, nobody where something is missing."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.contracts import ServerFinding, check_servers
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import FurtherStep, TwentyOptions
from provisioning_pipeline.tasks.preflight import preflight
from provisioning_pipeline_tests.world import World, upgraded

pytestmark = pytest.mark.slow
"""Each starts servers of its own."""

KNOWN = TwentyOptions(activation_seconds=0.0)
IMPORT_DATA = FurtherStep("ONBOARDING_IMPORT_DATA_PENDING", "IMPORT_DATA")
NEWER = TwentyOptions(activation_seconds=0.0, further_steps=(IMPORT_DATA,))
STUBBORN = """
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER stubborn BEFORE DELETE ON core."keyValuePair" FOR EACH ROW
        WHEN (OLD.key = 'ONBOARDING_IMPORT_DATA_PENDING') EXECUTE FUNCTION keep();
"""
"""A version in which the step does not go away."""


@contextmanager
def world_with(options: TwentyOptions, tenants: int) -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=tenants, members=1, twenty=(options,))) as sandbox:
        yield World(sandbox)


def change(world: World, statement: str) -> None:
    """Change something in Twenty's own database."""
    with psycopg.connect(world.sandbox.twenty[0].database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def proofs(world: World) -> list[str]:
    """Slugs of the tenants whose login proved a contract, the first proof first."""
    rows = world.registry(
        "SELECT l.slug FROM provisioning.server_contract c JOIN provisioning.tenant_link l "
        "ON l.database_name = c.canary WHERE c.proved_at IS NOT NULL ORDER BY c.proved_at"
    )
    return [row[0] for row in rows]


def in_order(world: World, *slugs: str) -> list[str]:
    """These tenants in the order in which something was first done for them."""
    rows = world.registry(
        "SELECT l.slug FROM provisioning.outcome o JOIN provisioning.tenant_link l USING (database_name) "
        "WHERE l.slug = ANY(%s) GROUP BY l.slug ORDER BY min(o.at)",
        list(slugs),
    )
    return [row[0] for row in rows]


def ended(world: World, slug: str, which: str) -> Any:
    """When the first or the last thing was done for a tenant."""
    query = (
        "SELECT min(o.at), max(o.at) FROM provisioning.outcome o JOIN provisioning.tenant_link l "
        "USING (database_name) WHERE l.slug = %s"
    )
    first, last = world.registry(query, slug)[0]
    return first if which == "first" else last


def add(world: World, *slugs: str) -> None:
    for slug in slugs:
        world.sandbox.add_tenant(slug, members=1)


def checked(world: World) -> list[ServerFinding]:
    async def go() -> list[ServerFinding]:
        async with connect(world.settings, dry_run=False) as connections:
            return await check_servers(connections)

    return asyncio.run(go())


def preflighted(world: World) -> tuple[bool, str]:
    (check,) = [check for check in asyncio.run(preflight(world.settings)) if check.system == "Twenty twenty"]
    return check.ok, check.found


def test_a_known_server_needs_no_proof_and_a_look_says_so() -> None:
    with world_with(KNOWN, tenants=2) as world:
        assert world.apply().summary.unwell == []
        add(world, "later")
        assert world.apply().summary.unwell == []

        assert proofs(world) == []
        (finding,) = checked(world)
        assert (finding.ok, finding.changed) == (True, False)
        ok, found = preflighted(world)
        assert ok
        assert f"contract {finding.fingerprint} is known" in found


def test_an_unknown_step_lets_one_tenant_go_first_and_is_proved_once() -> None:
    with world_with(KNOWN, tenants=1) as world:
        world.apply()
        add(world, "beta", "delta", "gamma")
        with upgraded(world, NEWER):
            ok, found = preflighted(world)
            assert ok
            assert "has an onboarding step IMPORT_DATA that is not known here" in found

            applied = world.apply()

            assert applied.summary.unwell == []
            assert applied.totals.worked_on == 3
            assert proofs(world) == ["beta"]
            others = [ended(world, slug, "first") for slug in ("delta", "gamma")]
            assert ended(world, "beta", "last") < min(others)
            for slug in ("acme", "beta", "delta", "gamma"):
                assert world.sees(slug)["status"] == "COMPLETED"
            assert applied.summary.actions == len(
                [outcome for outcome in applied.summary.outcomes if outcome.change != "prove login"]
            )

            add(world, "omega")
            world.sandbox.reset_counters()
            assert world.apply().summary.unwell == []
            assert proofs(world) == ["beta"]
            assert world.apply().summary.actions == 0
            ok, found = preflighted(world)
            assert ok
            assert "proved by the login of twenty_tenant_beta" in found
        (finding,) = checked(world)
        assert (finding.ok, finding.changed) == (True, True)


def test_while_no_login_is_proved_the_others_wait_and_nothing_is_made_for_them() -> None:
    slugs = ("beta", "delta", "gamma", "kappa", "sigma")
    with world_with(KNOWN, tenants=1) as world:
        world.apply()
        add(world, *slugs)
        with upgraded(world, NEWER):
            change(world, STUBBORN)

            applied = world.apply()

            assert proofs(world) == []
            assert {workspace.subdomain for workspace in world.workspaces()} == {"acme", "beta", "delta", "gamma"}
            unwell = {line.slug: line for line in applied.summary.unwell}
            assert all(unwell[slug].reason == "RowsChanged" for slug in ("beta", "delta", "gamma"))
            for waiting in ("kappa", "sigma"):
                assert unwell[waiting].reason == "ContractUnproved"
                assert world.conditions(waiting)["WorkspaceReady"] == ("Unknown", "ContractUnproved")
                for part in ("onboarding step IMPORT_DATA", "beta went first", "Nor is that of delta, gamma", "wait"):
                    assert part in unwell[waiting].message
            assert applied.totals.failed == applied.totals.worked_on == 5
            assert unwell["kappa"].message in applied.summary.refusals
            assert world.conditions("acme")["Ready"] == ("True", "AllTrue")

            # who was not tried yet has its turn before who was tried in vain
            assert {line.reason for line in world.apply().summary.unwell} == {"RowsChanged", "ContractUnproved"}
            assert in_order(world, *slugs)[3:] == ["kappa", "sigma"]

            change(world, 'DROP TRIGGER stubborn ON core."keyValuePair"')
            assert world.apply().summary.unwell == []
            assert len(proofs(world)) == 1
            assert len(world.workspaces()) == 6


def test_a_server_that_lets_our_account_in_nowhere_is_tried_with_one_tenant_first() -> None:
    with world_with(KNOWN, tenants=1) as world:
        world.apply()
        add(world, "beta", "delta")
        fault = ScriptedFault("getAuthTokensFromLoginToken", "error", times=4)
        world.sandbox.twenty[0].faults.scripted.append(fault)

        assert world.apply().summary.unwell == []

        assert ended(world, "beta", "last") < ended(world, "delta", "first")


def test_where_no_tenant_has_an_admin_nobody_goes_first_until_one_is_there() -> None:
    headless = "twenty_tenant_eta_0a1b2c3d"
    with world_with(KNOWN, tenants=1) as world:
        world.apply()
        world.sandbox.postgres.create_database(headless)
        with upgraded(world, NEWER):
            (told,) = world.apply(headless).tenants

            assert told.reason == "ContractUnproved"
            assert "no tenant that is to be worked on there has a known admin" in told.message
            assert [workspace.subdomain for workspace in world.workspaces()] == ["acme"]

            add(world, "beta")
            (told,) = world.apply().summary.unwell

            assert (told.database_name, told.reason) == (headless, "AdminUnknown")
            assert proofs(world) == ["beta"]
            assert len(world.workspaces()) == 3


def test_a_server_that_lacks_something_after_an_upgrade_is_not_written_to() -> None:
    lacking = frozenset({"signUpInWorkspace"})
    with world_with(KNOWN, tenants=1) as world:
        world.apply()
        add(world, "beta")
        with upgraded(world, TwentyOptions(lacking=lacking)):
            applied = world.apply()

            (beta,) = applied.summary.unwell
            assert (beta.slug, beta.reason) == ("beta", "UnsupportedTwenty")
            assert "Mutation.signUpInWorkspace" in beta.message
            assert applied.broken
            assert world.sandbox.twenty[0].mutating_calls == 0
            ok, found = preflighted(world)
            assert not ok
            assert "Mutation.signUpInWorkspace" in found
            (finding,) = checked(world)
            assert not finding.ok
            assert "Mutation.signUpInWorkspace" in finding.message
        assert world.apply().summary.unwell == []


@pytest.mark.parametrize(
    "statement",
    [
        'ALTER TABLE core."appToken" RENAME COLUMN context TO contexts',
        'ALTER TABLE core."appToken" ALTER COLUMN context TYPE text',
        'ALTER TABLE core."roleTarget" RENAME TO "userWorkspaceRole"',
    ],
    ids=["column", "kind", "table"],
)
def test_a_database_that_lacks_what_is_read_is_refused_by_name(statement: str) -> None:
    with world_with(KNOWN, tenants=1) as world:
        change(world, statement)

        applied = world.apply()

        (acme,) = applied.summary.unwell
        assert acme.reason == "UnsupportedTwenty"
        assert ("core.appToken.context" if "appToken" in statement else "core.roleTarget.roleId") in acme.message
        assert world.sandbox.twenty[0].mutating_calls == 0
        (finding,) = checked(world)
        assert not finding.ok


def test_a_server_of_1_x_is_told_to_be_one_and_is_not_written_to() -> None:
    with world_with(TwentyOptions(version="1.x"), tenants=2) as world:
        applied = world.apply()

        assert applied.broken
        assert {line.reason for line in applied.summary.unwell} == {"UnsupportedTwenty"}
        (sentence,) = applied.summary.refusals
        for part in ("is a Twenty 1.x", "on /graphql", "Upgrade it to 2.21 or later", "Mutation.signUpInNewWorkspace"):
            assert part in sentence
        assert world.sandbox.twenty[0].mutating_calls == 0
        assert world.twenty('SELECT count(*) FROM core."user"')[0][0] == 0
        assert preflighted(world)[0] is False
