"""The report as one HTML page that needs nothing else: no network, no script."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape

from provisioning_pipeline.clients.files import place_at, write_whole
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
    """A text as a page or table shows it: cut, saying so; what would hide in a line or turn it around is escaped."""
    more = len(text) - _MOST_SHOWN
    return unsteered(text) if more <= 0 else f"{unsteered(text[:_MOST_SHOWN])}… ({more:,} more characters)"


def _shown(value: Any) -> Any:
    # what is markup already was made here
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


_MOST_ROWS = 100
_MOST_MEMBERS = _MOST_READY = 500
_MOST_DRIFT = 50
_MOST_TOLD_AT_ONCE, _MOST_GROUPS_AT_ONCE = 6, 3
_MOST_OPEN = 30
_MOST_RUNS = 30
WEB = ("https://", "http://")
_ALL_IN_STATUS = "`provisioning status` lists them all."
_ALL_IN_OUTCOMES = "`reconciliation_outcomes` has them all."
_ALL_IN_LEDGER = "the ledger has them all."
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
class Figure:
    """One figure of a run beside its forecast; `forecast` is None where there was none."""

    name: str
    made: float
    forecast: float | None
    unit: str = ""

    @property
    def difference(self) -> str:
        """By how many percent more or less was needed than forecast; empty when that says nothing."""
        if self.forecast is None:
            return ""
        # of a second or two more a percentage says nothing
        if abs(self.made - self.forecast) < (_CLOSE_SECONDS if self.unit else 0.5):
            return "as forecast"
        if not self.forecast:
            return "none was forecast"
        percent = round(100 * (self.made - self.forecast) / self.forecast)
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
    people: tuple[tuple[str, str, str], ...] = ()
    names: tuple[str, ...] = ()
    message: str = ""
    when: str = ""
    each: Table | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart, made of figures and of words of ours alone, with its figures as a table."""

    title: str
    svg: str
    table: Table


def render(summary: Summary, *, afterwards: bool = False) -> str:
    """The page. Everything that comes from outside is escaped; the same summary gives the same page.

    Args:
        afterwards: it says that it was drawn later than the run, with tenants as they are now.
    """
    history = summary.history[-_MOST_RUNS:]
    return (
        page_environment()
        .get_template("reconciliation.html")
        .render(
            summary=summary,
            afterwards=afterwards,
            begun=_moment(summary.begun_at),
            run_url=summary.run_url if summary.run_url and summary.run_url.startswith(WEB) else None,
            counts=counts(summary),
            groups=groups(summary),
            pictures=pictures(history),
            span=_span(history),
            most_open=_MOST_OPEN,
            **_tables(summary),
        )
    )


def write(summary: Summary, base: str, *, name: str | None = None, readers: Readers = "owner") -> str:
    """Write the page of this run, under its id or another name, for these readers on this machine; its whole path.

    `base` is a folder, or a URL that fsspec knows.

    Raises:
        NotWritten: when that place cannot be written to.
    """
    path = place_at(base) / file_name(name or summary.run_id)
    write_whole(path, render(summary).encode(), setting="PROVISIONING_REPORT_PATH", readers=readers)
    return str(path)


def file_name(run_id: str) -> str:
    """What the page of a run is called."""
    return f"reconciliation-{run_id}.html"


def counts(summary: Summary) -> list[Count]:
    """How many tenants are in each state, and how that changed since the last run; excluded tenants included."""
    before = summary.previous
    found = [
        Count(state, name, now, None if earlier is None else now - earlier)
        for state, name in _STATES.items()
        for now, earlier in ((summary.count(state), getattr(before, state, None)),)
    ]
    return [count for count in found if count.state != "aside" or count.number or count.change]


def forecast_against_made(summary: Summary) -> list[Figure]:
    """What the run needed beside what was forecast."""
    forecast = summary.forecast
    return [
        Figure("Clerk calls", summary.clerk_calls, forecast.clerk_calls if forecast else None),
        Figure("Twenty calls", summary.twenty_calls, forecast.twenty_calls if forecast else None),
        Figure("Time", summary.seconds, forecast.seconds if forecast else None, " s"),
    ]


def groups(summary: Summary) -> list[Group]:
    """Tenants that are not ready, by reason: with messages while they are few, else names and messages apart."""
    day = (summary.begun_at + timedelta(seconds=summary.seconds)).astimezone(UTC).date()
    at_once = len(summary.unwell) <= _MOST_TOLD_AT_ONCE and len(summary.groups) <= _MOST_GROUPS_AT_ONCE
    found: list[Group] = []
    for group in summary.groups:
        shown_group = Group(group.reason, group.next_step, len(group.lines))
        if at_once:
            people = tuple((line.slug, line.message, _when([line], day)) for line in group.lines)
            found.append(replace(shown_group, people=people))
        else:
            names, when = tuple(line.slug for line in group.lines), _when(group.lines, day)
            found.append(replace(shown_group, names=names, message=group.message or "", when=when, each=_each(group)))
    return found


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
    return _table(
        f"What happened to each tenant: {group.reason}",
        (("Tenant", "name"), ("What happened and what to do", "message"), ("Since", "short"), ("Tried again", "short")),
        [(line.slug, line.message, _moment(line.since), _moment(line.look_again_at)) for line in group.lines],
        _MOST_ROWS,
        "`provisioning status`",
    )


def _tables(summary: Summary) -> dict[str, Table | None]:
    """The tables by the names that the template has for them; None for one that would have no row."""
    done = sorted(summary.done_by_change, key=lambda row: (-row[2], row[0]))
    causes, slowest, forecast = summary.drift_by_cause, summary.slowest, summary.forecast
    return {
        "done": _table(
            "What was done, the slowest first",
            (("Change", "name"), ("Times", "number"), ("Seconds in all", "number"), ("", "bar")),
            [(change, f"{count:,}", f"{seconds:,.1f}", seconds) for change, count, seconds in done],
        ),
        "failures": _table(
            "What was tried and did not succeed",
            (("Tenant", "name"), ("Change", "short"), ("Why", "message")),
            [(line.tenant, line.change, line.detail) for line in summary.failures],
            _MOST_ROWS,
            _ALL_IN_OUTCOMES,
        ),
        "away": _table(
            "Who was removed or demoted",
            (("Tenant", "name"), ("Change", "short"), ("Why, and the proof", "message")),
            [(line.tenant, line.change, line.detail) for line in summary.taken_away],
            _MOST_MEMBERS,
            _ALL_IN_OUTCOMES,
        ),
        "reported": _table(
            "Members whose accounts prove nothing",
            (("Tenant", "name"), ("Who, since when, and how to settle it", "message")),
            [(line.slug, line.reported_message) for line in summary.reported],
            _MOST_ROWS,
            _ALL_IN_STATUS,
        ),
        "leaving": _table(
            "Tenants that are in doubt, offboarding or suspended",
            (("Tenant", "name"), ("Lifecycle", "short"), ("By what evidence", "message")),
            [(line.slug, line.lifecycle_in_words, line.lifecycle_evidence) for line in summary.leaving],
            _MOST_ROWS,
            _ALL_IN_STATUS,
        ),
        "databases": _table(
            "What is to be looked at in tenants' own databases",
            (("Tenant", "name"), ("Reason", ""), ("What happened and what to do", "message")),
            [(line.slug, line.database_reason, line.database_message) for line in summary.databases],
            _MOST_ROWS,
            _ALL_IN_STATUS,
        ),
        "causes": _table(
            "Differences by cause",
            (("Cause", "name"), ("Who", ""), ("Differences", "number"), ("", "bar")),
            [(cause, who, f"{count:,}", count) for cause, who, count in causes],
        ),
        "drift": _table(
            "Differences one by one",
            (("Tenant", "name"), ("Cause", ""), ("Who", ""), ("What differed", "message")),
            [(line.database_name, line.cause, line.who, line.detail) for line in summary.drift],
            _MOST_DRIFT,
            _ALL_IN_LEDGER,
        ),
        "phases": _table(
            "Seconds per phase",
            (("Phase", "name"), ("Seconds", "number"), ("", "bar")),
            [(phase, f"{seconds:,.1f}", seconds) for phase, seconds in summary.phases],
        ),
        "calls": _calls(summary),
        "operations": _table(
            "Calls by operation",
            (("Operation", "name"), ("Calls", "number")),
            [(name, f"{count:,}") for name, count in summary.calls.items()],
        ),
        "aging": _table(
            "Workspaces that Twenty deletes soon",
            (("Tenant", "name"), ("Workspace", "code"), ("Created", "short")),
            [(each.slug, each.workspace_id, _moment(each.created_at)) for each in (forecast.aging if forecast else ())],
            _MOST_ROWS,
            _ALL_IN_LEDGER,
        ),
        "cut_names": _table(
            "Subdomains that differ from slugs",
            (("Tenant", "name"), ("Subdomain", "code")),
            [(each.slug, each.subdomain) for each in (forecast.cut_names if forecast else ())],
            _MOST_ROWS,
            _ALL_IN_LEDGER,
        ),
        "slowest": _table(
            "The slowest tenants",
            (("Tenant", "name"), ("Longest change", ""), ("Seconds", "number"), ("", "bar")),
            [(slow.tenant, slow.longest, f"{slow.seconds:,.1f}", slow.seconds) for slow in slowest],
        ),
        "others": _table(
            "Tenants that are ready or excluded",
            (("Tenant", "name"), ("State", ""), ("Server", ""), ("Workspace", "code"), ("Admin", "")),
            [_other(line) for line in summary.tenants if line.state != "unwell"],
            _MOST_READY,
            _ALL_IN_STATUS,
        ),
        "versions": _versions(summary),
        "settings": _table("Settings", (("Setting", "name"), ("Value", "code")), list(summary.settings.items())),
    }


def _calls(summary: Summary) -> Table | None:
    """Calls and time against the limits and the forecast; columns without any figure are left out."""
    if not (summary.calls or summary.clerk_calls or summary.twenty_calls or summary.forecast):
        return None
    allowed = summary.clerk_calls_allowed * summary.seconds / 10
    figures = forecast_against_made(summary)
    columns: list[tuple[str, str]] = [("", "name"), ("This run", "number")]
    rows: list[tuple[Any, ...]] = [(each.name, each.told(each.made)) for each in figures]
    if summary.forecast:
        columns += [("Forecast", "number"), ("Difference", "number")]
        rows = [(*row, each.told(each.forecast), each.difference) for row, each in zip(rows, figures, strict=True)]
    if allowed:
        columns += [("The limit lets through", "number"), ("Used of it", "number")]
        used = (f"{allowed:,.0f}", f"{100 * summary.clerk_calls / allowed:,.0f} %")
        rows = [(*rows[0], *used), *((*row, "", "") for row in rows[1:])]
    return _table("Calls and time", tuple(columns), rows)


def _other(line: TenantLine) -> tuple[str, ...]:
    state = line.state if line.state == "ready" else line.reason
    return line.slug, state, line.server or "", line.workspace_id or "", line.admin_email or ""


def _versions(summary: Summary) -> Table | None:
    versions = summary.versions
    if versions is None:
        return None
    rows = [("provisioning-pipeline", versions.program), ("Dagster", versions.dagster), ("Python", versions.python)]
    rows += [(f"Twenty server {name}", version or "unknown") for name, version in versions.servers.items()]
    return _table("Versions", (("Program", "name"), ("Version", "")), rows)


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
    rows: Sequence[tuple[Any, ...]],
    most: int | None = None,
    where: str = "",
) -> Table | None:
    """A table of at most so many rows, or None where there is none; `where` has those that are left out.

    A figure in a column of bars, always the last one, becomes its share of the largest there.
    """
    if not rows:
        return None
    drawn, more = tuple(rows[:most]), len(rows) - len(rows[:most])
    if columns[-1][1] == "bar":
        largest = max(row[-1] for row in rows) or 1
        drawn = tuple((*row[:-1], row[-1] / largest) for row in drawn)
    return Table(caption, columns, drawn, f"…and {more:,} more: {where}" if more else "")
