"""What customers, their databases and crashes do to workspaces that were ready, and how each is told and healed."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from provisioning_pipeline.model.change import FOLLOW_ADDRESS, RESTART_TENANT, RETIRE_MEMBERSHIPS
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.report.plan_lines import lines_of
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.steps.workspaces import act as provision
from provisioning_pipeline.steps.workspaces.changes import ACTIVATE_WORKSPACE, REJOIN_WORKSPACE
from provisioning_pipeline.tasks.restart import NotGone
from provisioning_pipeline_tests.customers import Customer
from provisioning_pipeline_tests.world import World

READY = ("True", "AllTrue")
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    return shared_world


@pytest.fixture
def acme(world: World) -> str:
    """A ready tenant of this test's own."""
    slug = f"acme{next(_NUMBERS)}"
    world.sandbox.add_tenant(slug, members=2)
    world.apply(slug)
    assert world.conditions(slug)["Ready"] == READY
    return slug


def told(world: World, slug: str) -> list[str]:
    """What a plan says of the tenant."""
    (entry,) = world.plan(slug).tenants
    return [str(line) for line in lines_of(entry)]


def at_rest(world: World, *slugs: str) -> None:
    """A run has nothing to do."""
    applied = world.apply(*slugs)
    assert (applied.summary.actions, applied.summary.mutating_calls) == (0, 0)


# --- what its database is called -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_renamed_database_keeps_its_workspace_and_its_members(world: World, acme: str) -> None:
    before, members = world.link(acme), world.members(acme)
    old, new = before["database_name"], f"{before['database_name']}_blue"
    world.sandbox.postgres.execute("postgres", f'ALTER DATABASE "{old}" RENAME TO "{new}"')
    world.registry("UPDATE tenant_registry SET database_name = %s WHERE slug = %s RETURNING slug", new, acme)

    applied = world.apply()

    assert applied.summary.mutating_calls == 0
    rows = world.registry(
        "SELECT database_name, workspace_id::text FROM provisioning.tenant_link WHERE slug = %s", acme
    )
    assert dict(rows) == {new: before["workspace_id"]}
    assert world.members(new) == members
    at_rest(world)


# --- what a workspace is called -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "name", "called"),
    [
        ("long-name", "x" * 300, "x" * 99 + "…"),
        pytest.param("blank-name", "\u00a0 \u3000", "blank-name", marks=pytest.mark.slow),
    ],
)
def test_a_name_that_twenty_refuses_is_put_right_and_the_plan_says_so(
    world: World, slug: str, name: str, called: str
) -> None:
    world.sandbox.add_tenant(slug, name=name)
    (line,) = [line for line in told(world, slug) if "create workspace" in line]
    assert f'called "{called}"' in line

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == READY
    found = world.twenty('SELECT "displayName" FROM core.workspace WHERE id = %s', world.link(slug)["workspace_id"])
    assert found[0][0] == called


# --- our own account ----------------------------------------------------------------------------------------------


def test_a_service_account_that_was_demoted_is_noticed_while_nothing_else_is_due_and_goes_on_once_admin(
    world: World, acme: str
) -> None:
    customer = Customer(world, acme)
    customer.set_role(world.settings.servers[0].service_email, "Member")
    assert any(line.startswith("! ServiceAccountDemoted") for line in told(world, acme))

    applied = world.apply(acme)

    assert world.conditions(acme)["Ready"] == ("False", Reason.SERVICE_ACCOUNT_DEMOTED)
    assert applied.summary.mutating_calls == 0
    customer.set_role(world.settings.servers[0].service_email, "Admin")
    world.apply(acme)
    assert world.conditions(acme)["Ready"] == READY
    at_rest(world, acme)


@pytest.mark.slow
def test_a_service_account_that_was_removed_comes_back_by_the_invitation_of_an_admin(world: World, acme: str) -> None:
    # Twenty deletes an account with its last workspace
    world.sandbox.add_tenant(f"{acme}-other", members=1)
    world.apply(f"{acme}-other")
    service, customer = world.settings.servers[0].service_email, Customer(world, acme)
    customer.remove(service)
    assert any(line.startswith("! ServiceAccountRemoved") for line in told(world, acme))
    world.apply(acme)
    assert world.conditions(acme)["Ready"] == ("False", Reason.SERVICE_ACCOUNT_REMOVED)

    customer.invite(service, "Admin")
    assert f"~ {REJOIN_WORKSPACE}" in told(world, acme)
    world.apply(acme)

    assert world.conditions(acme)["Ready"] == READY
    at_rest(world, acme)


@pytest.mark.slow
def test_a_service_account_that_is_invited_with_too_few_rights_says_so(world: World, acme: str) -> None:
    service, customer = world.settings.servers[0].service_email, Customer(world, acme)
    customer.remove(service)
    customer.invite(service, "Member")

    world.apply(acme)

    assert world.conditions(acme)["Ready"] == ("False", Reason.SERVICE_ACCOUNT_DEMOTED)


@pytest.mark.slow
def test_the_account_that_went_with_its_last_workspace_is_signed_up_anew() -> None:
    with Sandbox(SandboxOptions(tenants=1, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox)
        world.apply()
        (slug,) = (row[0] for row in world.registry("SELECT slug FROM provisioning.tenant_link"))
        Customer(world, slug).delete_workspace()
        assert not world.twenty('SELECT 1 FROM core."user" WHERE "deletedAt" IS NULL')

        plan = world.plan()
        assert any("was deleted with its last workspace" in note for note in plan.notes)
        world.apply()
        assert world.conditions(slug)["Ready"] == ("False", Reason.WORKSPACE_GONE)
        world.restart(slug)
        world.apply()

        assert world.conditions(slug)["Ready"] == READY
        assert world.sees(slug)["status"] == "COMPLETED"
        at_rest(world)


# --- a workspace that is gone -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tenant_whose_workspace_was_deleted_starts_anew_with_all_of_its_members(world: World, acme: str) -> None:
    before, members = world.link(acme), set(world.members(acme))
    Customer(world, acme).delete_workspace()
    assert any("provisioning restart" in line for line in told(world, acme))

    world.restart(acme)
    world.apply(acme)

    after = world.link(acme)
    assert world.conditions(acme)["Ready"] == READY
    assert after["workspace_id"] != before["workspace_id"]
    # Twenty keeps the subdomain of the old one
    assert after["subdomain"] not in (before["subdomain"], acme)
    assert set(world.members(acme)) == members
    assert world.sees(acme)["workspace_id"] == after["workspace_id"]
    at_rest(world, acme)

    Customer(world, acme).delete_workspace()
    world.restart(acme)
    world.apply(acme)
    assert world.conditions(acme)["Ready"] == READY
    assert world.link(acme)["restarts"] == 2


@pytest.mark.slow
def test_who_was_restarted_stands_in_its_timeline_as_done_by_an_operator(world: World, acme: str) -> None:
    Customer(world, acme).delete_workspace()
    world.restart(acme)
    rows = world.registry(
        "SELECT o.change, r.trigger FROM provisioning.outcome o JOIN provisioning.run r USING (run_id) "
        "WHERE database_name = %s ORDER BY o.id DESC LIMIT 1",
        world.link(acme)["database_name"],
    )
    assert tuple(rows[0]) == (RESTART_TENANT, "operator")
    assert world.conditions(acme)["Ready"][0] == "False"


@pytest.mark.slow
def test_nobody_starts_anew_whose_workspace_stands_or_of_whom_nobody_can_say(world: World, acme: str) -> None:
    before = world.link(acme)
    with pytest.raises(NotGone, match="stands"):
        world.restart(acme)
    with pytest.raises(NotGone, match="We cannot say"):
        world.restart(acme, twenty_database_url="postgresql://nobody:x@127.0.0.1:1/twenty")
    world.sandbox.add_tenant(f"{acme}-new")
    world.apply(f"{acme}-new")
    other = world.sandbox.postgres.url("template1")
    with pytest.raises(NotGone):
        world.restart(acme, twenty_database_url=other)
    assert world.link(acme) == before


# --- deleted by SQL -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_memberships_of_a_workspace_that_was_deleted_by_sql_are_ended_before_anybody_signs_in(
    world: World, acme: str
) -> None:
    link = world.link(acme)
    world.twenty('UPDATE core.workspace SET "deletedAt" = now() WHERE id = %s RETURNING 1', link["workspace_id"])
    other = f"{acme}-b"
    world.sandbox.add_tenant(other, members=2)
    assert any(link["workspace_id"] in note and "ends these memberships" in note for note in world.plan(other).notes)

    world.apply(other)

    assert world.conditions(other)["Ready"] == READY
    left = world.twenty(
        'SELECT count(*) FROM core."userWorkspace" WHERE "workspaceId" = %s AND "deletedAt" IS NULL',
        link["workspace_id"],
    )
    assert left[0][0] == 0
    done = world.registry(
        "SELECT status, detail FROM provisioning.outcome WHERE change = %s AND detail LIKE %s",
        RETIRE_MEMBERSHIPS,
        f"%{link['workspace_id']}%",
    )
    assert [row[0] for row in done] == ["done"]
    assert not world.plan(other).notes
    at_rest(world, other)


# --- renamed ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_subdomain_that_the_customer_changed_is_followed_while_nothing_else_is_due(world: World, acme: str) -> None:
    before = world.link(acme)
    Customer(world, acme).rename(f"{acme}-neu")
    world.sandbox.reset_counters()

    applied = world.apply(acme)

    after = world.link(acme)
    assert after["subdomain"] == f"{acme}-neu"
    assert after["workspace_url"] == before["workspace_url"].replace(f"//{acme}.", f"//{acme}-neu.")
    assert [line.change for line in applied.summary.outcomes] == [FOLLOW_ADDRESS]
    assert not world.sandbox.twenty[0].calls
    assert world.sees(acme)["status"] == "COMPLETED"
    at_rest(world, acme)


@pytest.mark.slow
def test_workspaces_that_changed_names_are_both_followed(world: World, acme: str) -> None:
    other = f"{acme}-b"
    world.sandbox.add_tenant(other)
    world.apply(other)
    urls = {slug: world.link(slug)["workspace_url"] for slug in (acme, other)}
    one, two = Customer(world, acme), Customer(world, other)
    one.rename(f"{acme}-c")
    two.rename(acme)
    one.rename(other)

    world.apply(acme, other)

    assert (world.link(acme)["subdomain"], world.link(other)["subdomain"]) == (other, acme)
    assert (world.link(acme)["workspace_url"], world.link(other)["workspace_url"]) == (urls[other], urls[acme])
    at_rest(world, acme, other)


@pytest.mark.slow
@pytest.mark.parametrize("newcomers_first", [True, False])
def test_nobody_works_in_the_workspace_that_took_over_an_address(
    world: World, acme: str, newcomers_first: bool
) -> None:
    other = f"{acme}-b"
    world.sandbox.add_tenant(other, members=2)
    world.apply(other)
    one, two = Customer(world, acme), Customer(world, other)
    one.rename(f"{acme}-c")
    two.rename(acme)
    two.set_default_role("Admin")
    before = world.members(other)
    newcomer = f"late@{acme}.example"
    clerk = world.sandbox.clerk
    clerk.add_membership(world.organization(acme), clerk.add_user(newcomer, first_name="Late", last_name="Comer").id)

    world.apply(*((acme, other) if newcomers_first else (other, acme)))

    assert world.members(other) == before
    assert world.members(acme)[newcomer][0] == "Member"
    at_rest(world, acme, other)


@pytest.mark.slow
def test_an_address_that_does_not_begin_with_the_subdomain_is_asked_of_twenty(world: World, acme: str) -> None:
    url = world.link(acme)["workspace_url"]
    world.registry(
        "UPDATE provisioning.tenant_link SET workspace_url = 'http://elsewhere.test/' WHERE slug = %s RETURNING 1", acme
    )
    Customer(world, acme, url).rename(f"{acme}-neu")

    world.apply(acme)

    assert world.link(acme)["workspace_url"] == url.replace(f"//{acme}.", f"//{acme}-neu.")
    at_rest(world, acme)


# --- stopped while activating -------------------------------------------------------------------------------------

_STOPPED = 'UPDATE core.workspace SET "activationStatus" = \'ONGOING_CREATION\', "updatedAt" = now() - %s WHERE id = %s'


def stop_at_activation(world: World, slug: str, ago: timedelta) -> str:
    """The workspace as a server leaves it that is killed while it activates."""
    workspace = str(world.link(slug)["workspace_id"])
    world.twenty(f"{_STOPPED} RETURNING 1", ago, workspace)
    return workspace


@pytest.mark.slow
def test_nobody_waits_for_an_activation_that_was_stopped_and_it_is_called_again_when_its_time_has_come(
    world: World, acme: str
) -> None:
    stop_at_activation(world, acme, timedelta(minutes=1))
    other = f"{acme}-b"
    world.sandbox.add_tenant(other)
    world.sandbox.reset_counters()

    world.apply(acme, other)

    assert world.conditions(other)["Ready"] == READY
    assert world.conditions(acme)["WorkspaceReady"] == ("Unknown", Reason.ACTIVATION_BUSY)
    # one call: that for the other tenant
    assert world.sandbox.twenty[0].calls["activateWorkspace"] == 1
    waits = world.registry(
        "SELECT extract(epoch FROM look_again_at - now()) FROM provisioning.tenant_link WHERE slug = %s", acme
    )
    assert 200 < waits[0][0] <= 245

    stop_at_activation(world, acme, timedelta(minutes=6))
    world.apply(acme)
    assert world.conditions(acme)["Ready"] == READY
    at_rest(world, acme)


def test_an_activation_that_stops_while_a_run_is_at_it_is_given_up_soon_and_tried_again_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "ACTIVATING_SECONDS", 0.0)
    slug = "stopped-midway"
    world.sandbox.add_tenant(slug)
    world.apply(slug)
    # planned while it waited for its activation, and begun by somebody else since
    workspace = stop_at_activation(world, slug, timedelta(minutes=6))
    (entry,) = world.plan(slug).tenants
    assert ACTIVATE_WORKSPACE in entry.changes
    world.twenty('UPDATE core.workspace SET "updatedAt" = now() WHERE id = %s RETURNING 1', workspace)

    result = world.run_planned(replace(entry, look_again_seconds=None))

    assert result.failed
    assert result.again_seconds is not None
    assert 280 < result.again_seconds <= 305


# --- not paid for -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_workspace_without_its_subscription_is_made_and_not_ready(world: World, acme: str) -> None:
    workspace = world.link(acme)["workspace_id"]
    world.sandbox.postgres.execute(
        world.sandbox.twenty[0].database_url.rsplit("/", 1)[1],
        "ALTER TYPE core.\"workspace_activationStatus_enum\" ADD VALUE IF NOT EXISTS 'CREATED'",
    )
    world.twenty("UPDATE core.workspace SET \"activationStatus\" = 'CREATED' WHERE id = %s RETURNING 1", workspace)

    world.apply(acme)

    assert world.conditions(acme)["Ready"] == ("False", Reason.WORKSPACE_UNPAID)
    assert world.conditions(acme)["LoginProved"] == ("Unknown", Reason.WORKSPACE_UNPAID)
    plan = world.plan(acme)
    assert [each.unpaid for each in plan.unactivated if each.workspace_id == workspace] == [True]
    at_rest(world, acme)

    world.twenty("UPDATE core.workspace SET \"activationStatus\" = 'ACTIVE' WHERE id = %s RETURNING 1", workspace)
    world.apply(acme)
    assert world.conditions(acme)["Ready"] == READY
    at_rest(world, acme)


# --- settings that keep programs out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('"isPasswordAuthEnabled" = false', Reason.PASSWORD_LOGIN_OFF),
        pytest.param(
            '"isTwoFactorAuthenticationEnforced" = true', Reason.SECOND_FACTOR_REQUIRED, marks=pytest.mark.slow
        ),
    ],
)
def test_a_setting_that_keeps_us_out_is_seen_before_anybody_tries_and_gone_with_the_setting(
    world: World, acme: str, setting: str, reason: Reason
) -> None:
    before = world.twenty("SELECT to_jsonb(w) FROM core.workspace w WHERE subdomain = %s", acme)
    world.twenty(f"UPDATE core.workspace SET {setting} WHERE subdomain = %s RETURNING id", acme)
    (entry,) = world.plan(acme).tenants
    assert entry.changes == ()
    assert "Settings > Security" in " ".join(told(world, acme))

    at_rest(world, acme)

    assert world.conditions(acme)["Ready"] == ("False", reason)
    column = setting.split('"')[1]
    was = before[0][0][column]
    world.twenty(f'UPDATE core.workspace SET "{column}" = %s WHERE subdomain = %s RETURNING id', was, acme)
    world.apply(acme)
    assert world.conditions(acme)["Ready"] == READY


@pytest.mark.slow
def test_admins_who_may_bypass_that_password_login_is_off_let_us_in(world: World, acme: str) -> None:
    world.twenty(
        'UPDATE core.workspace SET "isPasswordAuthEnabled" = false, "isPasswordAuthBypassEnabled" = true '
        "WHERE subdomain = %s RETURNING id",
        acme,
    )
    at_rest(world, acme)
    assert world.conditions(acme)["Ready"] == READY
