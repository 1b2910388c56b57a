"""Draws the script of an episode: pure, and the same for the same seed and number on every machine.

An action names what happens; whom it happens to is a number between 0 and 1, which the fleet turns into one of the
tenants or people that are there at that moment.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

EPISODES_PER_FLEET = 10
"""A fleet lives through so many episodes, so that faults add up; then a new one begins."""

RUNS: Mapping[str, int] = {
    "apply": 10,
    "apply one tenant": 4,
    "apply, killed at a boundary": 12,
    "apply, killed at a moment": 8,
    "apply, terminated": 4,
    "two applies at once": 4,
    "plan": 1,
    "verify": 1,
}
"""What starts a run of the program, by weight. Each goes on while the next actions happen."""

REQUESTS: Mapping[str, int] = {"put tenant": 3, "sign in": 5, "kill serve": 2}

CHANGES: Mapping[str, int] = {
    # at Clerk
    "member added": 5,
    "member of another tenant added": 2,
    "member removed": 5,
    "member removed and back": 4,
    "member back": 4,
    "role changed": 5,
    "admin replaced": 4,
    "e-mail changed": 1,
    "e-mail changed back": 3,
    "user banned": 2,
    "user unbanned": 3,
    "user deleted": 2,
    "organization renamed": 1,
    "organization deleted": 1,
    # in Twenty
    "account removed in Twenty": 3,
    "role changed in Twenty": 4,
    "member record deleted": 3,
    "default role changed": 2,
    "workspace suspended": 1,
    "workspace active again": 3,
    "wizard set again": 5,
    "stranger joins": 2,
    "invitation sent": 1,
    "invite link closed": 1,
    "address changed in Twenty": 1,
    # in the registry and the cluster
    "tenant added": 4,
    "tenant suspended": 3,
    "tenant active again": 4,
    "row deleted": 2,
    "row restored": 4,
    "table emptied and restored": 1,
    "status set back": 2,
    "organization changed": 1,
    "database without a row": 1,
    "row without a database": 1,
    "half-made database": 1,
    "database dropped": 1,
}

TROUBLES: Mapping[str, int] = {
    "trouble at Twenty": 14,
    "trouble at Clerk": 8,
    "Twenty hangs": 1,
    "Twenty restarts": 2,
    "Postgres restarts": 2,
    "sessions terminated": 3,
    "lock sessions terminated": 3,
}

PUT_RIGHT = "all put right"
"""Somebody sees to everything that needs a person. Two in five begin with it, else fleets would end up idle."""

_KINDS = {**RUNS, **REQUESTS, **CHANGES, **TROUBLES}
KINDS = (*_KINDS, PUT_RIGHT)
POLICIES = ("remove", "remove", "report", "demote")
"""What a fleet's settings say of members who are gone."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that happens.

    Args:
        kind: what, one of `KINDS`.
        tenant, person, choice: numbers between 0 and 1 that say which of those that are there.
        pause: seconds to wait before it, so that it falls into the middle of a run.
    """

    kind: str
    tenant: float
    person: float
    choice: float
    pause: float

    def __str__(self) -> str:
        return f"{self.kind} ({self.tenant:.3f} {self.person:.3f} {self.choice:.3f}) after {self.pause:.2f} s"


@dataclass(frozen=True, slots=True)
class FleetScript:
    """How a fleet begins: so many tenants with so many members, and its policies."""

    number: int
    tenants: int
    members: int
    gone: str
    everyone: bool


@dataclass(frozen=True, slots=True)
class Episode:
    """What happens in one episode, in order."""

    seed: int
    number: int
    actions: tuple[Action, ...]

    @property
    def fleet(self) -> int:
        """The number of the fleet that it happens to."""
        return self.number // EPISODES_PER_FLEET


def draw_fleet(seed: int, number: int) -> FleetScript:
    """The fleet of this number."""
    draw = random.Random(f"{seed} fleet {number}")
    return FleetScript(
        number, draw.randint(3, 5), draw.randint(2, 4), draw.choice(POLICIES), everyone=draw.random() < 0.3
    )


def draw_episode(seed: int, number: int) -> Episode:
    """The script of this number: four to twelve actions, and a run among the first of them."""
    draw = random.Random(f"{seed} episode {number}")
    kinds = draw.choices(list(_KINDS), list(_KINDS.values()), k=draw.randint(3, 11))
    kinds.insert(draw.randint(0, min(2, len(kinds))), draw.choices(list(RUNS), list(RUNS.values()))[0])
    if draw.random() < 0.4:
        kinds.insert(0, PUT_RIGHT)
    return Episode(
        seed,
        number,
        tuple(
            Action(kind, draw.random(), draw.random(), draw.random(), round(draw.uniform(0, 0.25), 3)) for kind in kinds
        ),
    )
