"""The sensor of Clerk's changes: one run for all marked tenants, and none twice for the same marks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.launching import clerk_changes
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

MARK = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        for name in ("acme", "beta", "gamma"):
            made.link(name)
        yield made


def mark(fleet: Fleet, *names: str, minutes: int = 0) -> None:
    for name in names:
        fleet.sql(
            "UPDATE provisioning.tenant_link SET marked_at = %s WHERE database_name = %s",
            *(MARK + timedelta(minutes=minutes), name),
        )


def tick(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    result = clerk_changes(dg.build_sensor_context(instance=instance))
    assert isinstance(result, list | dg.SkipReason)
    if isinstance(result, dg.SkipReason):
        return result
    (request,) = result
    return request


def asked(instance: dg.DagsterInstance) -> dg.RunRequest:
    result = tick(instance)
    assert isinstance(result, dg.RunRequest), result
    return result


def skipped(instance: dg.DagsterInstance) -> str:
    result = tick(instance)
    assert isinstance(result, dg.SkipReason), result
    return str(result.skip_message)


def tenants(request: dg.RunRequest) -> list[str]:
    return list(request.run_config["ops"]["detect_tenants"]["config"]["tenants"])


def run(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, names: list[str], tags: dict[str, str] | None = None
) -> Any:
    return instance.create_run_for_job(
        defs.resolve_job_def("reconcile_tenants"),
        run_config={"ops": {"detect_tenants": {"config": {"tenants": names}}}},
        tags=tags,
        status=status,
    )


def ended(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    run(instance, status, tenants(request), dict(request.tags))


def test_it_runs_by_itself_every_ten_seconds_and_says_what_it_is() -> None:
    assert clerk_changes in list(defs.sensors or [])
    assert clerk_changes.default_status is dg.DefaultSensorStatus.RUNNING
    assert clerk_changes.minimum_interval_seconds == 10
    assert clerk_changes.job_name == "reconcile_tenants"
    assert "webhooks" in str(clerk_changes.description)


def test_all_marked_tenants_go_into_one_run_and_nothing_is_launched_at_rest(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    assert "changed at Clerk" in skipped(instance)
    mark(fleet, "gamma", "acme")

    request = asked(instance)

    assert tenants(request) == ["acme", "gamma"]
    assert request.tags["trigger"] == "clerk"
    assert "tenant" not in request.tags
    mark(fleet, "acme", minutes=1)
    fleet.sql("UPDATE provisioning.tenant_link SET marked_at = NULL WHERE database_name = 'gamma'")
    assert asked(instance).tags["tenant"] == "acme"


def test_the_same_marks_launch_once_and_a_newer_mark_launches_again(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    mark(fleet, "acme")
    first = asked(instance)
    assert asked(instance).run_key == first.run_key
    ended(instance, first, dg.DagsterRunStatus.SUCCESS)

    assert "left them due" in skipped(instance)
    mark(fleet, "acme", minutes=1)
    assert asked(instance).run_key != first.run_key


def test_tenants_that_an_unfinished_run_is_at_wait_for_its_end(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    mark(fleet, "acme", "beta")
    run(instance, dg.DagsterRunStatus.STARTED, ["acme"])

    assert tenants(asked(instance)) == ["beta"]
    run(instance, dg.DagsterRunStatus.NOT_STARTED, ["beta"])
    assert "already" in skipped(instance)
    run(instance, dg.DagsterRunStatus.STARTED, [])
    assert "all tenants" in skipped(instance)


def test_marks_that_a_run_left_are_asked_for_again_with_a_new_key_after_a_wait(
    fleet: Fleet, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(fleet, "acme")
    first = asked(instance)
    ended(instance, first, dg.DagsterRunStatus.FAILURE)

    assert "left them due" in skipped(instance)
    monkeypatch.setenv("PROVISIONING_RETRY_SECONDS", "0.000001")
    again = asked(instance)
    assert again.run_key != first.run_key


def test_a_thousand_go_into_one_run_and_one_tick_asks_for_as_many_runs_as_it_takes(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    fleet.sql(
        "INSERT INTO provisioning.tenant_link (database_name, slug, marked_at) "
        "SELECT 'many ' || n, 'many ' || n, now() FROM generate_series(1, 2001) n"
    )

    requests = clerk_changes(dg.build_sensor_context(instance=instance))
    assert isinstance(requests, list)

    assert [len(tenants(request)) for request in requests] == [1000, 1000, 1]
    assert len({name for request in requests for name in tenants(request)}) == 2001
    keys = [request.run_key for request in requests]
    again = clerk_changes(dg.build_sensor_context(instance=instance))
    assert isinstance(again, list)
    assert [request.run_key for request in again] == keys, "until Dagster has them they are the same"


def test_the_tenant_managers_tenants_go_first_and_the_others_in_a_run_of_their_own_in_the_same_tick(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    mark(fleet, "acme", "beta")
    fleet.sql("UPDATE provisioning.tenant_link SET marked_by = 'tenant-manager' WHERE database_name = 'beta'")

    requests = clerk_changes(dg.build_sensor_context(instance=instance))
    assert isinstance(requests, list)

    assert [(request.tags["trigger"], tenants(request)) for request in requests] == [
        ("tenant-manager", ["beta"]),
        ("clerk", ["acme"]),
    ]


def test_without_a_ledger_nobody_is_marked_and_a_failed_read_is_an_error_of_the_tick(
    fleet: Fleet, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.sql("DROP SCHEMA provisioning CASCADE")
    assert "changed at Clerk" in skipped(instance)

    monkeypatch.setenv("PROVISIONING_REGISTRY_URL", "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(Exception, match="cannot be reached"):
        tick(instance)
