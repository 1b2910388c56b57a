"""Faults that a stand-in injects on demand: what a test or a demonstration of trouble turns on."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from starlette.responses import Response

from provisioning_pipeline.sandbox.odd_answers import ODD_ANSWERS

FaultKind = Literal["error", "drop", "refuse", "odd", "odd after"]


@dataclass
class ScriptedFault:
    """One fault for a named operation: let `skip` calls pass, then hit `times` of them.

    `error` answers HTTP 500 before anything happened; `drop` lets the effect take place and then cuts the
    connection without an answer; `refuse` answers HTTP 429 with `Retry-After: 1`; `odd` answers what `answer` names
    among `ODD_ANSWERS` before anything happened, `odd after` once the effect took place.
    """

    operation: str
    kind: FaultKind
    times: int = 1
    skip: int = 0
    answer: str = "html"

    def __post_init__(self) -> None:
        if self.answer not in ODD_ANSWERS:
            message = f"no odd answer is called {self.answer}"
            raise TypeError(message)

    def odd_answer(self) -> Response:
        """What is answered in place of the right answer."""
        return ODD_ANSWERS[self.answer].response(self.operation)


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

    def draw(self, operation: str) -> ScriptedFault | None:
        """The fault that this call meets, if any; scripted ones first."""
        fault = self._scripted(operation) or self._drawn(operation)
        if fault:
            self.injected[fault.kind] += 1
        return fault

    def _scripted(self, operation: str) -> ScriptedFault | None:
        for fault in self.scripted:
            if fault.operation != operation or fault.times == 0:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            fault.times -= 1
            return fault
        return None

    def _drawn(self, operation: str) -> ScriptedFault | None:
        roll = self._random.random()
        if roll < self.error_rate:
            return ScriptedFault(operation, "error")
        if roll < self.error_rate + self.drop_rate:
            return ScriptedFault(operation, "drop")
        return None
