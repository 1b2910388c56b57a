"""What every sensor that launches reconciliations shares: whom a run is at already, turns, waits and run keys."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from provisioning_pipeline.defs.provisioning.jobs import reconcile_tenants
from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG
from provisioning_pipeline.defs.runs import (
    changes_nothing,
    looks_at_all,
    place_of_run,
    place_of_sensor,
    tenants_of,
    unfinished_runs,
)
from provisioning_pipeline.model.history import LastRun
from provisioning_pipeline.settings import Settings

if TYPE_CHECKING:
    from provisioning_pipeline.run.turns import Launch

WORK_TAG = "provisioning/work"
_MOST_PER_RUN = 1000
_MOST_RUNS_PER_TICK = 20
"""Dagster submits them one after another, and gives a tick 60 s."""


def request_runs(
    context: dg.SensorEvaluationContext,
    due: Mapping[str, object],
    settings: Settings,
    *,
    trigger: str,
) -> list[dg.RunRequest] | dg.SkipReason:
    """Runs over the due tenants whose turn it is and that nobody works on, or why there is none.

    Args:
        context: of the sensor; it says which code location this is, and knows the runs.
        due: database name → what tells this cause from the tenant's last one.
        settings: for the waits after a run that left a tenant due.
        trigger: the name under which the runs go.
    """
    from provisioning_pipeline.run.turns import next_launch

    here = place_of_sensor(context)
    at_work = unfinished_runs(context.instance, here, settings, job=reconcile_tenants.name).at_work
    if looks_at_all(at_work):
        return dg.SkipReason("A reconciliation of all tenants is under way.")
    busy = {name for run in at_work if not changes_nothing(run) for name in tenants_of(run) or ()}

    def runs(works: frozenset[str]) -> Mapping[str, LastRun]:
        return _last_runs(context.instance, here, works)

    causes = {name: str(cause) for name, cause in due.items()}
    requests: list[dg.RunRequest] = []
    while len(requests) < _MOST_RUNS_PER_TICK:
        launch = asyncio.run(next_launch(settings, causes, busy, runs, asker=trigger, most=_MOST_PER_RUN))
        if not launch.names:
            break
        requests.append(_request(launch, trigger))
        busy |= set(launch.names)
        if len(launch.names) < _MOST_PER_RUN:
            break
    if requests:
        return requests
    if launch.next_in is None:
        return dg.SkipReason(f"{len(due)} tenants are due; a run is at each of them already.")
    return dg.SkipReason(
        f"{len(due)} tenants are due. The last runs over them left them due; the next turn begins in "
        f"{launch.next_in:.0f} s."
    )


def _request(launch: "Launch", trigger: str) -> dg.RunRequest:
    tags = {TRIGGER_TAG: trigger, WORK_TAG: launch.work}
    return dg.RunRequest(
        # a used key never launches again; this one is the same until Dagster has the run
        run_key=launch.work,
        run_config=dg.RunConfig(ops={"detect_tenants": {"config": {"tenants": list(launch.names)}}}),
        tags=tags | ({"tenant": launch.names[0]} if len(launch.names) == 1 else {}),
    )


def _last_runs(
    instance: dg.DagsterInstance, here: tuple[str, str] | None, works: frozenset[str]
) -> Mapping[str, LastRun]:
    """Work → how its last run of this code location ended; one that was given up has no end."""
    if not works:
        return {}
    found: dict[str, LastRun] = {}
    # newest first
    for record in instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: sorted(works)})):
        run = record.dagster_run
        if place_of_run(run) == here and run.tags[WORK_TAG] not in found:
            ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
            succeeded = run.status is dg.DagsterRunStatus.SUCCESS
            found[run.tags[WORK_TAG]] = LastRun(ended if run.is_finished else None, succeeded)
    return found
