"""What a benchmark is to reach, and how that is shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import typer
from rich.console import Console

OnlyCounts = Annotated[
    bool,
    typer.Option(
        "--only-counts",
        help="Judge calls, statements and connections alone: for a machine that has other work.",
    ),
]


@dataclass(frozen=True)
class Goal:
    """One goal and whether it is met. Exactly one of the two limits is given.

    Args:
        counts: the value is a number of calls, statements or connections, which no other work on the machine changes.
        judged: it decides the exit code.
    """

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None
    counts: bool = False
    judged: bool = True

    @property
    def met(self) -> bool:
        """Whether the value is within the limit."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def limit(self) -> str:
        """The limit in words."""
        return f"at most {self.at_most:,.3f}" if self.at_most is not None else f"at least {self.at_least:,.3f}"

    def as_json(self) -> dict[str, Any]:
        """For a machine."""
        return asdict(self) | {"met": self.met}


def exit_code(goals: Sequence[Goal]) -> int:
    """1 when one that is judged is missed."""
    return 0 if all(goal.met for goal in goals if goal.judged) else 1


def judged(goals: Sequence[Goal], *, only_counts: bool) -> list[Goal]:
    """The goals, of which only those that count are judged if that is wanted."""
    return [replace(goal, judged=goal.counts or not only_counts) for goal in goals]


def show_goals(console: Console, goals: Sequence[Goal]) -> None:
    """Each goal in a line."""
    for goal in goals:
        verdict = "[green]met[/]" if goal.met else "[red]MISSED[/]"
        if not goal.judged:
            verdict = "[dim]not judged[/]"
        console.print(f"{verdict}  {goal.name}: {goal.value:,.3f}, {goal.limit}", soft_wrap=True)
