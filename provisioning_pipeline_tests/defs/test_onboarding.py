"""Onboarding in Dagster: the repair by hand, the daily verification, and what assets and checks say of both."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, CREATE_PROFILE, INVITE_TEAM
from provisioning_pipeline.sandbox.hand_made import insert_onboarding
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.world import World

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SERVER = "twenty"
OF_ACME = "database_name = (SELECT database_name FROM provisioning.tenant_link WHERE slug = 'acme')"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """Two ready tenants."""
    options = SandboxOptions(tenants=2, members=2, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        World(sandbox).apply()
        yield sandbox


@pytest.fixture
def world(shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = world_of(shared, monkeypatch)
    yield found
    found.twenty('DELETE FROM core."keyValuePair" WHERE key LIKE %s RETURNING 1', "ONBOARDING%")
    found.registry("UPDATE provisioning.login_proof SET status = 'COMPLETED' RETURNING 1")


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


def output(result: Any, step: str) -> dict[str, Any]:
    """The metadata of a step's outputs, as the run's page shows them."""
    events = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT" and e.step_key == step]
    return {name: value.value for e in events for name, value in e.event_specific_data.metadata.items()}


def logged(instance: dg.DagsterInstance, result: Any) -> list[str]:
    """What the run's log says."""
    return [entry.user_message for entry in instance.all_logs(result.run_id)]


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


def shown(instance: dg.DagsterInstance, asset: str, check: str) -> tuple[dict[str, Any], Any]:
    """What materializing the asset by hand shows, and the result of its check."""
    key, check_key = dg.AssetKey(asset), dg.AssetCheckKey(dg.AssetKey(asset), check)
    job = dg.define_asset_job(
        "by_hand", selection=dg.AssetSelection.assets(key).without_checks() | dg.AssetSelection.checks(check_key)
    )
    result = (
        dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
        .resolve_job_def("by_hand")
        .execute_in_process(instance=instance, run_config=QUIET)
    )
    (materialized,) = [event.materialization for event in result.get_asset_materialization_events()]
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


@pytest.mark.slow
def test_only_the_chosen_tenants_are_repaired_and_proved(world: World, instance: dg.DagsterInstance) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)
    pend(world, "brightwave", CONNECT_ACCOUNT)

    result = repair(instance, "acme")

    assert result.success
    assert steps(result) == {
        "detect_tenants",
        "repair_onboarding[chunk_1]",
        "verify_logins[chunk_1]",
        "report_reconciliation",
    }
    assert output(result, "repair_onboarding[chunk_1]")["tenants"] == "acme"
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
    left = "Left alone, since they have no workspace: newcomer; `provisioning status TENANT` says why."
    assert left in logged(instance, result)


@pytest.mark.slow
def test_at_rest_nothing_is_done(world: World, instance: dg.DagsterInstance) -> None:
    repair(instance, "acme", "brightwave")
    world.sandbox.reset_counters()

    result = repair(instance, "acme")

    assert steps(result) == {"detect_tenants", "report_reconciliation"}
    assert world.mutating_calls() == 0
    assert (output(result, "detect_tenants")["tenants"], output(result, "detect_tenants")["need_work"]) == (1, 0)
    told = logged(instance, result)
    assert "0 of 1 tenants need work." in told
    assert "Nothing is pending there; the job verify proves logins." in told


def test_a_name_that_nobody_has_fails_in_words(world: World, instance: dg.DagsterInstance) -> None:
    assert "No tenant is called 'nobody'" in failure(repair(instance, "nobody"))


# --- assets and checks ----------------------------------------------------------------------------------------------


def test_pending_rows_are_counted_by_step_and_level_and_by_whom_they_concern(
    world: World, instance: dg.DagsterInstance
) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)
    pend(world, "acme", INVITE_TEAM, user=None)
    pend(world, "brightwave", CREATE_PROFILE, user=stranger(world, "brightwave"))

    metadata, check = shown(instance, "onboarding_flags", "no_pending_onboarding")

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
    # e-mails where the account is known
    assert f"| {world.link('acme')['admin_email']} |" in metadata["rows"]
    assert "@elsewhere.example" in metadata["rows"]


def test_rows_reported_in_a_tenants_own_database_fail_the_check(world: World, instance: dg.DagsterInstance) -> None:
    before = "SELECT status, reason, message FROM provisioning.condition WHERE type = 'TenantDatabase' AND " + OF_ACME
    (known,) = world.registry(before)
    change = (
        "UPDATE provisioning.condition SET status = %s, reason = %s, message = %s WHERE type = 'TenantDatabase' AND "
    )
    change += OF_ACME + " RETURNING 1"
    world.registry(change, "False", "RowsReported", "2 onboarding rows are pending.")
    try:
        metadata, check = shown(instance, "onboarding_flags", "no_pending_onboarding")
        world.registry(change, "Unknown", "DatabaseRefused", "PostgreSQL refused.")
        refused, passing = shown(instance, "onboarding_flags", "no_pending_onboarding")
    finally:
        world.registry(change, *known)

    assert not check.passed
    assert "| RowsReported | 1 |" in metadata["databases"]
    assert "| acme | 2 onboarding rows are pending. |" in check.metadata["databases"].value
    # it says nothing of rows, and so is shown alone
    assert passing.passed
    assert "| acme | DatabaseRefused | PostgreSQL refused. |" in refused["databases"]


def test_what_members_would_see_is_counted_by_status(world: World, instance: dg.DagsterInstance) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)

    metadata, _ = shown(instance, "onboarding_status", "login_proved")

    assert metadata["not_completed"] == 1
    assert "| SYNC_EMAIL | 1 |" in metadata["statuses"]
    assert world.link("acme")["admin_email"] in metadata["who"]


def test_with_nothing_pending_the_check_passes(world: World, instance: dg.DagsterInstance) -> None:
    metadata, check = shown(instance, "onboarding_flags", "no_pending_onboarding")

    assert check.passed
    assert metadata["dagster/row_count"] == 0


def test_a_server_that_cannot_be_read_proves_nothing(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_TWENTY_DATABASE_URL", "postgresql://u:canary@127.0.0.1:9/db")

    metadata, check = shown(instance, "onboarding_flags", "no_pending_onboarding")

    assert not check.passed
    assert "cannot be reached" in check.metadata["not_read"].value
    assert "canary" not in str(metadata)


def test_with_the_policy_everyone_strangers_count_as_ours(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_ONBOARDING_PEOPLE", "everyone")
    pend(world, "brightwave", CREATE_PROFILE, user=stranger(world, "brightwave"))

    _, check = shown(instance, "onboarding_flags", "no_pending_onboarding")

    assert not check.passed
    assert "brightwave" in check.metadata["who"].value


# --- the verification -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_verification_proves_every_admin_and_says_how_old_the_oldest_proof_is(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.registry("DELETE FROM provisioning.login_proof RETURNING 1")
    _, before = shown(instance, "onboarding_status", "login_proved")
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
    _, later = shown(instance, "onboarding_status", "login_proved")
    assert later.metadata["oldest_admin_proof"].value == "5 h ago, of tenant acme"
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


def test_a_verification_shows_its_figures_and_who_was_not_looked_at(world: World, instance: dg.DagsterInstance) -> None:
    world.registry(
        "INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('twenty_tenant_bare', 'bare') RETURNING 1"
    )
    try:
        some = verify(instance, "acme", "bare", sample=0)
    finally:
        world.registry("DELETE FROM provisioning.tenant_link WHERE slug = 'bare' RETURNING 1")
    everybody = verify(instance, sample=0)

    figures = output(some, "verify_sample")
    assert (figures["tenants"], figures["logins"], figures["failed"]) == (1, 1, 0)
    assert "| bare | Waiting |" in figures["not_looked_at"]
    assert figures["servers"].startswith("Not looked at")
    assert output(everybody, "verify_sample")["not_looked_at"] == "None."
    assert f"| {SERVER} |" in output(everybody, "verify_sample")["servers"]


@pytest.mark.slow
def test_a_verification_that_reaches_no_server_fails_and_shows_whom_it_missed(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_TWENTY_BASE_URL", "http://127.0.0.1:9")

    result = verify(instance, "acme", sample=0)

    (failed,) = [e.event_specific_data for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "| acme | ServerUnreachable |" in failed.user_failure_data.metadata["not_looked_at"].value


def test_a_verification_of_nobody_fails_in_words(world: World, instance: dg.DagsterInstance) -> None:
    assert "no tenant called 'nobody'" in failure(verify(instance, "nobody"))


# --- a whole run ----------------------------------------------------------------------------------------------------


def test_a_whole_run_records_both_assets_and_both_checks(world: World, instance: dg.DagsterInstance) -> None:
    pend(world, "acme", CONNECT_ACCOUNT)

    assert launch(instance, "reconcile_tenants", "detect_tenants").success

    for asset, check in (("onboarding_flags", "no_pending_onboarding"), ("onboarding_status", "login_proved")):
        assert instance.get_latest_materialization_event(dg.AssetKey(asset)) is not None
        assert recorded(instance, asset, check).passed
