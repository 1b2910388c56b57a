"""Tables for a terminal."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from provisioning_pipeline.cli.terminal import Terminal, plain, table
from provisioning_pipeline.model.condition import Reason, Status
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.names import first_few, visible
from provisioning_pipeline.model.reasons import meaning, next_step
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report.plan_lines import duration, lines_of
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.report.timeline_page import Timeline, event_json
from provisioning_pipeline.tasks.preflight import Check

_GLYPHS = {"ready": "[green]✓ ready[/]", "unwell": "[red]✗ not ready[/]", "aside": "[dim]- excluded[/]"}
_STATUS_GLYPHS = {Status.TRUE: "[green]✓[/]", Status.FALSE: "[red]✗[/]", Status.UNKNOWN: "[yellow]?[/]"}
_MOST_ROWS = 60


def tenants(console: Terminal, lines: Sequence[TenantLine]) -> None:
    """One row per tenant, those that are not ready first and all of them. Below, the next step by reason."""
    unwell = sum(line.state == "unwell" for line in lines)
    shown = lines[: max(_MOST_ROWS, unwell)]
    rows = table("tenant", "lifecycle", "state", "what is known")
    for line in shown:
        known = (
            f"workspace {line.workspace_id} on {line.server}, admin {line.admin_email}"
            if line.state == "ready"
            else f"{line.reason}: {line.message}"
        )
        rows.add_row(f"[bold]{plain(line.slug)}[/]", line.lifecycle_in_words, _GLYPHS[line.state], plain(known))
    console.print(rows)
    if len(shown) < len(lines):
        console.print(f"[dim]…and {len(lines) - len(shown)} more; --json lists them all.[/]")
    reasons = Counter(line.reason for line in lines if line.state == "unwell")
    for reason, count in reasons.most_common():
        console.print(f"[bold]{count} × {reason}[/] Next: {plain(next_step(reason))}", soft_wrap=True)


def tenant(console: Terminal, line: TenantLine) -> None:
    """One tenant with every condition; below, what each reason means that does not hold, and what to do next."""
    console.print(f"[bold]{plain(line.slug)}[/]  {_GLYPHS[line.state]}")
    facts = {
        "lifecycle": line.lifecycle and f"{line.lifecycle_in_words}: {line.lifecycle_evidence}",
        "database": line.database_name,
        "server": line.server,
        "workspace": line.workspace_id,
        "address": line.workspace_url,
        "admin": line.admin_email,
    }
    for name, value in facts.items():
        if value:
            console.print(f"  {name:<10} {plain(value)}", soft_wrap=True)
    rows = table("", "condition", "reason", "since", "message", pad_edge=True)
    for stored in line.conditions:
        condition = stored.condition
        rows.add_row(
            _STATUS_GLYPHS[condition.status],
            condition.type,
            condition.reason,
            f"{stored.since:%Y-%m-%d %H:%M}",
            plain(condition.message),
        )
    console.print(rows)
    unmet = (stored.condition for stored in line.conditions if stored.condition.status is not Status.TRUE)
    for reason in dict.fromkeys(condition.reason for condition in unmet):
        if reason is not Reason.WAITING:
            console.print(f"  [bold]{reason}[/]: {plain(meaning(reason))}")
            console.print(f"  [bold]Next:[/] {plain(next_step(reason))}")


def timeline(console: Terminal, found: Timeline) -> None:
    """What happened to one tenant, the most recent event last."""
    more = "  [dim]…there are earlier events; --events N shows more[/]" if found.next else ""
    console.print(f"\n[bold]timeline[/]{more}", soft_wrap=True)
    rows = table("time (UTC)", "who", "what", "run", pad_edge=True)
    rows.columns[0].no_wrap = True
    for event in reversed(found.events):
        what = visible(event.what)
        rows.add_row(
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            plain(event.who),
            Text(f"✗ {what}", "red") if event.failed else Text(what),
            Text((event.run_id or "")[:8]),
        )
    console.print(rows)


def timeline_json(found: Timeline) -> dict[str, Any]:
    """What happened to one tenant, the most recent event last, for a machine."""
    return {"timeline": [event_json(event) for event in reversed(found.events)]}


_SIGNS = {"+": "[green]+[/]", "~": "[yellow]~[/]", "-": "[red]-[/]", "!": "[red]![/]"}
_MOST_LINES = 12


def plan(console: Terminal, planned: Plan) -> None:
    """What would be done, per tenant, and what waits."""
    rows = table("tenant", "server", "what would be done")
    busy = [(entry, found) for entry in planned.tenants if (found := lines_of(entry))]
    for entry, found in busy[:_MOST_ROWS]:
        lines = [f"{_SIGNS[line.sign]} {plain(line.text)}" for line in found[:_MOST_LINES]]
        if len(found) > _MOST_LINES:
            lines.append(f"[dim]…and {len(found) - _MOST_LINES} more lines[/]")
        rows.add_row(f"[bold]{plain(entry.tenant.slug)}[/]", plain(entry.server or ""), "\n".join(lines))
    if busy:
        console.print(rows)
    if len(busy) > _MOST_ROWS:
        console.print(f"[dim]…and {len(busy) - _MOST_ROWS} more; --json lists them all.[/]")
    if at_rest := len(planned.tenants) - len(busy):
        console.print(f"[dim]{at_rest} tenants need nothing.[/]")
    for note in planned.notes:
        console.print(f"[red]{plain(note)}[/]")
    console.print(f"{len(planned.work)} of {len(planned.tenants)} tenants would be worked on. Nothing was changed.")


def forecast(console: Terminal, found: Forecast) -> None:
    """What the run will take, and where it may stop."""
    lines = [
        f"[bold]Forecast[/]: {found.clerk_calls} calls to Clerk, {found.twenty_calls} to Twenty, about "
        f"{duration(found.seconds)}. {plain(found.why)}",
        f"Removals and demotions: {found.harm.planned} of {found.harm.allowed} that a run may make by itself"
        + (f", {found.harm.waiting} wait for approval." if found.harm.waiting else "."),
    ]
    if found.cut_names:
        named = first_few([f"{cut.slug} → {cut.subdomain}" for cut in found.cut_names], _MOST_LINES)
        lines.append(f"Subdomains that differ from slugs: {plain(named)}")
    lines += [
        f"[yellow]Twenty deletes workspace {aging.workspace_id} of {plain(aging.slug)} seven days after "
        f"{aging.created_at:%Y-%m-%d %H:%M}: it was never {'paid for' if aging.unpaid else 'activated'}.[/]"
        for aging in found.aging
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def checks(console: Terminal, found: Sequence[Check]) -> None:
    """One row per system."""
    rows = table("", "system", "found")
    for check in found:
        sign = "[red]✗[/]" if not check.ok else "[yellow]![/]" if check.warning else "[green]✓[/]"
        rows.add_row(sign, check.system, plain(check.found))
    console.print(rows)


def tenant_json(line: TenantLine) -> dict[str, Any]:
    """One tenant for a machine."""
    return {
        "slug": line.slug,
        "database_name": line.database_name,
        "server": line.server,
        "workspace_id": line.workspace_id,
        "workspace_url": line.workspace_url,
        "admin_user_id": line.admin_user_id,
        "admin_email": line.admin_email,
        "ready": line.state == "ready",
        "state": line.state,
        "lifecycle": line.lifecycle,
        "lifecycle_evidence": line.lifecycle_evidence,
        "lifecycle_since": line.lifecycle_since.isoformat() if line.lifecycle_since else None,
        "conditions": [
            asdict(stored.condition) | {"since": stored.since.isoformat(), "run_id": stored.run_id}
            for stored in line.conditions
        ],
    }


def plan_json(planned: Plan) -> dict[str, Any]:
    """A plan for a machine."""
    return {
        "tenants": [
            {
                "slug": entry.tenant.slug,
                "database_name": entry.tenant.database_name,
                "server": entry.server,
                "changes": list(entry.changes),
                "diff": [str(line) for line in lines_of(entry)],
                "members": [
                    {"email": m.email, "role": m.role, "changes": list(m.changes), "why": m.why} for m in entry.members
                ],
                "withdrawals": [{"email": w.email, "why": w.why} for w in entry.withdrawals],
                "findings": [{"reason": f.reason, "person": f.person, "message": f.message} for f in entry.findings],
                "conditions": [asdict(condition) for condition in entry.conditions],
            }
            for entry in planned.tenants
        ],
        "to_be_worked_on": len(planned.work),
        "waiting": planned.waiting.name if planned.waiting else None,
        "notes": list(planned.notes),
    }
