"""What was measured, what is wanted of it, and how both are shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.api.load import WARM_SECONDS, Load, Measured, Tokens
from benchmarks.api.servers import Side
from benchmarks.goals import Goal

LEAST_RATIO = 0.7
MOST_SPREAD = 3.0
REMEMBERED_SECONDS, SURPLUS_CALLS = 30, 10
"""So long the HTTP API remembers what Clerk says of a member; it reads the keys, too, and anew for a strange one."""
MOST_CONNECTIONS = 16
"""A pool of eight, and what a server does at its start."""


@dataclass(frozen=True)
class Rounds:
    """Both servers with one kind of tokens; the n-th entries were measured one after another."""

    kind: Tokens
    of: Mapping[Side, list[Measured]] = field(default_factory=lambda: {side: [] for side in Side})

    def per_second(self, side: Side) -> float:
        """Requests a second, the median over the rounds."""
        return median(measured.per_second for measured in self.of[side])

    def median(self, side: Side) -> float:
        """Seconds within which half of the requests were answered, the median over the rounds."""
        return median(measured.median for measured in self.of[side])

    def p99(self, side: Side) -> float:
        """Seconds within which 99 of 100 requests were answered, the median over the rounds."""
        return median(measured.p99 for measured in self.of[side])

    def processor(self, side: Side) -> float:
        """Seconds that the server computed for one request, the median over the rounds."""
        return median(measured.processor / measured.requests for measured in self.of[side])

    def ratios(self) -> list[float]:
        """The HTTP API's requests a second by the bare server's of the same round."""
        pairs = zip(self.of[Side.API], self.of[Side.BARE], strict=True)
        return [api.per_second / bare.per_second for api, bare in pairs]

    def spread(self, side: Side) -> float:
        """The 99th percentile by the median, of each round; the median of these."""
        return median(measured.p99 / measured.median for measured in self.of[side])

    def goals(self, members: int, load: Load) -> list[Goal]:
        """How quick the HTTP API is, and that it asks Clerk and PostgreSQL no more often than its members say."""
        inspections = members * (1 + (load.seconds + WARM_SECONDS) // REMEMBERED_SECONDS)
        api = self.of[Side.API]
        return [
            Goal(
                f"{self.kind}: the HTTP API's requests a second by the bare",
                median(self.ratios()),
                at_least=LEAST_RATIO,
            ),
            Goal(
                f"{self.kind}: the HTTP API's 99th percentile by its median", self.spread(Side.API), at_most=MOST_SPREAD
            ),
            Goal(
                f"{self.kind}: calls to Clerk of a measurement",
                max(measured.clerk_calls for measured in api),
                at_most=inspections + SURPLUS_CALLS,
                counts=True,
            ),
            Goal(
                f"{self.kind}: connections to the ledger of a measurement",
                max(measured.connections for measured in api),
                at_most=MOST_CONNECTIONS,
                counts=True,
            ),
        ]


def show(console: Console, found: Sequence[Rounds], load: Load) -> None:
    """A table of each kind of tokens."""
    told = f"{load.generator}, {load.connections} connections, {load.seconds} s a measurement"
    console.print(f"GET /v1/auth/verify, one process of each server; {told}", soft_wrap=True)
    for rounds in found:
        table = Table(title=f"Requests a second, {rounds.kind}", title_justify="left")
        table.add_column("", no_wrap=True)
        for heading in (*Side, "ratio"):
            table.add_column(heading, justify="right", no_wrap=True)
        for number, ratio in enumerate(rounds.ratios()):
            table.add_row(
                f"round {number + 1}", *(f"{rounds.of[side][number].per_second:,.0f}" for side in Side), f"{ratio:.3f}"
            )
        table.add_section()
        table.add_row("median", *(f"{rounds.per_second(side):,.0f}" for side in Side), f"{median(rounds.ratios()):.3f}")
        table.add_row("half within, ms", *(f"{rounds.median(side) * 1e3:.2f}" for side in Side), "")
        table.add_row("99 % within, ms", *(f"{rounds.p99(side) * 1e3:.2f}" for side in Side), "")
        table.add_row("99 % by half", *(f"{rounds.spread(side):.2f}" for side in Side), "")
        table.add_row("computed a request, µs", *(f"{rounds.processor(side) * 1e6:.0f}" for side in Side), "")
        console.print(table)
    console.print()


def as_json(found: Sequence[Rounds], load: Load, goals: Sequence[Goal]) -> dict[str, Any]:
    """Everything for a machine; times in seconds."""
    return {
        "generator": load.generator,
        "connections": load.connections,
        "seconds": load.seconds,
        "tokens": {rounds.kind.name.lower(): _rounds(rounds) for rounds in found},
        "goals": [goal.as_json() for goal in goals],
    }


def _rounds(rounds: Rounds) -> dict[str, Any]:
    sides = {
        side.name.lower(): {
            "requests_per_second": [measured.per_second for measured in rounds.of[side]],
            "median": [measured.median for measured in rounds.of[side]],
            "p99": [measured.p99 for measured in rounds.of[side]],
            "processor_per_request": None if math.isnan(rounds.processor(side)) else rounds.processor(side),
        }
        for side in Side
    }
    return {"sides": sides, "ratios": rounds.ratios(), "ratio": median(rounds.ratios())}
