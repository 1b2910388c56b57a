"""Alerts: one message when a run fails, one when checks begin to fail, say more, or pass again."""

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from provisioning_pipeline.clients.notification import notify
from provisioning_pipeline.clients.webhook import NotPosted, post
from provisioning_pipeline.defs.automation import SENSORS
from provisioning_pipeline.defs.onboarding.ops import repair_onboarding_by_hand, verify
from provisioning_pipeline.defs.operations.pruning import prune_history
from provisioning_pipeline.defs.provisioning.ops import reconcile_tenants
from provisioning_pipeline.defs.runs import Place, place_of_run, place_of_sensor
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.schema import in_ledger
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.report.alert import (
    Alert,
    FailedCheck,
    FailedRun,
    Reported,
    is_reminder_due,
    news_of_checks,
    of_run,
    payload,
    plain_text,
)
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.run.conclude import tenants
from provisioning_pipeline.settings import PREFIX, Settings, SettingsError, load_settings

_TIMEOUT_SECONDS = 10.0
_DAY_SECONDS = 86_400
_FAILURES_READ = 25
_PAGE = 100
_OFF = (
    f"No alert leaves: set {PREFIX}ALERT_WEBHOOK_URL to an incoming webhook of Slack, or {PREFIX}ALERT_URLS to URLs of "
    "apprise, to turn alerts on."
)


class AlertNotSent(dg.DagsterError):
    """An alert could not be made or posted; the next tick tries again.

    Dagster's own kind of error: after any other, a run status sensor takes its run for reported and never comes back.
    """


@dg.run_failure_sensor(
    name="run_failed_alert",
    monitored_jobs=[reconcile_tenants, repair_onboarding_by_hand, verify, prune_history],
    minimum_interval_seconds=10,
    default_status=SENSORS,
    description="Posts one message about a run that failed: why, which tenants are not ready by reason, and what "
    "comes next. A job that fails again in the same way is reported once a day. With nowhere to post it skips.",
)
def run_failed_alert(context: dg.RunFailureSensorContext) -> dg.SkipReason:
    """Tell people, once per way of failing, job and day.

    Any answer ends the tick after this run: no run is reported twice because a later one's post fails.
    """
    settings = _settings()
    if not _leave(settings):
        return dg.SkipReason(_OFF)
    run = context.dagster_run
    run_id, job = run.run_id, run.job_name
    causes = _causes(context.instance, run_id)
    if _was_reported_today(context.instance, run, causes):
        return dg.SkipReason(f"Run {run_id} of {job} failed like one of today's that was reported already.")
    missed = _send(settings, of_run(FailedRun(job, run_id, causes), _lines(settings), settings.dagster_url))
    return dg.SkipReason(f"Reported that run {run_id} of {job} failed.{missed}")


@dg.sensor(
    name="check_failed_alert",
    minimum_interval_seconds=60,
    default_status=SENSORS,
    description="Posts one message when checks begin to fail, when what they say gets worse, once a day while they "
    "fail, and when they pass again. A tick without a new evaluation is one query. With nowhere to post it skips.",
)
def check_failed_alert(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Tell people what they do not know yet; what was reported is the cursor."""
    settings = _settings()
    if not _leave(settings):
        return dg.SkipReason(_OFF)
    seen, reported = _cursor(context.cursor)
    records = _evaluated(context)
    numbers = {name: number for name, (number, _) in records.items()}
    now = time.time()
    if numbers == seen and not is_reminder_due(reported, now):
        return dg.SkipReason("No check was evaluated since the last look.")
    failed = [found for _, found in records.values() if isinstance(found, FailedCheck)]
    passed = [name for name, (_, found) in records.items() if found is None]
    alert, reported = news_of_checks(
        reported, failed, passed, _lines(settings) if failed else (), now=now, dagster_url=settings.dagster_url
    )
    missed = _send(settings, alert) if alert else ""
    context.update_cursor(json.dumps({"seen": numbers, "told": asdict(reported)}))
    return dg.SkipReason(
        f"Reported: {alert.headline}.{missed}" if alert else f"{len(failed)} checks fail; people know."
    )


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        raise AlertNotSent(str(error)) from None


def _leave(settings: Settings) -> bool:
    return settings.alert_webhook_url is not None or bool(settings.alert_urls)


def _send(settings: Settings, alert: Alert) -> str:
    """Send it everywhere; a sentence about the places that did not take it while others did, or nothing.

    It is not sent again for those: the others would get it with every tick.
    """
    missed: list[str] = []
    if settings.alert_webhook_url is not None:
        try:
            post(settings.alert_webhook_url, payload(alert), timeout_seconds=_TIMEOUT_SECONDS)
        except NotPosted as error:
            missed.append(f"{error}. Check {PREFIX}ALERT_WEBHOOK_URL")
    refused = notify(settings.alert_urls, *plain_text(alert), http_hosts=settings.allow_http_hosts)
    failed, places = len(missed) + len(refused), len(settings.alert_urls) + (settings.alert_webhook_url is not None)
    if refused:
        missed.append(f"{'; '.join(refused)}. Check {PREFIX}ALERT_URLS")
    if failed == places:
        raise AlertNotSent(f"The alert was not sent: {'; '.join(missed)}; the next tick tries again.")
    return f" Not everywhere: {'; '.join(missed)}." if missed else ""


def _lines(settings: Settings) -> Sequence[TenantLine] | None:
    """The tenants; None when the ledger cannot be read, which may be why the run failed."""
    try:
        return asyncio.run(in_ledger(settings, lambda database: tenants(Ledger(database))))
    except (Fault, RunFault):
        return None


# --- failed runs ------------------------------------------------------------------------------------------------


def _causes(instance: dg.DagsterInstance, run_id: str) -> tuple[tuple[str | None, str], ...]:
    """Which step failed and why, as far as the words are ours: of any other exception we show only the class."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(run_id, of_type=kinds).records
    events = [record.event_log_entry.dagster_event for record in records]
    of_steps = [(event.step_key, _why(event)) for event in events if event and event.step_key]
    return tuple(of_steps or [(None, _why(event)) for event in events if event])


def _why(event: dg.DagsterEvent) -> str:
    data: Any = event.event_specific_data
    ours = getattr(data, "user_failure_data", None)
    if ours is not None and ours.description:
        return str(ours.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None or error.cls_name is None:
        return "no exception is known; its process may have been killed. The log of the run in Dagster says more."
    return f"{error.cls_name}. Its words stand in Dagster alone."


def _was_reported_today(
    instance: dg.DagsterInstance, failed: dg.DagsterRun, causes: Sequence[tuple[str | None, str]]
) -> bool:
    """Whether an earlier run of the job, of the same code location, failed in the same way on the same day (UTC)."""
    filters = dg.RunsFilter(job_name=failed.job_name, statuses=[dg.DagsterRunStatus.FAILURE])
    records = instance.get_run_records(filters, limit=_FAILURES_READ, order_by="update_timestamp")
    here = place_of_run(failed)
    ends = {
        record.dagster_run.run_id: record.end_time for record in records if place_of_run(record.dagster_run) == here
    }
    ended = ends.get(failed.run_id)
    if ended is None:
        return False
    return any(
        end is not None
        and end < ended
        and end // _DAY_SECONDS == ended // _DAY_SECONDS
        and _alike(_causes(instance, other)) == _alike(causes)
        for other, end in ends.items()
    )


def _alike(causes: Sequence[tuple[str | None, str]]) -> set[str]:
    """The ways of failing: which tenants and how many of them is the checks' to say."""
    return {re.sub(r"\[.*\]", "", step or "") + re.sub(r"\d+", "#", why) for step, why in causes}


# --- failed checks ----------------------------------------------------------------------------------------------


def _evaluated(context: dg.SensorEvaluationContext) -> Mapping[str, tuple[int, FailedCheck | None]]:
    """Check → number of its last evaluation, and what failed or None, of every check that was ever evaluated."""
    repository = context.repository_def
    assert repository is not None, "Dagster gives a sensor its repository"
    graph = repository.asset_graph
    others = _OtherLocations(context.instance, place_of_sensor(context))
    found: dict[str, tuple[int, FailedCheck | None]] = {}
    for key in sorted(graph.asset_check_keys):
        record = _last_evaluation(context.instance, key, others)
        evaluation = record.event.asset_check_evaluation if record and record.event else None
        if record and evaluation:
            described = graph.get_check_spec(key).description or ""
            failed = None if evaluation.passed else _failed(key.name, described, evaluation, record.run_id)
            found[key.name] = (record.id, failed)
    return found


class _OtherLocations:
    """Whether a run is another code location's, whose checks have the same names. One that was deleted may be ours."""

    def __init__(self, instance: dg.DagsterInstance, here: Place | None) -> None:
        self._instance, self._here = instance, here
        self._known: dict[str, bool] = {}

    def have(self, run_id: str) -> bool:
        if run_id not in self._known:
            run = self._instance.get_run_by_id(run_id) if run_id else None
            self._known[run_id] = run is not None and place_of_run(run) not in (self._here, None)
        return self._known[run_id]


def _last_evaluation(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, others: _OtherLocations
) -> AssetCheckExecutionRecord | None:
    """The last one in this code location."""
    record = instance.get_latest_asset_check_evaluation_record(key)
    if record is None or not others.have(record.run_id):
        return record
    cursor: int | None = record.id
    while cursor is not None:
        page = instance.event_log_storage.get_asset_check_execution_history(key, limit=_PAGE, cursor=cursor)
        for found in page:
            if found.event and found.event.asset_check_evaluation and not others.have(found.run_id):
                return found
        cursor = page[-1].id if page else None
    return None


def _failed(name: str, description: str, evaluation: dg.AssetCheckEvaluation, run_id: str) -> FailedCheck:
    return FailedCheck(
        name=name,
        description=description,
        severe=evaluation.severity is dg.AssetCheckSeverity.ERROR,
        # numbers alone: texts may come from anywhere
        figures={
            label: value.value
            for label, value in evaluation.metadata.items()
            if isinstance(value, dg.IntMetadataValue) and value.value is not None
        },
        run_id=run_id,
    )


def _cursor(text: str | None) -> tuple[dict[str, int], Reported]:
    """The evaluations that were seen and what was reported; nothing without a cursor, or with another version's."""
    try:
        found = json.loads(text or "{}")
        return dict(found.get("seen", {})), Reported(**found.get("told", {}))
    except (ValueError, TypeError, AttributeError):
        return {}, Reported()
