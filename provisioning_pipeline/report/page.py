"""The report as one HTML page that needs nothing else: no network, no script."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape

from provisioning_pipeline.clients.files import write_whole
from provisioning_pipeline.model.history import RunPoint
from provisioning_pipeline.model.names import unsteered
from provisioning_pipeline.report import charts
from provisioning_pipeline.report.summary import Summary, TenantLine, UnwellGroup
from provisioning_pipeline.settings import Readers

_MOST_SHOWN: Final = 2000
"""Characters of one text. The longest sentence of ours, with a list of people in it, is half of that."""


@cache
def page_environment() -> Environment:
    """The templates, with everything that comes from outside escaped, seen and cut."""
    return Environment(
        loader=PackageLoader("provisioning_pipeline.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def shown(text: str) -> str:
    """A text as a page or table shows it: cut where it goes on for ever, and that is said.

    What would turn a line around, or hide in it, stands as an escape.
    """
    more = len(text) - _MOST_SHOWN
    return unsteered(text) if more <= 0 else f"{unsteered(text[:_MOST_SHOWN])}… ({more:,} more characters)"


def _shown(value: Any) -> Any:
    # what is markup already was made here
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


_MOST_READY_SHOWN = 500
_MOST_ROWS = 100
_MOST_DRIFT = 50
_MOST_TOLD_AT_ONCE, _MOST_GROUPS_AT_ONCE = 6, 3
_MOST_OPEN = 30
_MOST_RUNS = 30
_WEB = ("https://", "http://")
_REST = "`provisioning status` lists them all."
_CLOSE_SECONDS = 2
_STATES: Mapping[str, str] = {"ready": "Ready", "unwell": "Need a look", "aside": "Excluded"}


@dataclass(frozen=True, slots=True)
class Count:
    """How many tenants are in one state. `change`: since the last run; None when it is not known."""

    state: str
    name: str
    number: int
    change: int | None

    @property
    def told(self) -> str:
        """The change in words; empty when there is none."""
        return f"{'+' if self.change > 0 else '−'}{abs(self.change):,} since the last run" if self.change else ""


@dataclass(frozen=True, slots=True)
class Foretold:
    """One figure of a run beside its forecast; `foretold` is None where there was no forecast."""

    name: str
    made: float
    foretold: float | None
    unit: str = ""

    @property
    def difference(self) -> str:
        """By how many percent more or less was needed than foretold; empty when that says nothing."""
        if self.foretold is None:
            return ""
        # of a second or two more a percentage says nothing
        if abs(self.made - self.foretold) < (_CLOSE_SECONDS if self.unit else 0.5):
            return "as foretold"
        if not self.foretold:
            return "none was foretold"
        percent = round(100 * (self.made - self.foretold) / self.foretold)
        return f"{'+' if percent >= 0 else '−'}{abs(percent):,} %"

    def told(self, value: float | None) -> str:
        """One of its figures for people."""
        return "" if value is None else f"{value:,.0f}{self.unit}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be drawn.

    Args:
        caption: what it shows, for those who do not see what is around it.
        columns: title and kind. Kinds: `name` (the row's head), `number`, `short` (kept on one line), `message`,
            `code`, `bar` (a share from 0 to 1, drawn), and the empty one.
        rows: a cell for each column.
        rest: what is left out, in a sentence; empty when nothing is.
    """

    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[object, ...], ...]
    rest: str = ""

    @property
    def drawn(self) -> Iterator[list[tuple[str, object]]]:
        """The rows, each cell with its kind."""
        kinds = [kind for _, kind in self.columns]
        return (list(zip(kinds, row, strict=True)) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Group:
    """The tenants that are not ready for one reason, as the page shows them.

    Args:
        people: slug, message and when of each, if all is told at once.
        names: else their slugs, with `when` for all of them and `each` for what happened to each.
    """

    reason: str
    next_step: str
    count: int
    people: tuple[tuple[str, str, str], ...]
    names: tuple[str, ...]
    message: str
    when: str
    each: Table | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart, made of figures and of words of ours alone, with its figures as a table."""

    title: str
    svg: str
    table: Table


def render(summary: Summary) -> str:
    """The page. Everything that comes from outside is escaped; the same summary gives the same page."""
    return (
        page_environment()
        .get_template("reconciliation.html")
        .render(
            summary=summary,
            begun=_moment(summary.begun_at),
            run_url=summary.run_url if summary.run_url and summary.run_url.startswith(_WEB) else None,
            counts=counts(summary),
            groups=groups(summary),
            done=_done(summary),
            failures=_failures(summary),
            away=_away(summary),
            reported=_reported(summary),
            databases=_databases(summary),
            causes=_causes(summary),
            drift=_drift(summary),
            pictures=pictures(summary.history[-_MOST_RUNS:]),
            span=_span(summary.history[-_MOST_RUNS:]),
            phases=_phases(summary),
            calls=_calls(summary),
            operations=_operations(summary),
            aging=_aging(summary),
            cut_names=_cut_names(summary),
            slowest=_slowest(summary),
            others=_others(summary),
            most_open=_MOST_OPEN,
            versions=_versions(summary),
            settings=_settings(summary),
        )
    )


def write(summary: Summary, folder: Path, *, name: str | None = None, readers: Readers = "owner") -> Path:
    """Write the page of this run and return its absolute path; under its id, or another name.

    Args:
        readers: who on this machine may read it.

    Raises:
        NotWritten: when the folder cannot be written to.
    """
    path = (folder / f"reconciliation-{name or summary.run_id}.html").resolve()
    write_whole(path, render(summary).encode(), setting="PROVISIONING_REPORT_PATH", readers=readers)
    return path


def counts(summary: Summary) -> list[Count]:
    """How many tenants are in each state, and how that changed since the last run; excluded tenants included."""
    before = summary.previous
    found = [
        Count(state, name, now, None if earlier is None else now - earlier)
        for state, name in _STATES.items()
        for now, earlier in ((summary.count(state), getattr(before, state, None)),)
    ]
    return [count for count in found if count.state != "aside" or count.number or count.change]


def forecast_against_made(summary: Summary) -> list[Foretold]:
    """What the run needed beside what was foretold."""
    forecast = summary.forecast
    return [
        Foretold("Clerk calls", summary.clerk_calls, forecast.clerk_calls if forecast else None),
        Foretold("Twenty calls", summary.twenty_calls, forecast.twenty_calls if forecast else None),
        Foretold("Time", summary.seconds, forecast.seconds if forecast else None, " s"),
    ]


def groups(summary: Summary) -> list[Group]:
    """Tenants that are not ready, by reason: with messages while they are few, else names and messages apart."""
    day = (summary.begun_at + timedelta(seconds=summary.seconds)).astimezone(UTC).date()
    found = summary.groups
    at_once = len(summary.unwell) <= _MOST_TOLD_AT_ONCE and len(found) <= _MOST_GROUPS_AT_ONCE
    return [_told_at_once(group, day) if at_once else _compact(group, day) for group in found]


def pictures(history: Sequence[RunPoint]) -> list[Picture]:
    """Charts over these runs, oldest first; none of a single one."""
    if len(history) < 2:
        return []
    return [
        _picture(title, series, history)
        for title, series in (
            ("Tenants by state", charts.states(history)),
            ("What the runs took, did and found", charts.work(history)),
        )
    ]


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else ""


def _clock(at: datetime, day: date) -> str:
    """A moment; on this day by its time alone."""
    return f"{at.astimezone(UTC):%H:%M} UTC" if at.astimezone(UTC).date() == day else _moment(at)


def _told_at_once(group: UnwellGroup, day: date) -> Group:
    people = tuple((line.slug, line.message, _when([line], day)) for line in group.lines)
    return Group(group.reason, group.next_step, len(group.lines), people, (), "", "", None)


def _compact(group: UnwellGroup, day: date) -> Group:
    names = tuple(line.slug for line in group.lines)
    return Group(
        reason=group.reason,
        next_step=group.next_step,
        count=len(names),
        people=(),
        names=names,
        message=group.message or "",
        when=_when(group.lines, day),
        each=_each(group),
    )


def _when(lines: Sequence[TenantLine], day: date) -> str:
    """Since when they are not ready, and when they are tried again by themselves."""
    begun = sorted(line.since for line in lines if line.since)
    again = sorted(line.look_again_at for line in lines if line.look_again_at)
    told = []
    if begun:
        one = _clock(begun[0], day) == _clock(begun[-1], day)
        told.append(f"since {_clock(begun[0], day)}" if one else f"the first since {_clock(begun[0], day)}")
    if again:
        whose = "" if len(again) == len(lines) else f"{len(again):,} of them "
        one = _clock(again[0], day) == _clock(again[-1], day)
        told.append(f"{whose}tried again at {_clock(again[0], day)}" + ("" if one else " and later"))
    return "; ".join(told)


def _each(group: UnwellGroup) -> Table | None:
    rows = [
        (line.slug, line.message, _moment(line.since), _moment(line.look_again_at))
        for line in group.lines[:_MOST_ROWS]
    ]  # fmt: skip
    columns = (
        ("Tenant", "name"),
        ("What happened and what to do", "message"),
        ("Since", "short"),
        ("Tried again", "short"),
    )
    return _table(
        f"What happened to each tenant: {group.reason}", columns, rows, len(group.lines), "`provisioning status`"
    )


def _done(summary: Summary) -> Table | None:
    rows = sorted(summary.done_by_change, key=lambda row: (-row[2], row[0]))
    most = max((seconds for _, _, seconds in rows), default=0.0)
    columns = (("Change", "name"), ("Times", "number"), ("Seconds in all", "number"), ("", "bar"))
    return _table(
        "What was done, the slowest first",
        columns,
        [(change, f"{count:,}", f"{seconds:,.1f}", _share(seconds, most)) for change, count, seconds in rows],
    )


def _failures(summary: Summary) -> Table | None:
    columns = (("Tenant", "name"), ("Change", "short"), ("Why", "message"))
    failures = summary.failures
    rows = [(line.tenant, line.change, line.detail) for line in failures[:_MOST_ROWS]]
    return _table(
        "What was tried and did not succeed", columns, rows, len(failures), "`reconciliation_outcomes` has them all."
    )


def _away(summary: Summary) -> Table | None:
    columns = (("Tenant", "name"), ("Change", "short"), ("Why, and the proof", "message"))
    away = summary.taken_away
    rows = [(line.tenant, line.change, line.detail) for line in away[:_MOST_READY_SHOWN]]
    return _table("Who was removed or demoted", columns, rows, len(away), "`reconciliation_outcomes` has them all.")


def _reported(summary: Summary) -> Table | None:
    columns = (("Tenant", "name"), ("Who, since when, and how to settle it", "message"))
    found = summary.reported
    rows = [(line.slug, line.reported_message) for line in found[:_MOST_ROWS]]
    return _table("Members whose accounts prove nothing", columns, rows, len(found), _REST)


def _databases(summary: Summary) -> Table | None:
    columns = (("Tenant", "name"), ("Reason", ""), ("What happened and what to do", "message"))
    found = summary.databases
    rows = [(line.slug, line.database_reason, line.database_message) for line in found[:_MOST_ROWS]]
    return _table("What is to be looked at in tenants' own databases", columns, rows, len(found), _REST)


def _causes(summary: Summary) -> Table | None:
    rows = summary.drift_by_cause
    most = max((count for _, _, count in rows), default=0)
    columns = (("Cause", "name"), ("Who", ""), ("Differences", "number"), ("", "bar"))
    return _table(
        "Differences by cause", columns, [(cause, who, f"{count:,}", _share(count, most)) for cause, who, count in rows]
    )


def _drift(summary: Summary) -> Table | None:
    columns = (("Tenant", "name"), ("Cause", ""), ("Who", ""), ("What differed", "message"))
    found = summary.drift
    rows = [(line.database_name, line.cause, line.who, line.detail) for line in found[:_MOST_DRIFT]]
    return _table("Differences one by one", columns, rows, len(found), "the ledger has them all.")


def _phases(summary: Summary) -> Table | None:
    most = max((seconds for _, seconds in summary.phases), default=0.0)
    columns = (("Phase", "name"), ("Seconds", "number"), ("", "bar"))
    return _table(
        "Seconds per phase",
        columns,
        [(phase, f"{seconds:,.1f}", _share(seconds, most)) for phase, seconds in summary.phases],
    )


def _calls(summary: Summary) -> Table | None:
    """Calls and time against the limits and the forecast; columns without any figure are left out."""
    if not (summary.calls or summary.clerk_calls or summary.twenty_calls or summary.forecast):
        return None
    allowed = summary.clerk_calls_allowed * summary.seconds / 10
    columns: list[tuple[str, str]] = [("", "name"), ("This run", "number")]
    rows = [[each.name, each.told(each.made)] for each in forecast_against_made(summary)]
    if summary.forecast:
        columns += [("Foretold", "number"), ("Difference", "number")]
        rows = [
            [*row, each.told(each.foretold), each.difference]
            for row, each in zip(rows, forecast_against_made(summary), strict=True)
        ]
    if allowed:
        columns += [("The limit lets through", "number"), ("Used of it", "number")]
        used = (f"{allowed:,.0f}", f"{100 * summary.clerk_calls / allowed:,.0f} %")
        rows = [[*row, *(used if number == 0 else ("", ""))] for number, row in enumerate(rows)]
    return _table("Calls and time", tuple(columns), [tuple(row) for row in rows])


def _operations(summary: Summary) -> Table | None:
    columns = (("Operation", "name"), ("Calls", "number"))
    return _table("Calls by operation", columns, [(name, f"{count:,}") for name, count in summary.calls.items()])


def _aging(summary: Summary) -> Table | None:
    found = summary.forecast.aging if summary.forecast else ()
    columns = (("Tenant", "name"), ("Workspace", "code"), ("Created", "short"))
    rows = [(each.slug, each.workspace_id, _moment(each.created_at)) for each in found[:_MOST_ROWS]]
    return _table("Workspaces that Twenty deletes soon", columns, rows, len(found), "the ledger has them all.")


def _cut_names(summary: Summary) -> Table | None:
    found = summary.forecast.cut_names if summary.forecast else ()
    columns = (("Tenant", "name"), ("Subdomain", "code"))
    rows = [(each.slug, each.subdomain) for each in found[:_MOST_ROWS]]
    return _table("Subdomains that differ from slugs", columns, rows, len(found), "the ledger has them all.")


def _slowest(summary: Summary) -> Table | None:
    found = summary.slowest
    most = max((slow.seconds for slow in found), default=0.0)
    columns = (("Tenant", "name"), ("Longest change", ""), ("Seconds", "number"), ("", "bar"))
    rows = [(slow.tenant, slow.longest, f"{slow.seconds:,.1f}", _share(slow.seconds, most)) for slow in found]
    return _table("The slowest tenants", columns, rows)


def _others(summary: Summary) -> Table | None:
    columns = (("Tenant", "name"), ("State", ""), ("Server", ""), ("Workspace", "code"), ("Admin", ""))
    wells = [line for line in summary.tenants if line.state != "unwell"]
    rows = [
        (
            line.slug,
            line.state if line.state == "ready" else line.reason,
            line.server or "",
            line.workspace_id or "",
            line.admin_email or "",
        )
        for line in wells[:_MOST_READY_SHOWN]
    ]
    return _table("Tenants that are ready or excluded", columns, rows, len(wells), _REST)


def _versions(summary: Summary) -> Table | None:
    versions = summary.versions
    if versions is None:
        return None
    rows = [("provisioning-pipeline", versions.program), ("Dagster", versions.dagster), ("Python", versions.python)]
    rows += [(f"Twenty server {name}", version or "unknown") for name, version in versions.servers.items()]
    return _table("Versions", (("Program", "name"), ("Version", "")), rows)


def _settings(summary: Summary) -> Table | None:
    return _table("Settings", (("Setting", "name"), ("Value", "code")), list(summary.settings.items()))


def _picture(title: str, series: Sequence[charts.Series], history: Sequence[RunPoint]) -> Picture:
    columns = (("Run", "name"), ("Begun", "short"), ("Looked at", ""), *((each.name, "number") for each in series))
    rows = [
        (
            point.run_id[:8],
            _moment(point.begun_at),
            _looked_at(point),
            *(each.told(each.values[place]) for each in series),
        )
        for place, point in reversed(list(enumerate(history)))
    ]
    return Picture(title, charts.draw(title, series), Table(f"{title}, by run", columns, tuple(rows)))


def _looked_at(point: RunPoint) -> str:
    told = "all tenants" if point.whole else "some tenants"
    return told if point.cut_why is None else f"{told}; cut"


def _span(history: Sequence[RunPoint]) -> str:
    if len(history) < 2:
        return "The chart begins with the next run."
    first, last = _moment(history[0].begun_at), _moment(history[-1].begun_at)
    return f"The last {len(history)} runs, from {first} on the left to {last} on the right. Each row has its own scale."


def _table(
    caption: str,
    columns: tuple[tuple[str, str], ...],
    rows: Iterable[tuple[object, ...]],
    count: int | None = None,
    where: str = "",
) -> Table | None:
    """A table, or None where there is nothing to show; `count` rows there are, and `where` has those left out."""
    kept = tuple(rows)
    more = 0 if count is None else count - len(kept)
    return Table(caption, columns, kept, f"…and {more:,} more: {where}" if more else "") if kept else None


def _share(value: float, most: float) -> float:
    return value / most if most else 0.0
