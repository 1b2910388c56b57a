"""Dagster's runs of this code location: which are unfinished, and which of those no process works on any more."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from provisioning_pipeline.ledger.runs import runs_at_work
from provisioning_pipeline.ledger.schema import in_ledger
from provisioning_pipeline.settings import Settings

Place = tuple[str, str]
"""A code location and its repository."""

SILENT_SECONDS = 300.0
"""A run that has begun, whose lock no process holds and of which Dagster heard nothing for so long, has no process."""
NEVER_BEGAN_SECONDS = 6 * 3600.0
"""So long a run may take to start once it has left the queue: a machine that has to be made for it takes its time."""
_LOOK_SECONDS = 20.0
"""So long a tick may look at runs that seem dead, of the 60 s that Dagster gives it."""
_NOT_BEGUN = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
_BEGUN = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_UNFINISHED = [dg.DagsterRunStatus.QUEUED, *_NOT_BEGUN, *_BEGUN]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Runs that have not ended, as Dagster says: queued, starting or with a process, and those without one."""

    at_work: tuple[dg.DagsterRun, ...]
    dead: tuple[dg.DagsterRun, ...]


def place_of_run(run: dg.DagsterRun) -> Place | None:
    """Where a run was launched from; None: by hand, from a program."""
    if run.remote_job_origin is None:
        return None
    repository = run.remote_job_origin.repository_origin
    return repository.code_location_origin.location_name, repository.repository_name


def place_of_sensor(context: dg.SensorEvaluationContext) -> Place | None:
    """Where a sensor is; None: it was not Dagster's daemon that called it."""
    if context.code_location_origin is None:
        return None
    return context.code_location_origin.location_name, context.repository_name or ""


def unfinished_runs(
    instance: dg.DagsterInstance, here: Place | None, settings: Settings, *, job: str | None = None
) -> Unfinished:
    """The unfinished runs of this code location, of one job or of all. Another location's say nothing of our tenants.

    A queued run is at work, however long it waits. One that has begun is while a process of it holds its lock in the
    ledger: what Dagster says of a run does not change when machine, code server and daemon end together.

    Raises:
        Fault: when the ledger cannot be asked; no run is taken for dead then.
    """
    # all at once: a page begins behind a run that may have been deleted meanwhile
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_UNFINISHED))
    ours = [record for record in records if place_of_run(record.dagster_run) in (here, None)]
    asked = [
        record.dagster_run.run_id for record in ours if record.dagster_run.status is not dg.DagsterRunStatus.QUEUED
    ]
    locked = _with_a_process(settings, asked)
    at_work: list[dg.DagsterRun] = []
    dead: list[dg.DagsterRun] = []
    deadline = time.monotonic() + _LOOK_SECONDS
    # oldest first, so that what a tick has no time for comes with the next
    for record in reversed(ours):
        run = record.dagster_run
        if run.run_id in locked:
            at_work.append(run)
        elif place_of_run(run) == here:
            # one started by hand from a program: only its lock says that it works on this ledger
            is_dead = time.monotonic() < deadline and _is_dead(instance, record)
            (dead if is_dead else at_work).append(run)
    return Unfinished(tuple(at_work), tuple(dead))


def tenants_of(run: dg.DagsterRun) -> frozenset[str] | None:
    """The tenants that a run was launched for, as they were named; None: all of them."""
    return frozenset(_config_of(run).get("tenants") or ()) or None


def changes_nothing(run: dg.DagsterRun) -> bool:
    """Whether a run only shows what it would do."""
    return bool(_config_of(run).get("dry_run"))


def looks_at_all(runs: Iterable[dg.DagsterRun]) -> bool:
    """Whether one of these reconciliations works on all tenants."""
    return any(tenants_of(run) is None for run in runs if not changes_nothing(run))


def _config_of(run: dg.DagsterRun) -> Mapping[str, Any]:
    """The configuration of the op of a job that has one."""
    ops: Any = run.run_config.get("ops") if isinstance(run.run_config, Mapping) else None
    configs = [op.get("config") for op in ops.values() if isinstance(op, Mapping)] if isinstance(ops, Mapping) else []
    return next((config for config in configs if isinstance(config, Mapping)), {})


def _with_a_process(settings: Settings, run_ids: Sequence[str]) -> frozenset[str]:
    if not run_ids:
        return frozenset()
    return asyncio.run(in_ledger(settings, lambda database: runs_at_work(database, run_ids)))


def _is_dead(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    status = record.dagster_run.status
    if status is dg.DagsterRunStatus.QUEUED:
        return False
    before = time.time() - (NEVER_BEGAN_SECONDS if status in _NOT_BEGUN else SILENT_SECONDS)
    # of when its status changed; that costs nothing
    if max(record.create_timestamp.timestamp(), record.update_timestamp.timestamp()) > before:
        return False
    # of when it last did anything
    events = instance.get_records_for_run(record.dagster_run.run_id, limit=1, ascending=False).records
    return all(event.event_log_entry.timestamp <= before for event in events)
