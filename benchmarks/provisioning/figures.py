"""What was measured, what is wanted of it, and how both are shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal
from benchmarks.provisioning.fleets import Fleet
from benchmarks.provisioning.ways import Measured, Way
from provisioning_pipeline.clients.twenty import operations

MOST_RATIO = {Way.PIPELINE: 1.05, Way.DAGSTER: 1.2}
NOISE_SHARE = 0.15
NOISE_SECONDS = 0.05
NOISE_COUNT = 4
"""How many connections a pool opens depends on who is quicker, and each begins with a statement."""
SURPLUS_CALLS = 4
"""Of a run, however many tenants: Clerk's users are counted, and the service account signs in to read the contract."""
LAST_LOOK = 2
"""Of a tenant: before anybody gets access, Clerk is asked once more for its members and those who are to come in."""


@dataclass(frozen=True)
class Ways:
    """The three ways, round after round; the n-th entries of all ways were measured one after another."""

    rounds: Mapping[Way, Sequence[Measured]]
    tenants: int

    def seconds(self, way: Way) -> list[float]:
        """Every measurement of one way."""
        return [measured.seconds for measured in self.rounds[way]]

    def ratio(self, way: Way) -> float:
        """The median, over the rounds, of this way's time by the bare time of the same round."""
        pairs = zip(self.seconds(way), self.seconds(Way.BARE), strict=True)
        return median(seconds / bare for seconds, bare in pairs)

    def goals(self) -> list[Goal]:
        """The ratios, and the calls that the bare sequence does without."""
        ratios = [Goal(f"{way}, times the bare calls", self.ratio(way), most) for way, most in MOST_RATIO.items()]
        calls = [
            Goal(
                f"{way}, calls beyond the bare ones",
                sum(self.surplus_calls(way).values()),
                at_most=SURPLUS_CALLS + LAST_LOOK * self.tenants,
                counts=True,
            )
            for way in MOST_RATIO
        ]
        return [*ratios, *calls]

    def surplus_calls(self, way: Way) -> dict[str, int]:
        """What this way called more often (or less often: negative) than the bare sequence, probes left out.

        The pipeline sends each operation once as a contract probe, which runs nothing. A stand-in that counts probes
        counts each operation once more.
        """
        one, bare = self.rounds[way][0].calls, self.rounds[Way.BARE][0].calls
        surplus = Counter(one)
        surplus.subtract(bare)
        if surplus[operations.IMPERSONATE.name]:  # neither way impersonates anybody here: this is a probe
            surplus.subtract(operation.name for operation in operations.ALL)
        return {name: count for name, count in surplus.items() if count}


def growth_goals(small: Fleet, large: Fleet) -> list[Goal]:
    """What a new tenant costs more beside the large fleet.

    Seconds are the median difference between the fleets, measured in turns, within 15 % and 50 ms of the small fleet's
    median.
    """
    growth = median(b - a for a, b in zip(small.first_call, large.first_call, strict=True))
    noise = NOISE_SHARE * median(small.first_call) + NOISE_SECONDS
    sizes = f"from {small.databases} to {large.databases:,}"

    def more(what: str, fewest: int, most: int) -> Goal:
        return Goal(f"more {what} for a new tenant {sizes}", most - fewest, at_most=NOISE_COUNT, counts=True)

    return [
        Goal(f"growth of the time to the first call {sizes}", growth, noise),
        more("calls", min(small.calls), max(large.calls)),
        more("statements", min(one.statements for one in small.sent), max(one.statements for one in large.sent)),
        more("connections", min(one.connections for one in small.sent), max(one.connections for one in large.sent)),
    ]


def show_ways(console: Console, ways: Ways, *, tenants: int, concurrency: int, activation_seconds: float) -> None:
    """The table of the three ways."""
    table = Table(
        title=f"Seconds for {tenants} new tenants, {concurrency} at once, activation {activation_seconds:g} s",
        title_justify="left",
    )
    table.add_column("way", no_wrap=True)
    for number in range(1, len(ways.rounds[Way.BARE]) + 1):
        table.add_column(f"round {number}", justify="right")
    for heading in ("median", "ratio", "goal"):
        table.add_column(heading, justify="right")
    for way in Way:
        seconds = ways.seconds(way)
        most = MOST_RATIO.get(way)
        table.add_row(
            way,
            *(f"{one:.2f}" for one in seconds),
            f"{median(seconds):.2f}",
            f"{ways.ratio(way):.3f}",
            f"≤ {most:g}" if most else "",
        )
    console.print(table)
    for way in MOST_RATIO:
        surplus = ways.surplus_calls(way)
        told = ", ".join(f"{name} {count:+}" for name, count in sorted(surplus.items()))
        console.print(
            f"Calls of the {way} beside the bare ones, contract probes left out: {told or 'the same'}.", soft_wrap=True
        )
    console.print()


def show_fleets(console: Console, small: Fleet, large: Fleet) -> None:
    """The table of the two fleets."""
    table = Table(title="Seconds from CREATE DATABASE", title_justify="left")
    for heading in ("databases", "to the first call: median", "min to max", "to a ready tenant: median"):
        table.add_column(heading, justify="right")
    for fleet in (small, large):
        table.add_row(
            f"{fleet.databases:,}",
            f"{median(fleet.first_call):.3f}",
            f"{min(fleet.first_call):.3f} to {max(fleet.first_call):.3f}",
            f"{median(fleet.whole_run):.2f}",
        )
    console.print(table)
    ratio = median(large.first_call) / median(small.first_call)
    console.print(
        f"Ratio of the medians to the first call: {ratio:.2f}, {len(small.first_call)} tenants per fleet.",
        soft_wrap=True,
    )
    console.print(
        f"Noise is {NOISE_SHARE:.0%} of the small fleet's median and {NOISE_SECONDS * 1000:g} ms; growth is the median "
        "difference of neighbouring measurements.",
        soft_wrap=True,
    )
    console.print()


def as_json(ways: Ways | None, fleets: tuple[Fleet, Fleet] | None, goals: Sequence[Goal]) -> dict[str, Any]:
    """Everything for a machine."""
    return {
        "ways": {
            way.name.lower(): {
                "seconds": ways.seconds(way),
                "median": median(ways.seconds(way)),
                "ratio": ways.ratio(way),
                "calls": dict(ways.rounds[way][0].calls),
                "surplus_calls": ways.surplus_calls(way) if way is not Way.BARE else {},
            }
            for way in Way
        }
        if ways
        else None,
        "fleets": [asdict(fleet) for fleet in fleets] if fleets else None,
        "goals": [goal.as_json() for goal in goals],
    }
