"""The schedules. A run that still waits or works is not asked for again."""

import asyncio

import dagster as dg

from provisioning_pipeline.defs.automation import SCHEDULES
from provisioning_pipeline.defs.onboarding.ops import verify
from provisioning_pipeline.defs.operations.pruning import prune_history
from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG, reconcile_tenants
from provisioning_pipeline.defs.reconciliation.checks import clean_up_is_not_near, report_is_fresh
from provisioning_pipeline.defs.runs import changes_nothing, tenants_of, unfinished_runs
from provisioning_pipeline.ledger.pending import CodeLocations
from provisioning_pipeline.ledger.schema import in_ledger
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.settings import SettingsError, load_settings


def _schedule(job: str, suffix: str, cron: str, description: str) -> dg.ScheduleDefinition:
    """Launches this job over all tenants, unless such a run is unfinished.

    A queue that stands still for a night would be full of them otherwise. A schedule does not know its code location;
    the ledger does, once a sensor has said it.
    """

    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        waiting = _unfinished(context.instance, job)
        if waiting is not None:
            return dg.SkipReason(f"Run {waiting} of {job} has not ended yet; the next tick looks again.")
        return dg.RunRequest(tags={TRIGGER_TAG: "schedule"})

    return dg.ScheduleDefinition(
        name=f"{job}_{suffix}",
        job_name=job,
        cron_schedule=cron,
        execution_fn=tick,
        default_status=SCHEDULES,
        description=description,
    )


def _unfinished(instance: dg.DagsterInstance, job: str) -> str | None:
    try:
        settings = load_settings()
        here = asyncio.run(in_ledger(settings, lambda database: CodeLocations(database).known()))
        runs = unfinished_runs(instance, here, settings, job=job).at_work if here else ()
    except (SettingsError, Fault):
        # the run says so, and an alert goes out
        return None
    whole = [run.run_id for run in runs if tenants_of(run) is None and not changes_nothing(run)]
    return whole[0] if whole else None


check_freshness = dg.define_asset_job(
    name="check_freshness",
    selection=dg.AssetSelection.checks(report_is_fresh, clean_up_is_not_near.key),
    description="Evaluates the checks that fail just because time goes by: that a run over all tenants has finished "
    "lately, and that Twenty's own clean-up takes no workspace soon. Reads only.",
    tags={"capability": "reconciliation", TRIGGER_TAG: "operator"},
)
reconcile_tenants_hourly = _schedule(
    reconcile_tenants.name,
    "hourly",
    "7 * * * *",
    "Reconciles all tenants every hour: finds drift and lost triggers. Costs a fleet at rest only reads.",
)
verify_daily = _schedule(
    verify.name,
    "daily",
    "41 3 * * *",
    "Signs in once a day as every admin and some members of each tenant, others each time, whether or not anything has "
    "changed.",
)
prune_history_daily = _schedule(
    prune_history.name,
    "daily",
    "23 4 * * *",
    "Removes once a day what is older than the settings PROVISIONING_KEEP_* say.",
)
check_freshness_hourly = _schedule(
    check_freshness.name,
    "hourly",
    "37 * * * *",
    "Asks every hour whether reports still come, so that a stopped schedule does not look like peace.",
)
