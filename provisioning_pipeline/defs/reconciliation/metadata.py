"""What Dagster shows of a reconciliation: numbers that it plots, tables, and words."""

from typing import Any

import dagster as dg

from provisioning_pipeline.defs.recording import table
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report import markdown
from provisioning_pipeline.report.plan_lines import lines_of
from provisioning_pipeline.report.summary import Summary, TenantLine

_MOST_LISTED = 100


def of_inventory(lines: tuple[TenantLine, ...]) -> dict[str, Any]:
    """The tenants by state, and the table of them."""
    states = [line.state for line in lines]
    return {
        "tenants": len(lines),
        "ready_tenants": states.count("ready"),
        "unwell_tenants": states.count("unwell"),
        "aside_tenants": states.count("aside"),
        "table": dg.MetadataValue.md(markdown.inventory_table(lines) or "None."),
    }


def of_plan(plan: Plan, forecast: Forecast | None, plan_id: str | None = None) -> dict[str, Any]:
    """What would be done, tenant by tenant, and what it would take."""
    rows = [
        (entry.tenant.slug, entry.server or "", line.sign, line.text)
        for entry in plan.tenants
        for line in lines_of(entry)
    ]
    head, none = ("tenant", "server", "", "what"), "Nothing is to be done."
    found: dict[str, Any] = {
        "tenants": len(plan.tenants),
        "need_work": len(plan.work),
        "plan": table(head, rows, most=_MOST_LISTED, rest=" lines.", none=none),
    }
    if plan_id:
        found["plan_id"] = plan_id
    if plan.notes:
        found["notes"] = " ".join(plan.notes)
    return found | (of_forecast(forecast) if forecast else {})


def of_forecast(forecast: Forecast) -> dict[str, Any]:
    """The expected calls and seconds as numbers, and what will hold the run back."""
    return {
        "foretold_clerk_calls": forecast.clerk_calls,
        "foretold_twenty_calls": forecast.twenty_calls,
        "foretold_seconds": round(forecast.seconds, 1),
        "first_limit": f"{forecast.first_limit or 'None'}: {forecast.why}",
        "cut_names": ", ".join(f"{cut.slug} → {cut.subdomain}" for cut in forecast.cut_names[:_MOST_LISTED]) or "None.",
        "harmful_actions": forecast.harm.planned,
        "harmful_actions_allowed": forecast.harm.allowed,
    }


def of_outcomes(summary: Summary) -> dict[str, Any]:
    """What was done, and how often."""
    return {
        "actions": summary.actions,
        "failures": len(summary.failures),
        "mutating_calls": summary.mutating_calls,
        "emails": summary.emails,
        "changes": dg.MetadataValue.md(markdown.changes_table(summary.done_by_change) or "Nothing had to be done."),
    }


def of_report(summary: Summary, path: str, api_url: str | None) -> dict[str, Any]:
    """The verdict, the report, and the figures whose course Dagster plots.

    `api_url`: where `provisioning serve` shows the page, if anywhere.
    """
    page = {"page": dg.MetadataValue.url(f"{api_url}/reports/{summary.run_id}")} if api_url else {}
    return page | {
        "verdict": summary.verdict,
        "summary": dg.MetadataValue.md(markdown.render(summary)),
        "report": dg.MetadataValue.path(path),
        "ready_tenants": summary.count("ready"),
        "unwell_tenants": len(summary.unwell),
        "drift": len(summary.drift),
        "actions": summary.actions,
        "mutating_calls": summary.mutating_calls,
        "seconds": round(summary.seconds, 3),
        "clerk_calls": summary.clerk_calls,
        "twenty_calls": summary.twenty_calls,
        "emails": summary.emails,
    }
