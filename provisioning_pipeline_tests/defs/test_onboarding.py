"""Onboarding in Dagster: the repair by hand, the daily verification, and what assets and checks say of both."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.onboarding.assets import onboarding_flags, onboarding_status
from provisioning_pipeline.defs.onboarding.checks import login_proved, no_pending_onboarding
from provisioning_pipeline.defs.resources import Workbench
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, CREATE_PROFILE, INVITE_TEAM
from provisioning_pipeline.sandbox.hand_made import insert_onboarding
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SERVER = "twenty"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """Two ready tenants."""
    options = SandboxOptions(tenants=2, members=2, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        World(sandbox).apply()
        yield sandbox


@pytest.fixture
def world(shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in shared.environment().items():
        monkeypatch.setenv(name, value)
    found = World(shared)
    yield found
    found.twenty('DELETE FROM core."keyValuePair" WHERE key LIKE %s RETURNING 1', "ONBOARDING%")
    found.registry("UPDATE provisioning.login_proof SET status = 'COMPLETED' RETURNING 1")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def launch(instance: dg.DagsterInstance, job: str, op: str, **config: Any) -> Any:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, run_config=QUIET | {"ops": {op: {"config": config}}}, raise_on_error=False
    )


def repair(instance: dg.DagsterInstance, *tenants: str, **config: Any) -> Any:
    return launch(instance, "repair_onboarding", "detect_tenants", tenants=list(tenants), **config)


def verify(instance: dg.DagsterInstance, *tenants: str, **config: Any) -> Any:
    return launch(instance, "verify", "verify_sample", tenants=list(tenants), **config)


def steps(result: Any) -> set[str]:
    return {event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"}


def failure(result: Any) -> str:
    return next(str(e.event_specific_data) for e in result.all_events if e.event_type_value == "STEP_FAILURE")


def pend(world: World, slug: str, key: str, user: str | None = "admin") -> None:
    """Make a step pending in the tenant's workspace, for its admin, for somebody else, or for everybody."""
    link = world.link(slug)
    user_id = link["admin_user_id"] if user == "admin" else user
    with world.sandbox.postgres.connect(SERVER) as connection:
        insert_onboarding(connection, key, value=True, user_id=user_id, workspace_id=link["workspace_id"])


def stranger(world: World, slug: str) -> str:
    """The id of somebody in the workspace whom nobody linked."""
    ((user,),) = world.twenty(
        "INSERT INTO core.\"user\" (email) VALUES (gen_random_uuid() || '@elsewhere.example') RETURNING id::text"
    )
    world.twenty(
        'INSERT INTO core."userWorkspace" ("userId", "workspaceId") VALUES (%s, %s) RETURNING 1',
        user,
        world.link(slug)["workspace_id"],
    )
    return str(user)


def shown(asset: Any, check: Any, instance: dg.DagsterInstance) -> tuple[dict[str, Any], Any]:
    """What materializing the asset by hand shows, and the result of its check."""
    result = dg.materialize(
        [asset, check], instance=instance, resources={"workbench": Workbench()}, run_config=QUIET, raise_on_error=False
    )
    assert result.success
    (materialized,) = result.asset_materializations_for_node(asset.key.path[-1])
    (evaluated,) = result.get_asset_check_evaluations()
    return {name: value.value for name, value in materialized.metadata.items()}, evaluated


def recorded(instance: dg.DagsterInstance, asset: str, check: str) -> Any:
    (record,) = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(asset), check), limit=1
    )
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


# --- what loads -----------------------------------------------------------------------------------------------------


def test_job_and_op_are_both_called_repair_onboarding() -> None:
    by_hand = defs.resolve_job_def("repair_onboarding")
    assert {node.name for node in by_hand.graph.nodes} == {
        "detect_tenants",
        "repair_onboarding",
        "verify_logins",
        "report_reconciliation",
    }
    op = defs.resolve_job_def("reconcile_tenants").graph.node_named("repair_onboarding").definition
    assert by_hand.graph.node_named("repair_onboarding").definition is op


@pytest.mark.parametrize(
    ("job", "op", "fields"),
    [
        ("repair_onboarding", "detect_tenants", {"tenants", "dry_run"}),
        ("verify", "verify_sample", {"tenants", "sample"}),
    ],
)
def test_jobs_and_their_configuration_are_described_and_have_defaults(job: str, op: str, fields: set[str]) -> None:
    found = defs.resolve_job_def(job)
    assert found.description
    assert all(node.definition.description for node in found.graph.nodes)
    definition = found.graph.node_named(op).definition
    assert isinstance(definition, dg.OpDefinition)
    config = definition.config_schema.config_type
    assert isinstance(config, dg.Shape)
    assert {name for name, field in config.fields.items() if field.description and not field.is_required} == fields
    assert found.run_config is None


def test_logins_are_proved_every_day() -> None:
    schedule = defs.resolve_schedule_def("verify_daily")
    assert schedule.job_name == "verify"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert str(schedule.cron_schedule).endswith("* * *")


# --- the repair by hand ---------------------------------------------------------------------------------------------


def test_only_the_chosen_tenants_are_repaired_and_proved(world: World, instance: dg.DagsterInstance) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)
    pend(world, "brightwave", CONNECT_ACCOUNT)

    result = repair(instance, "acme")

    assert result.success
    assert steps(result) == {
        "detect_tenants",
        "repair_onboarding[acme]",
        "verify_logins[acme]",
        "report_reconciliation",
    }
    assert world.sees("acme")["status"] == "COMPLETED"
    assert world.sees("brightwave")["status"] == "SYNC_EMAIL"


def test_a_dry_run_shows_what_would_be_cleared_and_clears_nothing(world: World, instance: dg.DagsterInstance) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)
    world.sandbox.reset_counters()

    result = repair(instance, "acme", dry_run=True)

    plans = [
        event.event_specific_data.metadata["plan"].value
        for event in result.all_events
        if event.event_type_value == "STEP_OUTPUT" and "plan" in event.event_specific_data.metadata
    ]
    assert "clear onboarding step" in plans[0]
    assert world.mutating_calls() == 0
    assert world.sees("acme")["status"] == "SYNC_EMAIL"


@pytest.mark.slow
def test_members_are_not_touched_and_marks_stay(world: World, instance: dg.DagsterInstance) -> None:
    clerk = world.sandbox.clerk
    newcomer = clerk.add_user("late@acme.example", first_name="Late", last_name="Comer")
    clerk.add_membership(world.organization("acme"), newcomer.id)
    world.registry("UPDATE provisioning.tenant_link SET marked_at = now() WHERE slug = 'acme' RETURNING 1")
    pend(world, "acme", CONNECT_ACCOUNT)

    result = repair(instance, "acme")

    assert result.success
    assert world.sees("acme")["status"] == "COMPLETED"
    assert "late@acme.example" not in world.members("acme")
    assert world.link("acme")["marked_at"] is not None
    world.apply("acme")
    assert "late@acme.example" in world.members("acme")


def test_a_tenant_without_a_workspace_is_told_and_left_to_the_reconciliation(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.sandbox.add_tenant("newcomer", members=1)
    before = len(world.workspaces())

    result = repair(instance, "newcomer")

    assert result.success
    assert steps(result) == {"detect_tenants", "report_reconciliation"}
    assert len(world.workspaces()) == before
    # so that the sensor still sees a database that nobody has looked at
    assert world.registry("SELECT count(*) FROM provisioning.tenant_link WHERE slug = 'newcomer'")[0][0] == 0


def test_at_rest_nothing_is_done(world: World, instance: dg.DagsterInstance) -> None:
    repair(instance, "acme", "brightwave")
    world.sandbox.reset_counters()

    assert steps(repair(instance, "acme", "brightwave")) == {"detect_tenants", "report_reconciliation"}

    assert world.mutating_calls() == 0


def test_a_name_that_nobody_has_fails_in_words(world: World, instance: dg.DagsterInstance) -> None:
    assert "No tenant is called 'nobody'" in failure(repair(instance, "nobody"))


# --- assets and checks ----------------------------------------------------------------------------------------------


def test_pending_rows_are_counted_by_step_and_level_and_by_whom_they_concern(
    world: World, instance: dg.DagsterInstance
) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)
    pend(world, "acme", INVITE_TEAM, user=None)
    pend(world, "brightwave", CREATE_PROFILE, user=stranger(world, "brightwave"))

    metadata, check = shown(onboarding_flags, no_pending_onboarding, instance)

    assert (metadata["dagster/row_count"], metadata["of_ours"], metadata["not_read"]) == (3, 2, "None.")
    for line in (
        f"| twenty | {CONNECT_ACCOUNT} | user and workspace | ours | 1 |",
        f"| twenty | {INVITE_TEAM} | workspace | ours | 1 |",
        f"| twenty | {CREATE_PROFILE} | user and workspace | others | 1 |",
    ):
        assert line in metadata["counts"]
    assert not check.passed
    who = check.metadata["who"].value
    assert "acme" in who
    assert f"{CONNECT_ACCOUNT}, {INVITE_TEAM}" in who
    assert "brightwave" not in who


def test_what_members_would_see_is_counted_by_status(world: World, instance: dg.DagsterInstance) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)

    metadata, _ = shown(onboarding_status, login_proved, instance)

    assert metadata["not_completed"] == 1
    assert "| SYNC_EMAIL | 1 |" in metadata["statuses"]
    assert world.link("acme")["admin_email"] in metadata["who"]


def test_with_nothing_pending_the_check_passes(world: World, instance: dg.DagsterInstance) -> None:
    metadata, check = shown(onboarding_flags, no_pending_onboarding, instance)

    assert check.passed
    assert metadata["dagster/row_count"] == 0


def test_a_server_that_cannot_be_read_proves_nothing(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_TWENTY_DATABASE_URL", "postgresql://u:canary@127.0.0.1:9/db")

    metadata, check = shown(onboarding_flags, no_pending_onboarding, instance)

    assert not check.passed
    assert "cannot be reached" in check.metadata["not_read"].value
    assert "canary" not in str(metadata)


def test_with_the_policy_everyone_strangers_count_as_ours(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_ONBOARDING_PEOPLE", "everyone")
    pend(world, "brightwave", CREATE_PROFILE, user=stranger(world, "brightwave"))

    _, check = shown(onboarding_flags, no_pending_onboarding, instance)

    assert not check.passed
    assert "brightwave" in check.metadata["who"].value


# --- the verification -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_verification_proves_every_admin_and_says_how_old_the_oldest_proof_is(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.registry("DELETE FROM provisioning.login_proof RETURNING 1")
    _, before = shown(onboarding_status, login_proved, instance)
    assert not before.passed
    assert all(slug in before.metadata["who"].value for slug in ("acme", "brightwave"))

    assert verify(instance).success

    evaluated = recorded(instance, "onboarding_status", "login_proved")
    assert evaluated.passed
    assert evaluated.metadata["oldest_admin_proof"].value.startswith("0 min ago")
    world.registry(
        "UPDATE provisioning.login_proof p SET proved_at = now() - interval '5 hours' FROM provisioning.tenant_link l "
        "WHERE l.admin_user_id = p.twenty_user_id AND l.slug = 'acme' RETURNING 1"
    )
    _, later = shown(onboarding_status, login_proved, instance)
    assert later.metadata["oldest_admin_proof"].value == "5 h ago (acme)"
    assert later.passed


def test_a_login_that_shows_the_wizard_fails_the_check_with_tenant_and_step(
    world: World, instance: dg.DagsterInstance
) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)

    result = verify(instance, "acme", sample=0)

    # a tenant that is not well does not fail a run
    assert result.success
    evaluated = recorded(instance, "onboarding_status", "login_proved")
    assert not evaluated.passed
    who = evaluated.metadata["who"].value
    assert "acme" in who
    assert "SYNC_EMAIL" in who


def test_a_verification_of_nobody_fails_in_words(world: World, instance: dg.DagsterInstance) -> None:
    assert "no tenant called 'nobody'" in failure(verify(instance, "nobody"))


# --- a whole run ----------------------------------------------------------------------------------------------------


def test_a_whole_run_records_both_assets_and_both_checks(world: World, instance: dg.DagsterInstance) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)

    assert launch(instance, "reconcile_tenants", "detect_tenants").success

    for asset, check in (("onboarding_flags", "no_pending_onboarding"), ("onboarding_status", "login_proved")):
        assert instance.get_latest_materialization_event(dg.AssetKey(asset)) is not None
        assert recorded(instance, asset, check).passed
