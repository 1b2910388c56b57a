"""What a benchmark is to reach, and how that is shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console


@dataclass(frozen=True)
class Goal:
    """One goal and whether it is met. Exactly one of the two limits is given."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

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


def show_goals(console: Console, goals: Sequence[Goal]) -> None:
    """Each goal in a line."""
    for goal in goals:
        verdict = "[green]met[/]" if goal.met else "[red]MISSED[/]"
        console.print(f"{verdict}  {goal.name}: {goal.value:,.3f}, {goal.limit}", soft_wrap=True)
