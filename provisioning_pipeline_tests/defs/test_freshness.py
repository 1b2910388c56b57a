"""How old the report is, as Dagster's daemon sees it and its UI shows it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time, instance_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.freshness import FreshnessDaemon
from dagster_graphql.test.utils import execute_dagster_graphql

_HEALTH = """
{ assetNodes(assetKeys: [{path: ["reconciliation_report"]}]) { freshnessStatusInfo { freshnessStatus } } }
"""


@pytest.fixture
def dagster(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceProcessContext]:
    monkeypatch.setenv("PROVISIONING_REPORT_FRESH_HOURS", "5")
    target = ModuleTarget(
        module_name="provisioning_pipeline.definitions",
        attribute=None,
        working_directory=None,
        location_name="provisioning_pipeline",
    )
    with instance_for_test() as instance, create_test_daemon_workspace_context(target, instance) as context:
        yield context


def seen(context: WorkspaceProcessContext, at: datetime) -> str:
    """What the UI shows once the daemon has looked, at that time."""
    with freeze_time(at):
        list(FreshnessDaemon().run_iteration(context))
        found = execute_dagster_graphql(context.create_request_context(), _HEALTH)
    return found.data["assetNodes"][0]["freshnessStatusInfo"]["freshnessStatus"]


@pytest.mark.slow
def test_a_report_that_is_old_warns_and_one_twice_as_old_is_degraded_until_the_next(
    dagster: WorkspaceProcessContext,
) -> None:
    instance, now = dagster.instance, datetime.now(UTC)
    assert instance.freshness_enabled

    shown = [seen(dagster, now)]
    instance.report_runless_asset_event(dg.AssetMaterialization("reconciliation_report"))
    shown += [seen(dagster, now + timedelta(hours=hours)) for hours in (4, 6, 11)]
    with freeze_time(now + timedelta(hours=12)):
        instance.report_runless_asset_event(dg.AssetMaterialization("reconciliation_report"))
    shown.append(seen(dagster, now + timedelta(hours=12)))

    assert shown == ["UNKNOWN", "HEALTHY", "WARNING", "DEGRADED", "HEALTHY"]
