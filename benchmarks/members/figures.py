"""What was measured, what is wanted of it, and how both are shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal
from benchmarks.members.ways import Measured, Way

LEAST_RATIO = 0.95
SURPLUS_CALLS = 2
"""Clerk's users are counted before and after they are read."""
LAST_LOOK = 2
"""Of a tenant: before anybody gets access, Clerk is asked once more for its members and those who are to come in."""


@dataclass(frozen=True)
class Rounds:
    """Both ways, round after round; the n-th entries were measured one after another."""

    of: Mapping[Way, Sequence[Measured]]
    tenants: int

    def seconds(self, way: Way) -> list[float]:
        """Every measurement of one way."""
        return [measured.seconds for measured in self.of[way]]

    def members_per_second(self, way: Way) -> float:
        """The median."""
        return median(measured.members_per_second for measured in self.of[way])

    def ratio(self) -> float:
        """The median, over the rounds, of the bare time by the pipeline's time of the same round."""
        pairs = zip(self.seconds(Way.BARE), self.seconds(Way.PIPELINE), strict=True)
        return median(bare / pipeline for bare, pipeline in pairs)

    def goals(self) -> list[Goal]:
        """The time beside the bare calls', and the calls that the bare sequence does without."""
        return [
            Goal("bare seconds by the pipeline's", self.ratio(), at_least=LEAST_RATIO),
            Goal(
                "calls beyond the bare ones",
                sum(self.surplus_calls().values()),
                at_most=SURPLUS_CALLS + LAST_LOOK * self.tenants,
                counts=True,
            ),
        ]

    def surplus_calls(self) -> dict[str, int]:
        """What the pipeline called more often than the bare sequence, or less often: negative."""
        surplus = Counter(self.of[Way.PIPELINE][0].calls)
        surplus.subtract(self.of[Way.BARE][0].calls)
        return {name: count for name, count in surplus.items() if count}


def show(console: Console, rounds: Rounds, new: Measured, activation_seconds: float) -> None:
    """The table of both ways, the difference of their calls, and the run in which everything is new."""
    members = rounds.of[Way.BARE][0].members
    table = Table(title=f"Seconds for {members:,} members of ready workspaces", title_justify="left")
    table.add_column("way", no_wrap=True)
    for number in range(1, len(rounds.of[Way.BARE]) + 1):
        table.add_column(f"round {number}", justify="right")
    for heading in ("median", "members/s", "ratio"):
        table.add_column(heading, justify="right")
    for way in Way:
        seconds = rounds.seconds(way)
        table.add_row(
            way,
            *(f"{one:.2f}" for one in seconds),
            f"{median(seconds):.2f}",
            f"{rounds.members_per_second(way):.1f}",
            f"{rounds.ratio():.3f}" if way is Way.PIPELINE else "",
        )
    console.print(table)
    told = ", ".join(f"{name} {count:+}" for name, count in sorted(rounds.surplus_calls().items()))
    console.print(f"Calls of the pipeline beside the bare ones: {told or 'the same'}.", soft_wrap=True)
    console.print(
        f"Everything new, with an activation of {activation_seconds:g} s: {new.members:,} members in "
        f"{new.seconds:.2f} s, {new.members_per_second:.1f} a second.",
        soft_wrap=True,
    )
    console.print()


def as_json(rounds: Rounds, new: Measured, reached: Sequence[Goal]) -> dict[str, Any]:
    """Everything for a machine."""
    return {
        "ways": {
            way.name.lower(): {
                "seconds": rounds.seconds(way),
                "median": median(rounds.seconds(way)),
                "members_per_second": rounds.members_per_second(way),
                "calls": dict(rounds.of[way][0].calls),
            }
            for way in Way
        },
        "ratio": rounds.ratio(),
        "surplus_calls": rounds.surplus_calls(),
        "everything_new": {
            "seconds": new.seconds,
            "members": new.members,
            "members_per_second": new.members_per_second,
            "calls": dict(new.calls),
        },
        "goals": [goal.as_json() for goal in reached],
    }
