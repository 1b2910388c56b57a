"""What was measured, what is wanted of it, and how both are shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal
from benchmarks.noop.sides import Measured, Side

MOST_RATIO = 1.5
LEAST_TENANTS_PER_SECOND = 1000.0
MOST_MEGABYTES = 500.0
SURPLUS_CALLS, SURPLUS_SHARE = 4, 0.01
"""Beyond one call per page: counts of the users, and pages that overlap by one row so that none is skipped."""
SURPLUS_STATEMENTS = SURPLUS_CONNECTIONS = 4
"""Each connection of a pool begins with a statement, and how many are opened depends on who is quicker."""
MOST_STATEMENTS = 80
"""Of a whole run at rest, those for member records aside; each connection's and each transaction's beginning is one."""
_WORKSPACES_PER_STATEMENT = 100
"""Member records are in a schema for each workspace; two statements read those of 200."""


@dataclass(frozen=True)
class Size:
    """How large a fleet is."""

    tenants: int
    memberships: int
    people: int

    def __str__(self) -> str:
        return f"{self.tenants:,} tenants, {self.memberships:,} memberships, {self.people:,} people"


@dataclass
class Fleet:
    """A fleet and what was measured on it; the n-th entries of both sides were measured one after another."""

    size: Size
    rounds: dict[Side, list[Measured]] = field(default_factory=lambda: {side: [] for side in Side})
    calls: dict[Side, Counter[str]] = field(default_factory=dict)

    def seconds(self, side: Side) -> list[float]:
        """Every measurement of one side."""
        return [measured.seconds for measured in self.rounds[side]]

    def processor(self, side: Side) -> float:
        """The median of the seconds that the side computed."""
        return median(measured.processor for measured in self.rounds[side])

    def peak(self, side: Side) -> float:
        """The highest of its peaks, in MB."""
        return max(measured.peak for measured in self.rounds[side]) / 1e6

    def statements(self, side: Side) -> int:
        """SQL statements of a round; the most, if they differ."""
        return max(measured.statements for measured in self.rounds[side])

    def connections(self, side: Side) -> int:
        """Connections to PostgreSQL that a round opened; the most, if they differ."""
        return max(measured.connections for measured in self.rounds[side])

    def ratio(self, side: Side) -> float:
        """The median, over the rounds, of this side's time by the bare time of the same round."""
        pairs = zip(self.seconds(side), self.seconds(Side.BARE), strict=True)
        return median(seconds / bare for seconds, bare in pairs)

    def tenants_per_second(self, side: Side) -> float:
        """By the median of its times."""
        return self.size.tenants / median(self.seconds(side))


def goals(small: Fleet, large: Fleet) -> list[Goal]:
    """All of them are the large fleet's, but that the small one tells what grows."""
    pages, calls = large.calls[Side.BARE].total(), large.calls[Side.RUN].total()
    more_calls = calls - pages
    more_statements = large.statements(Side.RUN) - small.statements(Side.RUN)
    more_connections = large.connections(Side.RUN) - small.connections(Side.RUN)
    return [
        Goal("whole run, times the bare reads", large.ratio(Side.RUN), at_most=MOST_RATIO),
        Goal("tenants a second", large.tenants_per_second(Side.RUN), at_least=LEAST_TENANTS_PER_SECOND),
        Goal("peak memory, MB", large.peak(Side.RUN), at_most=MOST_MEGABYTES),
        Goal("calls beyond one per page", more_calls, at_most=SURPLUS_CALLS + SURPLUS_SHARE * pages, counts=True),
        Goal(
            "SQL statements more than for the small fleet",
            more_statements,
            at_most=SURPLUS_STATEMENTS + (large.size.tenants - small.size.tenants) / _WORKSPACES_PER_STATEMENT,
            counts=True,
        ),
        Goal(
            "SQL statements but for member records",
            large.statements(Side.RUN) - large.size.tenants / _WORKSPACES_PER_STATEMENT,
            at_most=MOST_STATEMENTS,
            counts=True,
        ),
        Goal("connections more than for the small fleet", more_connections, at_most=SURPLUS_CONNECTIONS, counts=True),
    ]


def show_times(console: Console, fleet: Fleet) -> None:
    """The table of the sides."""
    console.print(f"A fleet at rest: {fleet.size}", soft_wrap=True)
    table = Table(title="Seconds until it is known that nothing is to be done", title_justify="left")
    table.add_column("", no_wrap=True)
    for side in Side:
        table.add_column(side, justify="right", no_wrap=True)
    for number, seconds in enumerate(zip(*(fleet.seconds(side) for side in Side), strict=True), start=1):
        table.add_row(f"round {number}", *(f"{one:.2f}" for one in seconds))
    table.add_section()
    table.add_row("median", *(f"{median(fleet.seconds(side)):.2f}" for side in Side))
    table.add_row("by the bare reads' of its round", *(f"{fleet.ratio(side):.2f}" for side in Side))
    table.add_row("computed by the process itself", *(f"{fleet.processor(side):.2f}" for side in Side))
    table.add_row("tenants a second", *(f"{fleet.tenants_per_second(side):,.0f}" for side in Side))
    table.add_row("peak memory, MB", *(f"{fleet.peak(side):,.0f}" for side in Side))
    console.print(table)
    console.print()


def show_calls(console: Console, fleets: Sequence[Fleet]) -> None:
    """The table of calls and statements, by the size of the fleet."""
    table = Table(title="Calls of one round", title_justify="left")
    table.add_column("call", no_wrap=True)
    for fleet in fleets:
        for side in Side:
            table.add_column(f"{side.name.lower()},\n{fleet.size.tenants:,}\ntenants", justify="right", no_wrap=True)
    names = sorted({name for fleet in fleets for calls in fleet.calls.values() for name in calls})
    for name in names:
        table.add_row(name, *(f"{fleet.calls[side][name]:,}" for fleet in fleets for side in Side))
    table.add_row("calls in all", *(f"{fleet.calls[side].total():,}" for fleet in fleets for side in Side))
    table.add_row("SQL statements", *(f"{fleet.statements(side):,}" for fleet in fleets for side in Side))
    table.add_row("connections to PostgreSQL", *(f"{fleet.connections(side):,}" for fleet in fleets for side in Side))
    console.print(table)
    console.print()


def as_json(small: Fleet, large: Fleet, reached: Sequence[Goal]) -> dict[str, Any]:
    """Everything for a machine."""
    return {"small": _fleet(small), "large": _fleet(large), "goals": [goal.as_json() for goal in reached]}


def _fleet(fleet: Fleet) -> Mapping[str, Any]:
    return {
        "tenants": fleet.size.tenants,
        "memberships": fleet.size.memberships,
        "people": fleet.size.people,
        "sides": {
            side.name.lower(): {
                "seconds": fleet.seconds(side),
                "median": median(fleet.seconds(side)),
                "processor": fleet.processor(side),
                "peak_megabytes": fleet.peak(side),
                "ratio": fleet.ratio(side),
                "statements": fleet.statements(side),
                "connections": fleet.connections(side),
                "calls": dict(fleet.calls[side]),
            }
            for side in Side
        },
    }
