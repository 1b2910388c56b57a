"""Faults that a stand-in injects on demand: what a test or a demonstration of trouble turns on."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal["error", "drop", "refuse"]


@dataclass
class ScriptedFault:
    """One fault for a named operation: let `skip` calls pass, then hit `times` of them.

    `error` answers HTTP 500 before anything happened; `drop` lets the effect take place and then cuts the
    connection without an answer; `refuse` answers HTTP 429 with `Retry-After: 1`.
    """

    operation: str
    kind: FaultKind
    times: int = 1
    skip: int = 0


@dataclass
class Faults:
    """The faults of one stand-in. Everything off by default.

    Args:
        latency_seconds: added to every answer.
        hanging: a Twenty whose Redis is away (measured on 2.21.0). `/healthz`, probes and sign-ins answer; what has
            a token, the exchange of a login token and a join take calls and do not answer until this is off again.
            What has a token is carried out then, even if its caller has long gone; a join is, at once.
        error_rate: share (0 to 1) of calls answered with HTTP 500 before their effect.
        drop_rate: share (0 to 1) of calls whose answer is lost after their effect took place.
        scripted: faults for named operations, used up in order.
        seed: makes the random ones repeatable.
    """

    latency_seconds: float = 0.0
    hanging: bool = False
    error_rate: float = 0.0
    drop_rate: float = 0.0
    scripted: list[ScriptedFault] = field(default_factory=list)
    seed: int = 0
    injected: Counter[FaultKind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self, operation: str) -> FaultKind | None:
        """The fault that this call meets, if any; scripted ones first."""
        kind = self._scripted(operation) or self._drawn()
        if kind:
            self.injected[kind] += 1
        return kind

    def _scripted(self, operation: str) -> FaultKind | None:
        for fault in self.scripted:
            if fault.operation != operation or fault.times == 0:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            fault.times -= 1
            return fault.kind
        return None

    def _drawn(self) -> FaultKind | None:
        roll = self._random.random()
        if roll < self.error_rate:
            return "error"
        if roll < self.error_rate + self.drop_rate:
            return "drop"
        return None
