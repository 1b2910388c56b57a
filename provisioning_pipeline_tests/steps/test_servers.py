"""Several Twenty servers, full ones, refusing ones, and ones that are away: conditions, never crashes."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.observe import UnknownTenants
from provisioning_pipeline.run.run import plan as make_plan
from provisioning_pipeline.run.run import start
from provisioning_pipeline.run.work import Run, work
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
"""Each starts servers of its own."""


@contextmanager
def world_with(*twenty: TwentyOptions, tenants: int) -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=tenants, members=1, twenty=twenty)) as sandbox:
        yield World(sandbox)


@pytest.mark.slow
def test_five_tenants_spread_over_servers_of_two_and_three_and_the_sixth_waits() -> None:
    with world_with(TwentyOptions(workspace_limit=2), TwentyOptions(workspace_limit=3), tenants=6) as world:
        applied = world.apply()

        assert [len(world.workspaces(server=number)) for number in (0, 1)] == [2, 3]
        (waiting,) = applied.summary.unwell
        assert waiting.reason == "ServerFull"
        assert "PROVISIONING_TWENTY_SERVERS" in waiting.message
        assert applied.summary.count("ready") == 5
        for line in applied.summary.tenants:
            if line.state == "ready":
                server = [entry.name for entry in world.settings.servers].index(line.server or "")
                assert world.sees(line.slug, server=server)["status"] == "COMPLETED"
        world.sandbox.reset_counters()
        assert world.apply().summary.actions == 0
        assert world.mutating_calls() == 0


@pytest.mark.slow
def test_a_server_without_a_licence_stops_further_creations_at_once_and_says_what_to_do() -> None:
    with world_with(TwentyOptions(workspace_limit=1), tenants=4) as world:
        applied = world.apply(tenant_concurrency=1)

        assert applied.summary.count("ready") == 1
        assert {line.reason for line in applied.summary.unwell} == {"ServerFull"}
        assert ["enterprise key" in sentence for sentence in applied.summary.refusals] == [True]
        # one creation went through, one was refused, and nobody asked a third time
        assert world.sandbox.twenty[0].calls["signUpInNewWorkspace"] == 2
        assert not applied.broken
        assert world.registry("SELECT count(*) FROM provisioning.intent WHERE settled_at IS NULL")[0][0] == 0


@pytest.mark.slow
def test_a_service_account_that_is_no_server_admin_is_told_which_right_it_lacks() -> None:
    with world_with(TwentyOptions(), tenants=1) as world:
        world.apply()
        world.twenty('UPDATE core."user" SET "canAccessFullAdminPanel" = false RETURNING id')
        world.sandbox.add_tenant("late", members=1)

        applied = world.apply()

        (late,) = applied.summary.unwell
        assert late.reason == "CreationRestricted"
        assert "canAccessFullAdminPanel" in late.message


@pytest.mark.slow
def test_a_wrong_service_password_breaks_the_run_in_words_without_showing_it() -> None:
    with world_with(TwentyOptions(), tenants=1) as world:
        world.apply()
        world.sandbox.add_tenant("late", members=1)

        applied = world.apply(twenty_service_password="not-the-password")

        assert applied.broken
        (late,) = applied.summary.unwell
        assert late.reason == "CredentialsRefused"
        assert "not-the-password" not in json.dumps([late.message, *applied.summary.refusals])
        assert world.apply().summary.unwell == []


@pytest.mark.slow
def test_a_missing_service_account_on_a_server_with_users_is_not_signed_up_by_itself() -> None:
    with world_with(TwentyOptions(), tenants=1) as world:
        world.apply()
        world.sandbox.add_tenant("late", members=1)

        applied = world.apply(twenty_service_email="nobody@platform.test")

        reasons = {line.slug: line.reason for line in applied.summary.unwell}
        assert reasons["late"] == "ServiceAccountMissing"
        assert world.twenty('SELECT count(*) FROM core."user" WHERE email = %s', "nobody@platform.test")[0][0] == 0


@pytest.mark.slow
def test_a_twenty_that_lacks_a_mutation_is_refused_by_name_and_nothing_is_written_to_it() -> None:
    lacking = frozenset({"signUpInWorkspace"})
    with world_with(TwentyOptions(lacking=lacking), tenants=2) as world:
        applied = world.apply()

        assert applied.broken
        assert {line.reason for line in applied.summary.unwell} == {"UnsupportedTwenty"}
        assert "Mutation.signUpInWorkspace" in applied.summary.refusals[0]
        assert world.sandbox.twenty[0].mutating_calls == 0
        assert world.twenty('SELECT count(*) FROM core."user"')[0][0] == 0


@pytest.mark.slow
def test_a_server_that_would_send_e_mails_to_new_members_is_refused_before_anything_is_written() -> None:
    with world_with(TwentyOptions(email_verification_required=True), tenants=1) as world:
        applied = world.apply()

        assert applied.broken
        assert "IS_EMAIL_VERIFICATION_REQUIRED=false" in applied.summary.refusals[0]
        assert world.sandbox.twenty[0].mutating_calls == 0


@pytest.mark.slow
def test_a_plan_that_is_older_than_another_runs_beginning_steps_back() -> None:
    with world_with(TwentyOptions(), TwentyOptions(), tenants=1) as world:

        async def late() -> tuple[str, str]:
            async with connect(world.settings, dry_run=False) as connections:
                run = Run(connections, "late")
                plan = (await start(run, "test")).plan
                planned = plan.tenants[0].server
                other = next(entry.name for entry in world.settings.servers if entry.name != planned)
                database = plan.tenants[0].tenant.database_name
                # another run has meanwhile begun elsewhere and was killed
                now = datetime.now(UTC)
                await connections.ledger.begin_intent(database, other, "acme", "other", begun_at=now)
                (result,) = await work(run, plan.tenants)
                return result.conditions[0].reason, other

        reason, other = asyncio.run(late())

        assert reason == "TenantBusy"
        assert [len(world.workspaces(server=number)) for number in (0, 1)] == [0, 0]
        assert world.apply().summary.unwell == []
        assert world.link("acme")["server"] == other
        assert sum(len(world.workspaces(server=number)) for number in (0, 1)) == 1


@pytest.mark.slow
def test_a_name_from_a_sensor_whose_database_vanished_meanwhile_stops_nobody() -> None:
    with world_with(TwentyOptions(), tenants=1) as world:

        async def plan() -> list[str]:
            async with connect(world.settings, dry_run=True) as connections:
                found = await make_plan(connections, ["acme", "twenty_tenant_gone_00000000"], by_hand=False)
                return [entry.tenant.slug for entry in found.tenants]

        assert asyncio.run(plan()) == ["acme"]


@pytest.mark.slow
def test_a_server_that_is_away_is_a_condition_and_heals_when_it_is_back() -> None:
    with world_with(TwentyOptions(), tenants=2) as world:
        world.apply("acme")
        world.sandbox.twenty[0].stop()

        applied = world.apply()

        states = {line.slug: (line.state, line.reason) for line in applied.summary.tenants}
        assert states["brightwave"] == ("unwell", "ServerUnreachable")
        assert states["acme"][0] == "ready"
        assert not applied.broken
        world.sandbox.twenty[0].start()
        assert world.apply().summary.unwell == []


@pytest.mark.slow
def test_a_server_on_the_tenants_own_database_takes_that_tenant_and_no_other() -> None:
    with world_with(TwentyOptions(), TwentyOptions(), tenants=2) as world:
        servers = json.loads(world.sandbox.environment()["PROVISIONING_TWENTY_SERVERS"])
        own, shared = servers
        acme = world.registry("SELECT database_name FROM tenant_registry WHERE slug = 'acme'")[0][0]
        twenty = world.sandbox.twenty[0]
        twenty.stop()
        own["database_url"] = world.sandbox.postgres.url(acme)
        with type(twenty)(own["database_url"], twenty.options) as dedicated:
            own["base_url"] = dedicated.base_url

            applied = world.apply(twenty_servers=[own, shared])

            placed = {line.slug: line.server for line in applied.summary.tenants}
            assert placed == {"acme": own["name"], "brightwave": shared["name"]}
            assert applied.summary.unwell == []


@pytest.mark.slow
def test_a_name_that_nobody_has_is_refused_in_one_sentence() -> None:
    with world_with(TwentyOptions(), tenants=1) as world, pytest.raises(UnknownTenants, match="nobody"):
        world.apply("nobody")


@pytest.mark.slow
def test_the_lived_in_fleet_ends_with_every_tenant_ready_or_explained() -> None:
    with Sandbox(SandboxOptions(tenants=0, fleet="lived-in")) as sandbox:
        world = World(sandbox)

        applied = world.apply()

        assert applied.totals.defects == []
        states = {line.slug: (line.state, str(line.reason)) for line in applied.summary.tenants}
        assert states["row-without-database"] == ("unwell", "DatabaseMissing")
        assert states["suspended-tenant"] == ("aside", "TenantSuspended")
        for line in applied.summary.tenants:
            assert line.message.endswith((".", "?")), line
            if line.state == "ready":
                assert world.sees(line.database_name)["status"] == "COMPLETED"
        unwell = {line.slug: str(line.reason) for line in applied.summary.unwell}
        assert set(unwell.values()) <= {
            "DatabaseMissing",
            "AdminUnknown",
            "EmailUnverified",
            "OrganizationProposed",
            "OrganizationMissing",
        }, unwell
        assert world.sandbox.twenty[0].mails == []
        world.sandbox.reset_counters()
        assert world.apply().summary.actions == 0
        assert world.mutating_calls() == 0
