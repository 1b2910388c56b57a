"""The end of a run: a summary from the ledger, its report, and the run's row."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.history import History, Run, point
from provisioning_pipeline.ledger.inspections import ONBOARDING_TABLE, RemovedRows
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.runs import CutRuns
from provisioning_pipeline.ledger.servers import Certificates, Contracts
from provisioning_pipeline.model.contract import Certified, certified
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.report import page
from provisioning_pipeline.report.summary import Summary, TenantLine, outcome_lines, tenant_lines
from provisioning_pipeline.run.announcing import Delivered, deliver
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.contracts import measured
from provisioning_pipeline.run.work import Totals
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_RUNS_SHOWN = 30
_SEND_SECONDS = 10.0
"""How long a run sends webhooks at its end; the sensor sends what is left."""


@dataclass(frozen=True, slots=True)
class Concluded:
    """A finished run and its report; None: it could not be written, and `not_written` says why."""

    summary: Summary
    report: str | None
    not_written: str | None = None


async def tenants(ledger: Ledger, *, with_conditions: bool = False, only: str | None = None) -> tuple[TenantLine, ...]:
    """Every tenant, or those with this slug or database name, those that are not ready first.

    All conditions of a large fleet are many: only where they are shown.
    """
    rows = await ledger.tenant_rows(only)
    if not with_conditions:
        return tenant_lines(rows)
    return tenant_lines(rows, await ledger.conditions([row["database_name"] for row in rows] if only else None))


async def conclude(
    connections: Connections,
    *,
    run_id: str,
    trigger: str,
    seconds: float,
    totals: Totals,
    in_dagster: bool = False,
    continues: str | None = None,
) -> Concluded:
    """Summarise the run, remember how it ended, write its report. A report that cannot be written undoes nothing.

    Args:
        in_dagster: Dagster knows the run by this id, so that a report can link to it.
        continues: the run whose plan this one goes on with, where it was executed again from the middle.
    """
    history, settings = connections.history, connections.settings
    if continues and continues != run_id:
        await history.take_over(run_id, trigger, continues)
    lines = await tenants(connections.ledger)
    states = [line.state for line in lines]
    record = replace(
        measured(await history.record_of(run_id), connections, totals),
        in_dagster=in_dagster,
        aside=states.count("aside"),
    )
    now = datetime.now(UTC)
    run = Run(
        run_id=run_id,
        trigger=trigger,
        begun_at=now - timedelta(seconds=seconds),
        finished_at=now,
        ready=states.count("ready"),
        unwell=states.count("unwell"),
        actions=0,
        seconds=seconds,
        report=None,
        record=record,
    )
    summary = await _summary(connections.ledger, connections.removed_rows, settings, run, lines)
    run = replace(run, actions=summary.actions, record=replace(record, emails=summary.emails))
    summary = replace(summary, history=(*summary.history, point(run)))
    # what was done is remembered whether or not its report can be written
    await history.finish_run(run)
    await _announce(connections)
    try:
        path = await asyncio.to_thread(page.write, summary, settings.report_path, readers=settings.files_readable_by)
    except NotWritten as refusal:
        return Concluded(summary, None, str(refusal))
    await history.store_report(run_id, path)
    return Concluded(summary, path)


async def _announce(connections: Connections) -> None:
    """Send the webhooks that are due. What cannot be sent now undoes nothing: it is in the ledger, and sent later."""
    try:
        delivered = await deliver(connections.settings, connections.ledger.database, seconds=_SEND_SECONDS)
    except Fault as fault:
        _LOG.warning("Webhooks that leave wait for the next run or sensor: %s", fault)
        return
    if delivered != Delivered():
        _LOG.info("%s", delivered)


async def last_summary(ledger: Ledger, removed_rows: RemovedRows, settings: Settings) -> Summary | None:
    """The last finished run, with the tenants as they are now; None when no run has finished."""
    runs = await History(ledger.database).last_runs(1)
    if not runs:
        return None
    return await _summary(ledger, removed_rows, settings, runs[0], await tenants(ledger))


async def summary_of(ledger: Ledger, removed_rows: RemovedRows, settings: Settings, run_id: str) -> Summary | None:
    """A finished run, with the tenants as they are now and the runs up to it; None when there is no such run."""
    run = await History(ledger.database).run(run_id)
    if run is None or run.finished_at is None:
        return None
    summary = await _summary(ledger, removed_rows, settings, run, await tenants(ledger))
    before = tuple(earlier for earlier in summary.history if earlier.begun_at < run.begun_at)
    return replace(summary, history=(*before, point(run)))


async def last_report(connections: Connections) -> tuple[Summary, str] | None:
    """The last finished run's report, drawn anew with the tenants as they are now; None when no run has finished."""
    summary = await last_summary(connections.ledger, connections.removed_rows, connections.settings)
    if summary is None:
        return None
    # the run's own file stays as it was written at its end
    return summary, await asyncio.to_thread(
        page.write,
        summary,
        connections.settings.report_path,
        name="latest",
        readers=connections.settings.files_readable_by,
    )


async def _summary(
    ledger: Ledger, removed_rows: RemovedRows, settings: Settings, run: Run, lines: tuple[TenantLine, ...]
) -> Summary:
    history, record = History(ledger.database), run.record
    slugs = {line.database_name: line.slug for line in lines}
    drift = await history.drift_of(run.run_id)
    url = settings.dagster_url
    # the ledger does not store the order of keys
    ordered = replace(
        record,
        calls=dict(sorted(record.calls.items(), key=lambda item: (-item[1], item[0]))),
        settings=dict(sorted(record.settings.items())),
    )
    facts: dict[str, Any] = {
        name: getattr(ordered, name)
        for name in (
            "refusals", "defects", "calls", "mutating_calls", "clerk_calls", "twenty_calls", "clerk_calls_allowed",
            "forecast", "waiting", "whole", "approved", "versions", "settings", "looked_at",
        )
    }  # fmt: skip
    return Summary(
        run_id=run.run_id,
        trigger=run.trigger,
        begun_at=run.begun_at,
        seconds=run.seconds,
        tenants=lines,
        outcomes=outcome_lines(await history.outcomes_of(run.run_id), slugs),
        rows_removed=await removed_rows.count(run.run_id, ONBOARDING_TABLE),
        phases=record.phases,
        drift=tuple(
            replace(found, database_name=slugs.get(found.database_name, found.database_name)) for found in drift
        ),
        history=tuple(point(earlier) for earlier in await _last_runs(history)),
        run_url=f"{url}/runs/{run.run_id}" if url and record.in_dagster else None,
        certificates=await _certificates(ledger.database, [server.name for server in settings.servers]),
        **facts,
    )


async def _last_runs(history: History) -> list[Run]:
    """The last runs, finished or cut, oldest first."""
    cut = await CutRuns(history.database).last(_RUNS_SHOWN)
    found = sorted([*await history.last_runs(_RUNS_SHOWN), *cut], key=lambda run: run.begun_at)
    return found[-_RUNS_SHOWN:]


async def _certificates(ledger: Database, servers: Iterable[str]) -> dict[str, Certified]:
    """Server → its last certificate, compared with the contract that a run saw there last; no server is asked."""
    found = {}
    for name in servers:
        seen = await Contracts(ledger).of(name)
        last = await Certificates(ledger).last_of(name)
        found[name] = certified(name, last, seen[0].contract if seen else None)
    return found
