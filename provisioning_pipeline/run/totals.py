"""The figures of a run or of a part of it, which add up."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from provisioning_pipeline.steps import STEPS

OBSERVING: Final = "observe and decide"
MAKING_READY: Final = "make servers ready"
PHASES: tuple[str, ...] = (OBSERVING, MAKING_READY, *(step.name for step in STEPS))
"""What a run spends its time on, in order."""


@dataclass
class Totals:
    """Small, summable figures of a run or of a part of it."""

    worked_on: int = 0
    failed: int = 0
    actions: int = 0
    mutating_calls: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    clerk_calls: int = 0
    twenty_calls: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds, wall-clock for reading and making servers ready, summed over tenants for steps."""
    defects: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    no_server_usable: bool = False

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            worked_on=self.worked_on + other.worked_on,
            failed=self.failed + other.failed,
            actions=self.actions + other.actions,
            mutating_calls=self.mutating_calls + other.mutating_calls,
            calls=self.calls + other.calls,
            clerk_calls=self.clerk_calls + other.clerk_calls,
            twenty_calls=self.twenty_calls + other.twenty_calls,
            phases={
                name: self.phases.get(name, 0.0) + other.phases.get(name, 0.0)
                for name in (*self.phases, *(name for name in other.phases if name not in self.phases))
            },
            defects=self.defects + other.defects,
            refusals=list(dict.fromkeys(self.refusals + other.refusals)),
            no_server_usable=self.no_server_usable or other.no_server_usable,
        )
