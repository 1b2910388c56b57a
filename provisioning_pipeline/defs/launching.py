"""The sensors that launch reconciliations, and what they share: tenants that are in a run, turns, waits, run keys."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from provisioning_pipeline.defs.automation import SENSORS
from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG, reconcile_tenants
from provisioning_pipeline.defs.runs import (
    changes_nothing,
    looks_at_all,
    place_of_run,
    place_of_sensor,
    tenants_of,
    unfinished_runs,
)
from provisioning_pipeline.ledger.tenant_requests import TENANT_MANAGER
from provisioning_pipeline.model.history import LastRun
from provisioning_pipeline.run.turns import Launch, next_launch
from provisioning_pipeline.settings import Settings, load_settings
from provisioning_pipeline.views.fleet import due_tenants, pending_reviews

WORK_TAG = "provisioning/work"
_MOST_PER_RUN = 1000
_MOST_RUNS_PER_TICK = 20
"""Dagster submits them one after another, and gives a tick 60 s."""


@dg.sensor(
    name="new_tenant_databases",
    job=reconcile_tenants,
    minimum_interval_seconds=30,
    default_status=SENSORS,
    description="Launches a reconciliation of tenant databases that no run has looked at yet, and of tenants that are "
    "not ready and whose wait is over. A tick is one query over the cluster's catalogue and one over the ledger.",
)
def new_tenant_databases(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Say which tenants to look at; never what to do."""
    settings = load_settings()
    seen, due = asyncio.run(due_tenants(settings))
    if not due:
        return dg.SkipReason(f"{seen} tenant databases, none new and none due for another try.")
    return _requests(context, due, settings, trigger="sensor")


@dg.sensor(
    name="clerk_changes",
    job=reconcile_tenants,
    minimum_interval_seconds=10,
    default_status=SENSORS,
    description="Launches reconciliations of the tenants whose organization or members changed at Clerk, as its "
    "webhooks say, or for which the tenant manager asked while this web server was away (`provisioning serve` takes "
    "both). A tick is one query over the ledger.",
)
def clerk_changes(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Say which tenants to look at; never what to do."""
    settings = load_settings()
    reviews = asyncio.run(pending_reviews(settings))
    if not reviews:
        return dg.SkipReason("Nothing that concerns a tenant has changed at Clerk, and no service asked for one.")
    requests: list[dg.RunRequest] = []
    skipped: list[dg.SkipReason] = []
    # the tenant manager waits for an answer: its run goes first
    for trigger in sorted(
        {review.trigger for review in reviews.values()}, key=lambda trigger: trigger != TENANT_MANAGER
    ):
        # in one notation, whatever time zone the connection has
        due = {name: review.at.timestamp() for name, review in reviews.items() if review.trigger == trigger}
        answer = _requests(context, due, settings, trigger=trigger)
        if isinstance(answer, dg.SkipReason):
            skipped.append(answer)
        else:
            requests += answer
    return requests or skipped[-1]


def _requests(
    context: dg.SensorEvaluationContext,
    due: Mapping[str, object],
    settings: Settings,
    *,
    trigger: str,
) -> list[dg.RunRequest] | dg.SkipReason:
    """Runs over the due tenants whose turn it is and that are in no run, or why there is none.

    `due`: database name → what distinguishes this cause from the tenant's last one.
    """
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


def _request(launch: Launch, trigger: str) -> dg.RunRequest:
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
