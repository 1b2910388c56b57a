"""Runs as Dagster's instance has them: of a code location, so old, in a state; and a sensor's tick in its place."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.runs.schema import RunsTable

from provisioning_pipeline.definitions import defs

REPOSITORY = "__repository__"
HERE = "production"
THERE = "staging"


def origin_of(location: str, job: str) -> RemoteJobOrigin:
    return RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), REPOSITORY), job)


def made(
    instance: dg.DagsterInstance,
    status: dg.DagsterRunStatus,
    tenants: list[str],
    *,
    location: str | None = HERE,
    minutes: float = 0,
    job: str = "reconcile_tenants",
    tags: dict[str, str] | None = None,
    **config: Any,
) -> str:
    """The id of a run that was last heard of so many minutes ago; `tenants` empty: over all."""
    ops = {"detect_tenants": {"config": {"tenants": tenants} | config}} if job == "reconcile_tenants" else {}
    run = instance.create_run_for_job(
        defs.resolve_job_def(job),
        run_config={"ops": ops},
        status=status,
        tags=tags,
        remote_job_origin=origin_of(location, job) if location else None,
    )
    if minutes:
        age(instance, run.run_id, minutes)
    return run.run_id


def age(instance: dg.DagsterInstance, run_id: str, minutes: float) -> None:
    then = (datetime.now(UTC) - timedelta(minutes=minutes)).replace(tzinfo=None)
    with instance.run_storage.connect() as connection:
        connection.execute(
            RunsTable.update()
            .where(RunsTable.c.run_id == run_id)
            .values(create_timestamp=then, update_timestamp=then, start_time=then.timestamp())
        )


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, location: str = HERE) -> Any:
    """What the sensor answers when the daemon of a workspace with such a code location asks it."""
    context = dg.SensorEvaluationContext(
        instance_ref=None,
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=None,
        repository_name=REPOSITORY,
        instance=instance,
        code_location_origin=RegisteredCodeLocationOrigin(location),
    )
    return sensor(context)


def asked(answer: Any) -> list[str]:
    """The tenants of the requests."""
    assert isinstance(answer, list), answer
    return [name for one in answer for name in one.run_config["ops"]["detect_tenants"]["config"]["tenants"]]


def request(answer: Any) -> dg.RunRequest:
    """The one request."""
    assert isinstance(answer, list), answer
    (one,) = answer
    assert isinstance(one, dg.RunRequest)
    return one


def skipped(answer: Any) -> str:
    """Why there is none."""
    assert isinstance(answer, dg.SkipReason), answer
    return str(answer.skip_message)
