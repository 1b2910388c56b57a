"""Wizard sightings, counted by real logins: a lived-in fleet of 30 tenants before and after one run."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.steps.test_onboarding import join_alone
from provisioning_pipeline_tests.world import World, real_login

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STRANGER, PASSWORD = "by.herself@elsewhere.example", "chosen-by-herself-1"
TENANTS_IN_ODD_STATES = 21
OWN, USER, WORKSPACE = (True, True), (True, False), (False, True)
DRIFT: list[list[tuple[str, tuple[bool, bool], str]]] = [
    # what is left for one person: key, level (by user, by workspace), JSON value
    [("CREATE_PROFILE", OWN, "true")],
    [("CREATE_PROFILE", OWN, "true"), ("INSTALL_APPS", OWN, "true"), ("CONNECT_ACCOUNT", OWN, "true")],
    [("CONNECT_ACCOUNT", USER, "true")],
    [("CREATE_PROFILE", WORKSPACE, "true")],
    [("INVITE_TEAM", WORKSPACE, "true")],
    [("CREATE_PROFILE", level, "true") for level in (OWN, USER, WORKSPACE)],
    [("CREATE_PROFILE", OWN, '"true"'), ("INSTALL_APPS", OWN, "true")],
    [("CONNECT_ACCOUNT", OWN, "false"), ("INVITE_TEAM", WORKSPACE, "true")],
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    options = SandboxOptions(
        fleet="lived-in", tenants=30 - TENANTS_IN_ODD_STATES, twenty=(TwentyOptions(activation_seconds=0.0),)
    )
    with Sandbox(options) as sandbox:
        yield World(sandbox)


def members(world: World) -> list[tuple[str, str]]:
    """(slug, e-mail) of everybody whom the pipeline put into a workspace or linked."""
    rows = world.registry(
        "SELECT l.slug, m.email FROM provisioning.member_link m JOIN provisioning.tenant_link l USING (database_name) "
        "UNION SELECT slug, admin_email FROM provisioning.tenant_link WHERE admin_email IS NOT NULL ORDER BY 1, 2"
    )
    return [(row[0], row[1]) for row in rows]


def sightings(logins: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [f"{slug}: {seen['email']} {seen['status']}" for slug, seen in logins if seen["status"] != "COMPLETED"]


def log_in(world: World, people: list[tuple[str, str]]) -> list[tuple[str, dict[str, Any]]]:
    return [(slug, world.sees_as(slug, email)) for slug, email in people]


def spoil(world: World, people: list[tuple[str, str]]) -> None:
    """Leave rows for everybody, in one way after the other."""
    for (slug, email), rows in zip(people, cycle(DRIFT), strict=False):
        workspace = world.link(slug)["workspace_id"]
        user = world.twenty('SELECT id FROM core."user" WHERE email = %s', email)[0][0]
        for key, (of_user, of_workspace), value in rows:
            world.twenty(
                'INSERT INTO core."keyValuePair" (key, value, type, "userId", "workspaceId") '
                "VALUES (%s, %s::jsonb, 'USER_VARIABLE', %s, %s) ON CONFLICT DO NOTHING RETURNING id",
                f"ONBOARDING_{key}_PENDING",
                value,
                user if of_user else None,
                workspace if of_workspace else None,
            )


def test_one_run_leaves_nobody_of_ours_a_wizard_and_a_stranger_hers(world: World) -> None:
    assert world.registry("SELECT count(*) FROM tenant_registry")[0][0] + 1 == 30, "one database has no row"
    world.apply()
    people = members(world)
    assert len(people) > 60
    server = world.sandbox.twenty[0]
    home = people[0][0]
    origin = world.link(home)["workspace_url"]
    join_alone(world, server, home, STRANGER, PASSWORD)
    spoil(world, people)
    before = sightings(log_in(world, people))
    assert len(before) > 0.9 * len(people)
    # nothing is known any more but what the registry and Clerk say
    world.registry("DROP SCHEMA provisioning CASCADE; SELECT 1")

    world.apply()

    assert members(world) == people
    assert sightings(log_in(world, people)) == []
    assert real_login(server, STRANGER, PASSWORD, origin)["status"] == "APPS_INSTALLATION"
    world.sandbox.reset_counters()
    assert (world.apply().summary.actions, world.mutating_calls()) == (0, 0)
