"""Who is at work, and whom a sensor asks for: the ledger's locks say it, and Dagster of its own location alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from provisioning_pipeline.defs.launching import WORK_TAG, clerk_changes
from provisioning_pipeline.defs.operations.sensors import runs_that_died
from provisioning_pipeline.defs.runs import unfinished_runs
from provisioning_pipeline.defs.schedules import reconcile_tenants_hourly
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.defs.dagster_runs import (
    HERE,
    REPOSITORY,
    THERE,
    age,
    asked,
    made,
    request,
    skipped,
    status_of,
    tick,
)
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

QUEUED, NOT_STARTED, STARTING = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
)
STARTED, CANCELING = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING
FAILURE, CANCELED, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS
DAYS = 3 * 24 * 60.0
TENANTS, RUNS = 730_155, 730_161


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as fleet:
        for name, value in fleet.environment().items():
            monkeypatch.setenv(name, value)
        for name in ("acme", "beta"):
            fleet.link(name)
        fleet.sql("UPDATE provisioning.tenant_link SET marked_at = now()")
        yield fleet


@contextmanager
def locked(fleet: Fleet, kind: int, name: str) -> Iterator[None]:
    """Another process holds this lock."""
    with fleet.postgres.connect(fleet.name) as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s, hashtext(%s))", [kind, name])
        yield


# status, minutes since Dagster heard of it, whether a process holds its lock → whether it is at work
STATES = [
    (QUEUED, 0, False, True),
    (QUEUED, 61, False, True),
    (QUEUED, DAYS, False, True),
    (NOT_STARTED, 61, False, True),
    (NOT_STARTED, DAYS, False, False),
    (STARTING, 61, False, True),
    (STARTING, DAYS, False, False),
    (STARTING, DAYS, True, True),
    (STARTED, 0, False, True),
    (STARTED, 4, False, True),
    (STARTED, 6, False, False),
    (STARTED, DAYS, True, True),
    (CANCELING, 4, False, True),
    (CANCELING, 6, False, False),
    (CANCELING, DAYS, True, True),
    (FAILURE, 0, False, False),
    (CANCELED, 0, False, False),
    (SUCCESS, 0, False, False),
]


def test_queued_is_under_way_and_one_that_began_is_while_a_process_holds_its_lock(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    runs = {made(instance, status, ["acme"], minutes=age): lock for status, age, lock, _ in STATES}
    with fleet.postgres.connect(fleet.name) as connection:
        connection.execute(
            "SELECT pg_advisory_lock_shared(%s, hashtext(id)) FROM unnest(%s::text[]) id",
            [RUNS, [run_id for run_id, lock in runs.items() if lock]],
        )
        found = unfinished_runs(instance, (HERE, REPOSITORY), fleet.settings())

    at_work, dead = ({run.run_id for run in some} for some in (found.at_work, found.dead))
    for run_id, (status, age_, lock, expected) in zip(runs, STATES, strict=True):
        ended = status in (FAILURE, CANCELED, SUCCESS)
        assert (run_id in at_work, run_id in dead) == (expected, not expected and not ended), (status, age_, lock)


@pytest.mark.parametrize("lock", [True, False])
def test_a_run_over_all_tenants_silences_while_it_is_at_work(
    fleet: Fleet, instance: dg.DagsterInstance, lock: bool
) -> None:
    run_id = made(instance, STARTED, [], minutes=DAYS)

    with locked(fleet, RUNS, run_id if lock else "another run"):
        answer = tick(clerk_changes, instance)

    assert ("all tenants is under way" in skipped(answer)) if lock else asked(answer) == ["acme", "beta"]


def test_only_runs_of_this_code_location_count(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    made(instance, STARTED, [], location=THERE)
    made(instance, QUEUED, ["acme"], location=THERE)
    made(instance, STARTED, [], location=None)
    made(instance, QUEUED, [], dry_run=True)
    assert asked(tick(clerk_changes, instance)) == ["acme", "beta"]

    by_hand = made(instance, STARTED, ["beta"], location=None)
    with locked(fleet, RUNS, by_hand):
        assert asked(tick(clerk_changes, instance)) == ["acme"], "its lock in this ledger says whose it is"
    made(instance, QUEUED, ["acme"])
    assert asked(tick(clerk_changes, instance)) == ["beta"]


def test_a_tenant_at_which_the_command_line_works_waits_and_one_is_known_by_its_slug(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    with locked(fleet, TENANTS, "acme"):
        assert asked(tick(clerk_changes, instance)) == ["beta"]
    fleet.sql("UPDATE provisioning.tenant_link SET slug = 'Beta & Sons' WHERE database_name = 'beta'")
    made(instance, QUEUED, ["Beta & Sons"])
    assert asked(tick(clerk_changes, instance)) == ["acme"]
    with locked(fleet, TENANTS, "acme"):
        assert "already" in skipped(tick(clerk_changes, instance))


@pytest.mark.slow
def test_more_than_two_hundred_unfinished_runs_are_all_seen(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    made(instance, QUEUED, ["acme"])
    for number in range(201):
        made(instance, QUEUED, [f"other {number}"])

    assert asked(tick(clerk_changes, instance)) == ["beta"]


def test_two_sensors_at_the_same_time_never_ask_for_the_same_tenant(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    first = tick(clerk_changes, instance)
    # Dagster has no run of it yet, and another trigger is another asker
    fleet.sql("UPDATE provisioning.tenant_link SET marked_by = 'tenant-manager'")

    assert asked(first) == ["acme", "beta"]
    assert "left them due" in skipped(tick(clerk_changes, instance))


def test_the_wait_is_the_tenants_own_whatever_else_is_due(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    """Runs fail, and another set is due with each tick."""
    launches: list[list[str]] = []
    for number in range(5):
        fleet.link(f"new {number}")
        fleet.sql("UPDATE provisioning.tenant_link SET marked_at = now()")
        answer = tick(clerk_changes, instance)
        launches.append(asked(answer))
        made(instance, FAILURE, launches[-1], tags=dict(request(answer).tags))

    assert launches[0] == ["acme", "beta", "new 0"]
    assert launches[1:] == [[f"new {number}"] for number in range(1, 5)]


@pytest.mark.parametrize("end", [FAILURE, CANCELED, None])
def test_a_run_that_broke_off_was_cancelled_in_the_queue_or_deleted_is_followed_by_another(
    fleet: Fleet, instance: dg.DagsterInstance, end: dg.DagsterRunStatus | None
) -> None:
    first = tick(clerk_changes, instance)
    assert request(tick(clerk_changes, instance)).run_key == request(first).run_key, "the same until Dagster has it"
    run_id = made(instance, QUEUED, asked(first), tags=dict(request(first).tags))
    assert "already" in skipped(tick(clerk_changes, instance))
    instance.delete_run(run_id)
    if end is None:
        assert asked(tick(clerk_changes, instance)) == ["acme", "beta"]
        return
    made(instance, end, asked(first), tags=dict(request(first).tags))
    assert "left them due" in skipped(tick(clerk_changes, instance))
    fleet.sql("UPDATE provisioning.turn SET launched_at = launched_at - interval '1 hour'")
    for record in instance.get_run_records():
        age(instance, record.dagster_run.run_id, 60)
    again = tick(clerk_changes, instance)
    assert asked(again) == ["acme", "beta"]
    assert request(again).run_key != request(first).run_key
    assert request(again).tags[WORK_TAG] != request(first).tags[WORK_TAG]


@pytest.mark.slow
def test_the_thousand_that_failed_do_not_keep_the_others_back(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    fleet.sql(
        "INSERT INTO provisioning.tenant_link (database_name, slug, marked_at) "
        "SELECT 'many ' || n, 'many ' || n, now() FROM generate_series(1, 2500) n"
    )
    seen: list[str] = []
    answer = tick(clerk_changes, instance)
    for one in answer:
        seen += asked([one])
        made(instance, FAILURE, asked([one]), tags=dict(one.tags))

    assert len(answer) == 3
    assert len(seen) == len(set(seen)) == 2502
    assert "left them due" in skipped(tick(clerk_changes, instance))


# --- what is dead ----------------------------------------------------------------------------------------------


def test_runs_without_a_process_are_ended_of_any_job_and_of_this_location_alone(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    dead = made(instance, STARTED, [], minutes=6)
    verifying = made(instance, STARTED, [], minutes=DAYS, job="verify")
    canceling = made(instance, CANCELING, ["acme"], minutes=6)
    others = [
        made(instance, QUEUED, ["beta"], minutes=DAYS),
        made(instance, STARTED, ["beta"], minutes=4),
        made(instance, STARTED, [], minutes=DAYS, location=THERE),
        made(instance, STARTED, [], minutes=DAYS, location=None),
        held := made(instance, STARTED, [], minutes=DAYS),
    ]
    before = [status_of(instance, run_id) for run_id in others]

    with locked(fleet, RUNS, held):
        told = skipped(tick(runs_that_died, instance))

    assert all(run_id in told for run_id in (dead, verifying, canceling))
    assert [status_of(instance, run_id) for run_id in (dead, verifying, canceling)] == [FAILURE, FAILURE, CANCELED]
    assert [status_of(instance, run_id) for run_id in others] == before
    (event,) = instance.get_records_for_run(dead, of_type=dg.DagsterEventType.RUN_FAILURE).records
    assert "its machine restarted" in event.event_log_entry.message


def test_a_run_whose_steps_still_say_something_is_not_dead(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    """Between two steps in processes of their own nobody holds the lock."""
    run_id = made(instance, STARTED, ["acme"], minutes=DAYS)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_engine_event("A step ended.", run)

    assert skipped(tick(runs_that_died, instance)) == "Every run has a process."
    assert status_of(instance, run_id) is STARTED


def test_while_the_ledger_is_away_nobody_is_taken_for_dead(
    fleet: Fleet, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = made(instance, STARTED, [], minutes=DAYS)
    monkeypatch.setenv("PROVISIONING_REGISTRY_URL", "postgresql://nobody@127.0.0.1:9/none")

    for sensor in (runs_that_died, clerk_changes):
        with pytest.raises(Exception, match="cannot be reached"):
            tick(sensor, instance)

    assert status_of(instance, run_id) is STARTED


# --- schedules -------------------------------------------------------------------------------------------------


@pytest.fixture
def stored() -> Iterator[dg.DagsterInstance]:
    """A schedule asks for an instance that can be opened anew."""
    with dg.instance_for_test() as instance:
        yield instance


def scheduled(instance: dg.DagsterInstance) -> dg.RunRequest | str:
    data = reconcile_tenants_hourly.evaluate_tick(dg.build_schedule_context(instance=instance))
    return data.run_requests[0] if data.run_requests else str(data.skip_message)


@pytest.mark.slow
def test_a_schedule_asks_for_no_second_run_while_one_waits_or_works(fleet: Fleet, stored: dg.DagsterInstance) -> None:
    tick(runs_that_died, stored)
    assert fleet.sql("SELECT location, repository FROM provisioning.code_location") == [(HERE, REPOSITORY)]
    made(stored, QUEUED, ["acme"])
    made(stored, QUEUED, [], location=THERE)
    made(stored, STARTED, [], minutes=DAYS)
    launched = scheduled(stored)
    assert isinstance(launched, dg.RunRequest)
    assert launched.tags["trigger"] == "schedule"

    queued = made(stored, QUEUED, [], minutes=DAYS)
    assert queued in str(scheduled(stored))


@pytest.mark.slow
def test_a_schedule_that_cannot_ask_the_ledger_launches_a_run_that_says_so(
    fleet: Fleet, stored: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_REGISTRY_URL", "postgresql://nobody@127.0.0.1:9/none")

    assert isinstance(scheduled(stored), dg.RunRequest)
