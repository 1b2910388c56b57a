"""What was foretold from a plan alone is what the run then makes, within a tenth."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.model.forecast import Forecast, Limit
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, CREATE_PROFILE, INSTALL_APPS
from provisioning_pipeline.run.run import Applied, plan_and_forecast
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World, settings_of

_QUICK = TwentyOptions(activation_seconds=0.0)
_MOST_OFF = 0.1
_FEW = 3
"""A tenth of a small run is less than a call."""


@contextmanager
def world_of(path: Path, *, twenty: tuple[TwentyOptions, ...] = (_QUICK,), **options: Any) -> Iterator[World]:
    with Sandbox(SandboxOptions(twenty=twenty, **options)) as sandbox:
        yield World(sandbox, report_path=str(path))


def as_foretold(world: World, *tenants: str, **settings: Any) -> tuple[Forecast, Applied]:
    """Foretell in one process, as it were, and run in another; the calls must agree."""
    overrides = {"report_path": world.settings.report_path, **settings}
    _, found = asyncio.run(plan_and_forecast(settings_of(world.sandbox.environment(), **overrides), tenants))
    applied = world.apply(*tenants, **overrides)
    made = applied.totals
    for name, told, count in (
        ("Clerk", found.clerk_calls, made.clerk_calls),
        ("Twenty", found.twenty_calls, made.twenty_calls),
    ):
        assert abs(told - count) <= max(_MOST_OFF * count, _FEW), f"{told} calls to {name} foretold, {count} made"
    assert applied.summary.forecast is not None
    assert applied.summary.forecast.twenty_calls == found.twenty_calls
    return found, applied


def people(world: World, slug: str) -> list[str]:
    """E-mails of the organization's members, its admin first."""
    state = world.sandbox.clerk.state
    members = sorted(state.members_of(world.organization(slug)), key=lambda member: member.created_at)
    return [str(state.user(member.user_id).primary_email) for member in members]


def joins(world: World, slug: str, name: str = "new") -> None:
    clerk = world.sandbox.clerk
    person = clerk.add_user(f"{name}@{slug}.example", first_name="New", last_name="Comer")
    clerk.add_membership(world.organization(slug), person.id)


def slugs(world: World) -> list[str]:
    return [str(row[0]) for row in world.registry("SELECT slug FROM tenant_registry ORDER BY slug")]


@pytest.mark.slow
def test_a_fresh_fleet_the_same_at_rest_and_with_a_member_more(tmp_path: Path) -> None:
    with world_of(tmp_path, tenants=2, members=3) as world:
        fresh, _ = as_foretold(world)
        assert (fresh.first_limit, fresh.harm.planned) == (None, 0)

        _, rest = as_foretold(world)
        assert rest.totals.twenty_calls == 0

        joins(world, slugs(world)[0])
        _, joined = as_foretold(world)
        assert joined.totals.twenty_calls > 0


def renamed(world: World) -> None:
    for slug in slugs(world):
        world.sandbox.clerk.state.user(world.clerk_user(people(world, slug)[1])).first_name = "Renamed"


def role_raised(world: World) -> None:
    slug = slugs(world)[0]
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(people(world, slug)[1]), "org:admin")


def removed(world: World) -> None:
    slug = slugs(world)[0]
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(people(world, slug)[1]))


def flags_of_an_admin(world: World) -> None:
    link = world.link(slugs(world)[0])
    for key in (CONNECT_ACCOUNT, CREATE_PROFILE, INSTALL_APPS):
        world.twenty(
            'INSERT INTO core."keyValuePair" (key, value, "userId", "workspaceId", type) '
            "VALUES (%s, 'true'::jsonb, %s, %s, 'USER_VARIABLE') RETURNING id",
            key,
            link["admin_user_id"],
            link["workspace_id"],
        )


def somebody_joins_everywhere(world: World) -> None:
    for slug in slugs(world):
        joins(world, slug)


def one_person_joins_everywhere(world: World) -> None:
    clerk = world.sandbox.clerk
    person = clerk.add_user("one@everywhere.example", first_name="One", last_name="Everywhere")
    for slug in slugs(world):
        clerk.add_membership(world.organization(slug), person.id)


def ledger_lost(world: World) -> None:
    for table in ("member_link", "user_link", "tenant_link"):
        world.registry(f"DELETE FROM provisioning.{table} RETURNING 1")


CHANGES: list[tuple[Callable[[World], None], dict[str, Any]]] = [
    (renamed, {}),
    (role_raised, {}),
    (removed, {"members_gone": "remove"}),
    (flags_of_an_admin, {}),
    (somebody_joins_everywhere, {}),
    (one_person_joins_everywhere, {}),
    (lambda _: None, {"clerk_store_external_id": True}),
    (ledger_lost, {}),
]


@pytest.mark.slow
def test_whatever_changes_in_a_ready_fleet(tmp_path: Path) -> None:
    with world_of(tmp_path, tenants=4, members=4) as world:
        world.apply()
        for change, settings in CHANGES:
            change(world)
            _, applied = as_foretold(world, **settings)
            assert applied.totals.mutating_calls + applied.totals.twenty_calls > 0, change
            assert applied.count("ready") == 4, change


@pytest.mark.slow
def test_the_lived_in_fleet_and_rows_that_only_sql_removes(tmp_path: Path) -> None:
    with world_of(tmp_path, tenants=0, fleet="lived-in") as world:
        found, applied = as_foretold(world)
        assert applied.totals.twenty_calls > 100
        assert "admin" in {name.slug for name in found.cut_names}

        database = world.link("onboarding-partly-cleared")["database_name"]
        world.sandbox.postgres.execute(
            database,
            'INSERT INTO core."keyValuePair" (key, value, "workspaceId", type) SELECT '
            "'ONBOARDING_INVITE_TEAM_PENDING', 'true'::jsonb, id, 'USER_VARIABLE' FROM core.workspace RETURNING id",
        )
        _, by_sql = as_foretold(world, full_look_seconds=0)
        assert (by_sql.totals.actions, by_sql.totals.twenty_calls) == (1, 0)


@pytest.mark.slow
def test_a_large_fleet(tmp_path: Path) -> None:
    with world_of(tmp_path, tenants=20, members=10) as world:
        found, applied = as_foretold(world)
        assert applied.count("ready") == 20
        assert applied.totals.twenty_calls > 1000
        # at the pace of a real server, which is what a server is taken for until it has runs of its own
        assert found.first_limit is Limit.TWENTY_CONCURRENCY


@pytest.mark.slow
def test_two_servers_with_room_for_some(tmp_path: Path) -> None:
    server = TwentyOptions(activation_seconds=0.0, workspace_limit=2)
    with world_of(tmp_path, tenants=3, members=2, twenty=(server, server)) as world:
        found, _ = as_foretold(world)
        assert found.first_limit is None
        for number in range(2):
            world.sandbox.add_tenant(f"late-{number}")
        found, applied = as_foretold(world)
        assert found.first_limit is Limit.SERVER_ROOM
        assert applied.count("unwell") == 1


@pytest.mark.slow
def test_a_tenant_that_was_asked_for_beside_others(tmp_path: Path) -> None:
    with world_of(tmp_path, tenants=2, members=2) as world:
        world.apply()
        world.sandbox.add_tenant("late", members=3)
        found, _ = as_foretold(world, "late")
        assert found.twenty_calls > 0
