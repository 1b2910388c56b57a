"""The summary as Markdown, for Dagster's asset metadata."""

import re
from collections.abc import Sequence

from provisioning_pipeline.report.page import counts, forecast_against_made, shown
from provisioning_pipeline.report.summary import Summary, TenantLine, UnwellGroup

_MOST_UNWELL = 50
_MOST_TOLD_AT_ONCE = 6


def render(summary: Summary) -> str:
    """The run in Markdown: verdict, counts, the next step by reason, what was refused, waits and was done."""
    parts = [
        f"### {summary.verdict}",
        ", ".join(
            f"{count.name}: **{count.number:,}**" + (f" ({count.told})" if count.told else "")
            for count in counts(summary)
        ),
        f"Run `{summary.run_id}` ({_cell(summary.trigger)}), {summary.seconds:.1f} s, {summary.actions} actions, "
        f"{summary.mutating_calls} mutating calls.",
        *(f"{_cell(sentence)} This run went on from there." for sentence in summary.cut_before),
        _unwell(summary),
        _section("What was refused", _refused(summary)),
        _section("What waits for approval", _waiting(summary)),
        _listed(
            "Where tenants are in their lives",
            ("tenant", "lifecycle", "by what evidence"),
            [(line.slug, line.lifecycle_in_words, line.lifecycle_evidence) for line in summary.leaving],
        ),
        _listed(
            "Accounts that prove nothing",
            ("tenant", "who, since when, and how to settle it"),
            [(line.slug, line.reported_message) for line in summary.reported],
        ),
        _listed(
            "In tenants' own databases",
            ("tenant", "reason", "what happened and what to do"),
            [(line.slug, str(line.database_reason), line.database_message) for line in summary.databases],
        ),
        summary.undo or "",
        _listed(
            "Who was removed or demoted",
            ("tenant", "change", "why, and the proof"),
            [(line.tenant, line.change, line.detail) for line in summary.taken_away],
        ),
        _listed(
            "What differed",
            ("cause", "who", "differences"),
            [(cause, who, f"{count:,}") for cause, who, count in summary.drift_by_cause],
        ),
        _section("What was done", changes_table(summary.done_by_change)),
        _section("Forecast", _forecast(summary)),
    ]
    return "\n\n".join(part for part in parts if part)


def _unwell(summary: Summary) -> str:
    groups = "\n\n".join(_group(group) for group in summary.groups)
    tenants = unwell_table(summary.unwell) if len(summary.unwell) <= _MOST_TOLD_AT_ONCE else ""
    return _section("Who needs a look", "\n\n".join(filter(None, (groups, tenants))))


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
    return "\n".join(told)


def _waiting(summary: Summary) -> str:
    if summary.waiting is None:
        return ""
    return (
        f"Removals and demotions of {summary.waiting.people:,} people: "
        f"`provisioning apply --approve {summary.waiting.name}`."
    )


def _forecast(summary: Summary) -> str:
    if summary.forecast is None:
        return ""
    rows = [
        (each.name, each.told(each.forecast), each.told(each.made), each.difference)
        for each in forecast_against_made(summary)
    ]
    return f"{_cell(summary.forecast.why)}\n\n" + table(("", "forecast", "made", "difference"), rows)


def unwell_table(lines: Sequence[TenantLine]) -> str:
    """The tenants that are not ready, each with its reason and what to do."""
    rows = [(line.slug, line.reason, line.message) for line in lines]
    head = ("tenant", "reason", "what happened and what to do")
    return table(head, rows, most=_MOST_UNWELL, rest=": `provisioning status` lists them all.")


def inventory_table(lines: Sequence[TenantLine]) -> str:
    """The tenants, one row each, those that are not ready first."""
    rows = [
        (
            line.slug,
            line.lifecycle_in_words,
            line.state,
            line.server or "",
            line.workspace_id or "",
            line.admin_email or "",
            line.reason,
        )
        for line in lines
    ]
    return table(("tenant", "lifecycle", "state", "server", "workspace", "admin", "reason"), rows, most=100)


def changes_table(done: Sequence[tuple[str, int, float]]) -> str:
    """Changes, how often each was made, and how long they took."""
    rows = [(change, str(count), f"{seconds:.1f}") for change, count, seconds in done]
    return table(("change", "times", "seconds in all"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, most: int | None = None, rest: str = ".") -> str:
    """A Markdown table, whose cells cannot break out of it; empty where there is no row.

    Args:
        most: how many rows are shown; how many more there are stands below.
        rest: what follows on that.
    """
    if not rows:
        return ""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows[:most]]
    more = len(rows) - len(rows[:most])
    return "\n".join(lines) + (f"\n\n…and {more} more{rest}" if more else "")


def _listed(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return _section(title, table(head, rows, most=_MOST_UNWELL))


def _section(title: str, body: str) -> str:
    return f"#### {title}\n\n{body}" if body else ""


def _cell(text: str) -> str:
    escaped = re.sub(r"([\\|\[])", r"\\\1", shown(str(text))).replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(escaped.split())
