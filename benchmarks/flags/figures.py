"""What was measured, what is wanted of it, and how both are shown."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.flags.ways import Observed, Rounds, Way
from benchmarks.goals import Goal

MOST_RATIO = 1.2


def ratio(rounds: Rounds) -> float:
    """The median, over the rounds, of a look's seconds by the bare loop's of the same round."""
    pairs = zip(rounds.seconds[Way.LOOK], rounds.seconds[Way.BARE], strict=True)
    return median(look / bare for look, bare in pairs)


def goals(tenth: Observed, whole: Observed, rounds: Rounds) -> list[Goal]:
    """All of them."""
    more = whole.queries - tenth.queries
    return [
        Goal(
            f"more queries to observe {whole.databases:,} unchanged databases than {tenth.databases:,}",
            more,
            at_most=0,
            counts=True,
        ),
        Goal("unchanged databases looked into", tenth.looked_into + whole.looked_into, at_most=0, counts=True),
        Goal("seconds of a full look by the bare loop's", ratio(rounds), MOST_RATIO),
    ]


def show(console: Console, observed: Sequence[Observed], rounds: Rounds, at_once: int) -> None:
    """The table of observations and the table of full looks."""
    table = Table(title="An observation when nothing changed", title_justify="left")
    for heading in ("databases", "looked into", "queries", "seconds"):
        table.add_column(heading, justify="right")
    for one in observed:
        table.add_row(f"{one.databases:,}", f"{one.looked_into:,}", f"{one.queries:,}", f"{one.seconds:.3f}")
    console.print(table)
    databases = observed[-1].databases
    table = Table(
        title=f"Seconds by round: {databases:,} databases, {at_once} at once, {rounds.messages_per_look} messages each",
        title_justify="left",
    )
    table.add_column("way", no_wrap=True)
    for number in range(1, len(rounds.seconds[Way.BARE]) + 1):
        table.add_column(str(number), justify="right")
    for heading in ("median", "per second", "ratio"):
        table.add_column(heading, justify="right")
    for way, seconds in rounds.seconds.items():
        table.add_row(
            way,
            *(f"{one:.2f}" for one in seconds),
            f"{median(seconds):.2f}",
            f"{databases / median(seconds):,.0f}",
            f"{ratio(rounds):.3f}" if way is Way.LOOK else "",
        )
    console.print(table)
    console.print()


def as_json(observed: Sequence[Observed], rounds: Rounds, reached: Sequence[Goal]) -> dict[str, Any]:
    """Everything for a machine."""
    return {
        "unchanged": [asdict(one) for one in observed],
        "full_look": {
            "messages_per_database": rounds.messages_per_look,
            "seconds": {way.name.lower(): seconds for way, seconds in rounds.seconds.items()},
            "ratio": ratio(rounds),
        },
        "goals": [goal.as_json() for goal in reached],
    }
