"""The summary as Markdown, for Dagster's asset metadata."""

import re
from collections.abc import Iterable, Sequence

from provisioning_pipeline.report.summary import Summary, TenantLine

_MOST_UNWELL = 50


def render(summary: Summary) -> str:
    """The run in Markdown: verdict, the unwell with their next step, what was done."""
    parts = [
        f"### {summary.verdict}",
        f"Run `{summary.run_id}` ({summary.trigger}), {summary.seconds:.1f} s, {summary.actions} actions, "
        f"{summary.mutating_calls} mutating calls.",
    ]
    if summary.refusals:
        parts.append("\n".join(f"- **{_cell(sentence)}**" for sentence in summary.refusals))
    if summary.unwell:
        parts.append("#### Who needs a look\n\n" + unwell_table(summary.unwell))
    if summary.databases:
        rows = [(line.slug, str(line.database_reason), line.database_message) for line in summary.databases]
        head = ("tenant", "reason", "what happened and what to do")
        parts.append("#### In tenants' own databases\n\n" + table(head, rows[:_MOST_UNWELL]))
    if summary.undo:
        parts.append(summary.undo)
    if summary.taken_away:
        rows = [(line.tenant, line.change, line.detail) for line in summary.taken_away[:_MOST_UNWELL]]
        parts.append("#### Who was removed or demoted\n\n" + table(("tenant", "change", "why, and the proof"), rows))
    if summary.done_by_change:
        rows = [(change, str(count), f"{seconds:.1f}") for change, count, seconds in summary.done_by_change]
        parts.append("#### What was done\n\n" + table(("change", "times", "seconds in all"), rows))
    return "\n\n".join(parts)


def unwell_table(lines: Sequence[TenantLine]) -> str:
    """The unwell tenants, each with its reason and what to do."""
    rows = [(line.slug, line.reason, line.message) for line in lines[:_MOST_UNWELL]]
    more = len(lines) - len(rows)
    return table(("tenant", "reason", "what happened and what to do"), rows) + (
        f"\n\n…and {more} more: `provisioning status` lists them all." if more else ""
    )


def inventory_table(lines: Sequence[TenantLine], most: int = 100) -> str:
    """The tenants, one row each, the unwell first."""
    rows = [
        (line.slug, line.state, line.server or "", line.workspace_id or "", line.admin_email or "", line.reason)
        for line in lines[:most]
    ]
    head = ("tenant", "state", "server", "workspace", "admin", "reason")
    more = len(lines) - len(rows)
    return table(head, rows) + (f"\n\n…and {more} more." if more else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells cannot break out of it."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    escaped = re.sub(r"([\\|\[])", r"\\\1", str(text)).replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(escaped.split())
