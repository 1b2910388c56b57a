"""What every sensor that launches reconciliations shares: whom a run is at already, run keys, and backoff."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.provisioning.jobs import reconcile_tenants
from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG
from provisioning_pipeline.settings import Settings

WORK_TAG = "provisioning/work"
_MOST_PER_RUN = 1000
_GIVEN_UP_SECONDS = 3600.0
"""A run of which Dagster heard nothing for so long is taken for killed; the tenants' locks guard against a mistake."""
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def request_run(
    instance: dg.DagsterInstance,
    due: Mapping[str, object],
    settings: Settings,
    *,
    trigger: str,
) -> dg.RunRequest | dg.SkipReason:
    """One run over the tenants that are due and that no unfinished run is at, or why there is none.

    Args:
        instance: knows the runs.
        due: database name → what tells this cause from the tenant's last one. Tenants and causes together are the
            work of a run; its hash is in the run's tags.
        settings: for the waits after a run that left the same work due.
        trigger: the name under which the run goes.
    """
    under_way = _under_way(instance)
    if under_way is None:
        return dg.SkipReason("A reconciliation of all tenants is under way.")
    names = sorted(due.keys() - under_way)[:_MOST_PER_RUN]
    if not names:
        return dg.SkipReason(f"{len(due)} tenants are due; a run is at each of them already.")
    work = hashlib.sha256("\n".join(f"{name}:{due[name]}" for name in names).encode()).hexdigest()[:16]
    earlier = instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: work}), limit=20)
    wait = _seconds_to_wait(earlier, settings.retry_seconds, settings.retry_most_seconds)
    if wait > 0:
        return dg.SkipReason(f"The last run over these tenants left them due; the next one begins in {wait:.0f} s.")
    tags = {TRIGGER_TAG: trigger, WORK_TAG: work}
    return dg.RunRequest(
        # a used key never launches again, so a run that broke off before its end needs a new one
        run_key=f"{work}-{earlier[0].dagster_run.run_id[:8] if earlier else 'first'}",
        run_config=dg.RunConfig(ops={"detect_tenants": {"config": {"tenants": names}}}),
        tags=tags | ({"tenant": names[0]} if len(names) == 1 else {}),
    )


def _under_way(instance: dg.DagsterInstance) -> set[str] | None:
    """The tenants of unfinished runs; None when one of them looks at all tenants."""
    found: set[str] = set()
    records = instance.get_run_records(dg.RunsFilter(job_name=reconcile_tenants.name, statuses=_UNFINISHED), limit=200)
    for record in records:
        if time.time() - record.update_timestamp.timestamp() > _GIVEN_UP_SECONDS:
            continue
        run = record.dagster_run
        ops: Mapping[str, Any] = dict(run.run_config).get("ops") or {}  # type: ignore[assignment]  # free-form YAML
        config = ops.get("detect_tenants", {}).get("config", {})
        if config.get("dry_run"):
            continue
        if not config.get("tenants"):
            return None
        found.update(config["tenants"])
    return found


def _seconds_to_wait(earlier: Sequence[dg.RunRecord], first: float, most: float) -> float:
    """Backoff over runs that left the work due: killed, unable to begin, or unable to read Clerk."""
    if not earlier:
        return 0.0
    ended = max(record.end_time or record.create_timestamp.timestamp() for record in earlier)
    return float(ended + min(most, first * 2.0 ** (len(earlier) - 1)) - time.time())
