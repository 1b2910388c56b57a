"""Tables for a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from provisioning_pipeline.model.condition import Status
from provisioning_pipeline.model.tenant import MEMBER_CHANGES, Change, Plan, TenantPlan
from provisioning_pipeline.pipeline.preflight import Check
from provisioning_pipeline.report.summary import TenantLine

_GLYPHS = {"ready": "[green]✓ ready[/]", "unwell": "[red]✗ unwell[/]", "aside": "[dim]- aside[/]"}
_STATUS_GLYPHS = {Status.TRUE: "[green]✓[/]", Status.FALSE: "[red]✗[/]", Status.UNKNOWN: "[yellow]?[/]"}
_MOST_ROWS = 60


def tenants(console: Console, lines: Sequence[TenantLine]) -> None:
    """One row per tenant, the unwell first with what to do; long fleets are cut, never the unwell."""
    unwell = sum(line.state == "unwell" for line in lines)
    shown = lines[: max(_MOST_ROWS, unwell)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("tenant", "state", "what is known"):
        table.add_column(name, overflow="fold")
    for line in shown:
        known = (
            f"workspace {line.workspace_id} on {line.server}, admin {line.admin_email}"
            if line.state == "ready"
            else f"{line.reason}: {line.message}"
        )
        table.add_row(f"[bold]{escape(line.slug)}[/]", _GLYPHS[line.state], escape(known))
    console.print(table)
    if len(shown) < len(lines):
        console.print(f"[dim]…and {len(lines) - len(shown)} more; --json lists them all.[/]")


def tenant(console: Console, line: TenantLine) -> None:
    """One tenant with every condition."""
    console.print(f"[bold]{escape(line.slug)}[/]  {_GLYPHS[line.state]}")
    facts = {
        "database": line.database_name,
        "server": line.server,
        "workspace": line.workspace_id,
        "address": line.workspace_url,
        "admin": line.admin_email,
    }
    for name, value in facts.items():
        if value:
            console.print(f"  {name:<10} {escape(value)}", soft_wrap=True)
    table = Table(box=None, header_style="dim")
    for name in ("", "condition", "reason", "since", "message"):
        table.add_column(name, overflow="fold")
    for stored in line.conditions:
        condition = stored.condition
        table.add_row(
            _STATUS_GLYPHS[condition.status],
            condition.type,
            condition.reason,
            f"{stored.since:%Y-%m-%d %H:%M}",
            escape(condition.message),
        )
    console.print(table)


def plan(console: Console, planned: Plan) -> None:
    """What would be done, per tenant, and what waits."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("tenant", "server", "what would be done"):
        table.add_column(name, overflow="fold")
    for entry in planned.tenants[:_MOST_ROWS]:
        troubles = [c for c in entry.conditions if c.status is not Status.TRUE]
        lines = [f"[green]+[/] {change}" for change in entry.changes if change not in MEMBER_CHANGES]
        lines += _member_lines(entry)
        lines += [f"[red]![/] {condition.reason}: {escape(condition.message)}" for condition in troubles]
        table.add_row(
            f"[bold]{escape(entry.tenant.slug)}[/]", entry.server or "", "\n".join(lines) or "[dim]nothing[/]"
        )
    console.print(table)
    if len(planned.tenants) > _MOST_ROWS:
        console.print(f"[dim]…and {len(planned.tenants) - _MOST_ROWS} more; --json lists them all.[/]")
    for note in planned.notes:
        console.print(f"[red]{escape(note)}[/]")
    console.print(f"{len(planned.work)} of {len(planned.tenants)} tenants would be worked on. Nothing was written.")


_SIGNS = {
    Change.ADD_MEMBER: ("[green]+[/]", "add {person} as {role}"),
    Change.LINK_MEMBER: ("[yellow]~[/]", "link {person}"),
    Change.DROP_LINK: ("[yellow]~[/]", "forget the link of {person}, who is no longer in the workspace"),
    Change.SET_NAME: ("[yellow]~[/]", "name {person}: {name}"),
    Change.SET_ROLE: ("[yellow]~[/]", "role of {person}: {role}"),
    Change.DEMOTE_MEMBER: ("[red]-[/]", "demote {person} to {role}"),
    Change.REMOVE_MEMBER: ("[red]-[/]", "remove {person}: {why}"),
    Change.STORE_AT_CLERK: ("[yellow]~[/]", "store the user id of {person} at Clerk"),
}
_FIRST = (Change.REMOVE_MEMBER, Change.DEMOTE_MEMBER, Change.ADD_MEMBER)
_MOST_MEMBERS = 12


def _member_lines(entry: TenantPlan) -> list[str]:
    """What would be done for members, what takes something away first; who is added is not told to be linked too."""
    found: list[tuple[int, str]] = []
    for member in entry.members:
        changes = (Change.ADD_MEMBER,) if Change.ADD_MEMBER in member.changes else member.changes
        for change in changes:
            sign, words = _SIGNS[change]
            name = f"{member.first_name} {member.last_name}".strip()
            told = words.format(person=member.email, role=member.role, name=name, why=member.why)
            if change is Change.ADD_MEMBER and member.why:
                told += f" ({member.why})"
            found.append((_FIRST.index(change) if change in _FIRST else len(_FIRST), f"{sign} {escape(told)}"))
    lines = [line for _, line in sorted(found, key=lambda item: item[0])]
    more = len(lines) - _MOST_MEMBERS
    if entry.store_organization:
        lines.insert(
            _MOST_MEMBERS, f"[yellow]~[/] store the workspace id at Clerk organization {entry.store_organization}"
        )
    return [*lines[:_MOST_MEMBERS], f"[dim]…and {more} more changes of members[/]"] if more > 0 else lines


def checks(console: Console, found: Sequence[Check]) -> None:
    """One row per system."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "system", "found"):
        table.add_column(name, overflow="fold")
    for check in found:
        table.add_row("[green]✓[/]" if check.ok else "[red]✗[/]", check.system, escape(check.found))
    console.print(table)


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
        "conditions": [
            {
                "type": stored.condition.type,
                "status": stored.condition.status,
                "reason": stored.condition.reason,
                "message": stored.condition.message,
                "since": stored.since.isoformat(),
                "run_id": stored.run_id,
            }
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
                "members": [
                    {"email": m.email, "role": m.role, "changes": list(m.changes), "why": m.why} for m in entry.members
                ],
                "findings": [{"reason": f.reason, "person": f.person, "message": f.message} for f in entry.findings],
                "conditions": [
                    {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message}
                    for c in entry.conditions
                ],
            }
            for entry in planned.tenants
        ],
        "to_be_worked_on": len(planned.work),
        "waiting": planned.waiting.name if planned.waiting else None,
        "notes": list(planned.notes),
    }
