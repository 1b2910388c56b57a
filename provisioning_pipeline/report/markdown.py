"""The summary as Markdown, for Dagster's asset metadata."""

import re
from collections.abc import Iterable, Sequence

from provisioning_pipeline.report.page import counts, forecast_against_made, shown
from provisioning_pipeline.report.summary import Summary, TenantLine, UnwellGroup

_MOST_UNWELL = 50
_MOST_TOLD_AT_ONCE = 6


def render(summary: Summary) -> str:
    """The run in Markdown: verdict, counts, the next step by reason, what was refused, waits and was done."""
    parts = [
        f"### {summary.verdict}",
        _counts(summary),
        f"Run `{summary.run_id}` ({_cell(summary.trigger)}), {summary.seconds:.1f} s, {summary.actions} actions, "
        f"{summary.mutating_calls} mutating calls.",
        *(f"{_cell(sentence)} This run went on from there." for sentence in summary.cut_before),
        _unwell(summary),
        _refused(summary),
        _waiting(summary),
        _reported(summary),
        _databases(summary),
        summary.undo or "",
        _taken_away(summary),
        _causes(summary),
        _done(summary),
        _forecast(summary),
    ]
    return "\n\n".join(part for part in parts if part)


def _counts(summary: Summary) -> str:
    return ", ".join(
        f"{count.name}: **{count.number:,}**" + (f" ({count.told})" if count.told else "") for count in counts(summary)
    )


def _unwell(summary: Summary) -> str:
    if not summary.unwell:
        return ""
    parts = ["#### Who needs a look", *(_group(group) for group in summary.groups)]
    if len(summary.unwell) <= _MOST_TOLD_AT_ONCE:
        parts.append(unwell_table(summary.unwell))
    return "\n\n".join(parts)


def _group(group: UnwellGroup) -> str:
    names = ", ".join(_cell(line.slug) for line in group.lines[:_MOST_UNWELL])
    more = len(group.lines) - _MOST_UNWELL
    rest = f" and {more:,} more" if more > 0 else ""
    return f"**{len(group.lines):,} × {group.reason}.** Next: {group.next_step}\n\nTenants: {names}{rest}"


def _refused(summary: Summary) -> str:
    told = [f"- **{_cell(sentence)}**" for sentence in summary.refusals]
    told += [f"- An unforeseen error: {_cell(defect)}" for defect in summary.defects]
    if summary.failures:
        told.append(f"- Attempts that did not succeed: {len(summary.failures):,}")
    return "#### What was refused\n\n" + "\n".join(told) if told else ""


def _waiting(summary: Summary) -> str:
    if summary.waiting is None:
        return ""
    return (
        f"#### What waits for approval\n\nRemovals and demotions of {summary.waiting.people:,} people: "
        f"`provisioning apply --approve {summary.waiting.name}`."
    )


def _reported(summary: Summary) -> str:
    rows = [(line.slug, line.reported_message) for line in summary.reported]
    more = f"\n\n…and {len(rows) - _MOST_UNWELL} more." if len(rows) > _MOST_UNWELL else ""
    head = ("tenant", "who, since when, and how to settle it")
    return "#### Accounts that prove nothing\n\n" + table(head, rows[:_MOST_UNWELL]) + more if rows else ""


def _databases(summary: Summary) -> str:
    rows = [(line.slug, str(line.database_reason), line.database_message) for line in summary.databases]
    head = ("tenant", "reason", "what happened and what to do")
    return "#### In tenants' own databases\n\n" + table(head, rows[:_MOST_UNWELL]) if rows else ""


def _taken_away(summary: Summary) -> str:
    rows = [(line.tenant, line.change, line.detail) for line in summary.taken_away[:_MOST_UNWELL]]
    return (
        "#### Who was removed or demoted\n\n" + table(("tenant", "change", "why, and the proof"), rows) if rows else ""
    )


def _causes(summary: Summary) -> str:
    rows = [(cause, who, f"{count:,}") for cause, who, count in summary.drift_by_cause]
    return "#### What differed\n\n" + table(("cause", "who", "differences"), rows) if rows else ""


def _done(summary: Summary) -> str:
    rows = [(change, str(count), f"{seconds:.1f}") for change, count, seconds in summary.done_by_change]
    return "#### What was done\n\n" + table(("change", "times", "seconds in all"), rows) if rows else ""


def _forecast(summary: Summary) -> str:
    if summary.forecast is None:
        return ""
    rows = [
        (each.name, each.told(each.foretold), each.told(each.made), each.difference)
        for each in forecast_against_made(summary)
    ]
    return f"#### Forecast\n\n{_cell(summary.forecast.why)}\n\n" + table(("", "foretold", "made", "difference"), rows)


def unwell_table(lines: Sequence[TenantLine]) -> str:
    """The tenants that are not ready, each with its reason and what to do."""
    rows = [(line.slug, line.reason, line.message) for line in lines[:_MOST_UNWELL]]
    more = len(lines) - len(rows)
    return table(("tenant", "reason", "what happened and what to do"), rows) + (
        f"\n\n…and {more} more: `provisioning status` lists them all." if more else ""
    )


def inventory_table(lines: Sequence[TenantLine], most: int = 100) -> str:
    """The tenants, one row each, those that are not ready first."""
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
    escaped = re.sub(r"([\\|\[])", r"\\\1", shown(str(text))).replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(escaped.split())
