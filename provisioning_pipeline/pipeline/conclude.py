"""The end of a run: a summary from the ledger, its report, and the run's row."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.removed_rows import ONBOARDING_TABLE
from provisioning_pipeline.pipeline.connections import Connections
from provisioning_pipeline.pipeline.reconcile import Totals
from provisioning_pipeline.report import page
from provisioning_pipeline.report.summary import Summary, TenantLine, outcome_lines, tenant_lines


async def tenants(ledger: Ledger, *, with_conditions: bool = False) -> tuple[TenantLine, ...]:
    """Every tenant, the unwell first. All conditions of a large fleet are many: only where somebody reads them."""
    return tenant_lines(await ledger.tenant_rows(), await ledger.conditions() if with_conditions else ())


async def conclude(
    connections: Connections, *, run_id: str, trigger: str, seconds: float, totals: Totals
) -> tuple[Summary, Path]:
    """Summarise the run, write its report, remember how it ended."""
    ledger = connections.ledger
    lines = await tenants(ledger)
    slugs = {line.database_name: line.slug for line in lines}
    summary = Summary(
        run_id=run_id,
        trigger=trigger,
        begun_at=datetime.now(UTC) - timedelta(seconds=seconds),
        seconds=seconds,
        tenants=lines,
        outcomes=outcome_lines(await ledger.outcomes_of(run_id), slugs),
        refusals=tuple(totals.refusals),
        defects=tuple(totals.defects),
        calls=dict(totals.calls.most_common()),
        mutating_calls=totals.mutating_calls,
        rows_removed=await _rows_removed(connections, run_id),
    )
    path = page.write(summary, connections.settings.report_path)
    await ledger.finish_run(
        run_id,
        trigger,
        ready=summary.count("ready"),
        unwell=summary.count("unwell"),
        actions=summary.actions,
        seconds=seconds,
        report=str(path),
    )
    return summary, path


async def last_report(connections: Connections) -> tuple[Summary, Path] | None:
    """The last finished run's report, drawn anew with today's conditions; None when no run has finished."""
    ledger = connections.ledger
    runs = await ledger.last_runs(1)
    if not runs:
        return None
    last = runs[0]
    lines = await tenants(ledger)
    slugs = {line.database_name: line.slug for line in lines}
    summary = Summary(
        run_id=last.run_id,
        trigger=last.trigger,
        begun_at=last.begun_at,
        seconds=last.seconds,
        tenants=lines,
        outcomes=outcome_lines(await ledger.outcomes_of(last.run_id), slugs),
        refusals=(),
        defects=(),
        calls={},
        mutating_calls=0,
        rows_removed=await _rows_removed(connections, last.run_id),
    )
    return summary, page.write(summary, connections.settings.report_path)


async def _rows_removed(connections: Connections, run_id: str) -> int:
    removed = await connections.removed_rows.of_run(run_id)
    return sum(row.table_name == ONBOARDING_TABLE for row in removed)
