"""Plans a reconciliation in the terminal, or runs one: progress while it works, a table and the report at the end."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import asdict

import typer

from provisioning_pipeline.cli import tables
from provisioning_pipeline.cli.exits import run_to_an_end
from provisioning_pipeline.cli.logs import LogFormat, log_as
from provisioning_pipeline.cli.terminal import Terminal, plain, progress_bar, say_json
from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.model.names import first_few, visible
from provisioning_pipeline.model.tenant import Plan, TenantPlan
from provisioning_pipeline.run.run import Applied, plan_and_forecast
from provisioning_pipeline.run.run import apply as reconcile
from provisioning_pipeline.run.saved_plans import PLAN_ID, load, save, saved_plan
from provisioning_pipeline.run.work import TenantResult
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps import steps_for

_LOG = logging.getLogger(__name__)
_MOST_NAMED = 5


def plan_and_show(settings: Settings, tenants: Collection[str], *, as_json: bool) -> None:
    """Plan, store the plan, and show it; with `as_json` only one object on standard output."""
    plan, forecast = asyncio.run(plan_and_forecast(settings, tenants))
    saved = saved_plan(plan, settings)
    refusal = None
    try:
        save(saved, settings)
    except NotWritten as error:
        # to look at a plan takes no place to write to
        refusal = f"The plan has no name to apply it by: {error}"
    if as_json:
        document = {"plan_id": None if refusal else saved.id, **tables.plan_json(plan), "forecast": asdict(forecast)}
        say_json(document, indent=2)
        return
    console = Terminal()
    tables.plan(console, plan)
    tables.forecast(console, forecast)
    console.print(plain(refusal) if refusal else f"Exactly this: `provisioning apply {saved.id}`", soft_wrap=True)


def apply_and_show(
    settings: Settings,
    tenants: Collection[str],
    *,
    as_json: bool,
    approved: str | None = None,
    log_format: LogFormat | None = None,
) -> Applied:
    """Reconcile and show how it goes; with `as_json` only one object on standard output.

    `tenants` may be the name of one saved plan. With `log_format` a log says how it goes, and no bar does.
    """
    if log_format:
        log_as(log_format)
    saved = None
    if plans := [name for name in tenants if PLAN_ID.fullmatch(name)]:
        if len(tenants) > 1:
            message = "a plan is applied alone: it names its tenants itself"
            raise typer.BadParameter(message)
        saved = load(plans[0], settings)
    with progress_bar(quiet=as_json or log_format is not None) as bar:
        task = bar.add_task("looking", total=None)

        def planned(plan: Plan) -> None:
            work = sum(bool(steps_for(entry)) for entry in plan.work)
            bar.update(task, total=work, description="working")
            _LOG.info("%d of %d tenants need work.", work, len(plan.tenants))

        def progress(entry: TenantPlan, result: TenantResult) -> None:
            bar.update(task, advance=1, description=f"{plain(entry.tenant.slug)} {'✗' if result.failed else '✓'}")
            if log_format:
                _log(entry, result)

        def told(entry: TenantPlan, sentence: str) -> None:
            bar.update(task, description=f"{plain(entry.tenant.slug)}: {plain(sentence)}")
            _LOG.info("%s: %s", visible(entry.tenant.slug), visible(sentence), extra={"tenant": entry.tenant.slug})

        applied = run_to_an_end(
            reconcile(
                settings,
                () if saved else tenants,
                approved=approved,
                saved=saved,
                planned=planned,
                progress=progress,
                told=told,
            )
        )
    if as_json:
        say_json(applied_json(applied))
    else:
        show(applied)
    return applied


def _log(entry: TenantPlan, result: TenantResult) -> None:
    reason = result.conditions[-1].reason if result.failed and result.conditions else None
    _LOG.log(
        logging.WARNING if result.failed else logging.INFO,
        "%s %s.",
        visible(entry.tenant.slug),
        f"failed: {reason}" if result.failed else "got through",
        extra={"tenant": entry.tenant.slug, "actions": len(result.outcomes)} | ({"reason": reason} if reason else {}),
    )


def show(applied: Applied) -> None:
    """The end of a run for a person."""
    console = Terminal()
    summary = applied.summary
    tables.tenants(console, applied.tenants)
    console.print()
    for sentence in (*summary.refusals, *(f"An unforeseen error: {defect}" for defect in summary.defects)):
        console.print(f"[red]{plain(sentence)}[/]")
    console.print(
        f"[bold]{plain(summary.verdict)}[/] {summary.actions} actions, {summary.mutating_calls} mutating calls, "
        f"{summary.seconds:.1f} s."
    )
    reported = [line.slug for line in applied.tenants if line.reported_message and line.state != "aside"]
    if reported:
        named = plain(first_few(reported, _MOST_NAMED))
        console.print(
            f"[yellow]Members of {named} have accounts that prove nothing about their "
            "addresses, and keep the roles that they have: `provisioning status TENANT` says who.[/]"
        )
    if applied.databases:
        named = plain(first_few([line.slug for line in applied.databases], _MOST_NAMED))
        console.print(f"[yellow]Look into the own databases of {named}: `provisioning status TENANT` says why.[/]")
    if summary.undo:
        console.print(plain(summary.undo), soft_wrap=True)
    if applied.not_written:
        console.print(f"[red]All was done, but the report is missing: {plain(applied.not_written)}[/]", soft_wrap=True)
    else:
        console.print(f"Report: {plain(str(applied.report))}", soft_wrap=True)


def applied_json(applied: Applied) -> dict[str, object]:
    """The end of a run for a machine."""
    summary = applied.summary
    return {
        "run_id": summary.run_id,
        "verdict": summary.verdict,  # of the whole fleet; everything about tenants is of those that were looked at
        "tenants": {state: applied.count(state) for state in ("ready", "unwell", "aside")},
        "actions": summary.actions,
        "mutating_calls": summary.mutating_calls,
        "rows_removed": summary.rows_removed,
        "seconds": round(summary.seconds, 3),
        "report": str(applied.report) if applied.report else None,
        "report_missing_because": applied.not_written,
        "unwell": [
            {"slug": line.slug, "reason": line.reason, "message": line.message}
            for line in applied.tenants
            if line.state == "unwell"
        ],
        "reported": [
            {"slug": line.slug, "message": line.reported_message} for line in applied.tenants if line.reported_message
        ],
        "databases": [
            {"slug": line.slug, "reason": line.database_reason, "message": line.database_message}
            for line in applied.databases
        ],
        "refusals": list(summary.refusals),
    }
