"""What a run shows in Dagster: who failed where and why, each tenant's history, and nothing of tenants at rest."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.provisioning import ops
from provisioning_pipeline.model.fault import RunFault
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
HISTORY = dg.AssetKey("tenant_workspace")
OPTIONS = SandboxOptions(tenants=3, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with Sandbox(OPTIONS) as sandbox:
        world = world_of(sandbox, monkeypatch)
        monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(tmp_path / "tables"))
        yield world


def reconcile(instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("reconcile_tenants").execute_in_process(
        instance=instance,
        run_config=QUIET | {"ops": {"detect_tenants": {"config": config}}},
        raise_on_error=False,
    )


def lines(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, level: int) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == level]


def changed(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Partition → metadata of the events that a run added to tenants' histories."""
    found = [event.materialization for event in result.get_asset_materialization_events()]
    return {
        str(one.partition): {name: value.value for name, value in one.metadata.items()}
        for one in found
        if one.asset_key == HISTORY
    }


def checks(result: dg.ExecuteInProcessResult) -> list[tuple[str | None, bool, str]]:
    """Step, whether it passed, and who failed, of each time that a run evaluated whether every tenant got through."""
    found = [
        (event.step_key, event.event_specific_data)
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    return [
        (step, one.passed, str(one.metadata["who"].value))
        for step, one in found
        if isinstance(one, dg.AssetCheckEvaluation) and one.check_name == "every_tenant_got_through"
    ]


def test_a_failing_tenant_is_named_with_the_step_and_the_reason_and_the_others_go_on(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one after another, so that all tries of the first one meet the fault
    monkeypatch.setenv("PROVISIONING_TENANT_CONCURRENCY", "1")
    world.registry("UPDATE tenant_registry SET slug = 'a\u202ecme' WHERE slug = 'acme' RETURNING 1")
    world.sandbox.twenty[0].faults.scripted.append(ScriptedFault("activateWorkspace", "error", times=4))

    result = reconcile(instance)

    assert result.success, "one of three is within the threshold"
    error, last = lines(instance, result, 40)
    assert error.startswith("a\\u202ecme: provision_workspaces failed: ")
    (there, at_the_end) = checks(result)
    assert (there[:2], at_the_end[:2]) == (
        ("provision_workspaces[chunk_1]", False),
        ("report_reconciliation", False),
    )
    reason = error.split(": ")[2]
    assert last == f"1 of 3 tenants failed: a\\u202ecme at provision_workspaces ({reason})."
    for who in (there[2], at_the_end[2]):
        assert f"| provision_workspaces | {reason} |" in who
        assert "\u202e" not in who
    told = lines(instance, result, 20)
    assert any(": provision_workspaces: create workspace, " in line and line.endswith(" s)") for line in told)
    proved = [line for line in told if ": verify_logins: prove login, " in line]
    assert {line.partition(":")[0] for line in proved} == ready(world)
    assert len(ready(world)) == 2
    again = reconcile(instance)
    assert again.success, lines(instance, again, 40)
    assert checks(again)[-1][1], "and once it is healed the check passes"


def ready(world: World) -> set[str]:
    rows = world.registry(
        "SELECT slug FROM provisioning.tenant_link JOIN provisioning.condition USING (database_name) "
        "WHERE type = 'Ready' AND status = 'True'"
    )
    return {row[0] for row in rows}


def test_each_tenant_that_changed_has_an_event_in_its_history_and_no_other(
    world: World, instance: dg.DagsterInstance
) -> None:
    first = changed(reconcile(instance))

    assert set(first) == set(instance.get_dynamic_partitions("tenants")) == ready(world)
    assert len(first) == 3
    assert first["acme"]["ready"] is True
    assert "create workspace" in first["acme"]["changes"]
    assert "LoginProved" in first["acme"]["conditions"]
    assert first["acme"]["workspace"] == world.link("acme")["workspace_url"]

    assert changed(reconcile(instance)) == {}
    world.sandbox.add_tenant("zeta", members=1)
    assert set(changed(reconcile(instance))) == {"zeta"}


def test_the_events_of_a_run_at_rest_do_not_depend_on_the_number_of_tenants(
    world: World, instance: dg.DagsterInstance
) -> None:
    reconcile(instance)
    few = [event.event_type_value for event in reconcile(instance).all_events]
    for number in range(4):
        world.sandbox.add_tenant(f"more-{number}", members=1)
    reconcile(instance)

    many = reconcile(instance)

    assert Counter(event.event_type_value for event in many.all_events) == Counter(few)
    ours = [line for line in lines(instance, many, 20) if not line.startswith("Emitting implicit Nothing")]
    assert ours == ["0 of 7 tenants need work."]


def test_a_run_with_an_op_that_fails_ends_in_the_ledger_as_cut_with_the_reason(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any, **__: Any) -> Any:
        raise RunFault("The ledger went away.")

    with monkeypatch.context() as patched:
        patched.setattr(ops, "work", lost)
        result = reconcile(instance)

    assert not result.success
    ends = world.registry("SELECT ended_as, cut_why FROM provisioning.run WHERE run_id = %s", result.run_id)
    assert ends == [("cut", "The ledger went away.")]
    assert reconcile(instance).success


# --- reads --------------------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often all workspaces of a Twenty server were read."""
    counted: Counter[str] = Counter()
    read = TwentyDatabase.workspaces

    async def counting(database: TwentyDatabase, only: Any = None) -> Any:
        counted["twenty"] += 1
        return await read(database, only)

    monkeypatch.setattr(TwentyDatabase, "workspaces", counting)
    return counted


def clerk_reads(world: World) -> int:
    return world.sandbox.clerk.calls["GET /organizations"]


def test_a_whole_run_reads_clerk_once_and_each_twenty_server_twice(
    world: World, instance: dg.DagsterInstance, reads: Counter[str]
) -> None:
    reconcile(instance)
    reads.clear()
    world.sandbox.reset_counters()

    assert reconcile(instance).success

    assert reads["twenty"] == 2
    assert clerk_reads(world) == 1


def test_materializing_all_reads_clerk_once_and_each_twenty_server_twice_and_changes_nothing(
    world: World, instance: dg.DagsterInstance, reads: Counter[str]
) -> None:
    reconcile(instance)
    reads.clear()
    world.sandbox.reset_counters()

    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, run_config=QUIET)

    made = {event.materialization.asset_key.path[-1] for event in result.get_asset_materialization_events()}
    everything = {node.key.path[-1] for node in defs.resolve_asset_graph().asset_nodes if node.is_executable}
    assert made == everything
    assert reads["twenty"] == 2
    assert clerk_reads(world) == 1
    assert world.mutating_calls() == 0
