"""What a Twenty server has of that which we use: its contract; and whether a server with it may be written to."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import TypeAdapter

from provisioning_pipeline.model.tenant import TenantPlan

_FINGERPRINT_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Onboarding:
    """What a server says about its wizard: the values of `OnboardingStatus`, and the mutations that end a step."""

    statuses: frozenset[str]
    mutations: frozenset[str]


@dataclass(frozen=True, slots=True)
class Contract:
    """What one server has of that which we use.

    Args:
        operations: the documents, of those that we send, that the server takes as valid.
        columns: `table.column` of schema core → kind of its values, of those columns that we read.
        activation_statuses: what `core.workspace."activationStatus"` may hold; empty where that is plain text.
        onboarding: None where we could not ask: Twenty answers only a member of a workspace.
        lacks: what the server says that it lacks for our other operations, as `Type.field`.
    """

    operations: frozenset[str]
    columns: Mapping[str, str]
    activation_statuses: frozenset[str]
    onboarding: Onboarding | None = None
    lacks: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The same for the same contract, and short enough to be read aloud."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_LENGTH]

    def agrees_with(self, other: "Contract") -> bool:
        """Whether nothing that was read of both is otherwise."""
        if self.onboarding is None or other.onboarding is None:
            return replace(self, onboarding=None) == replace(other, onboarding=None)
        return self == other

    def as_json(self) -> dict[str, Any]:
        """The contract as the ledger keeps it."""
        onboarding = self.onboarding and {
            "statuses": sorted(self.onboarding.statuses),
            "mutations": sorted(self.onboarding.mutations),
        }
        return {
            "operations": sorted(self.operations),
            "lacks": sorted(self.lacks),
            "columns": dict(sorted(self.columns.items())),
            "activation_statuses": sorted(self.activation_statuses),
            "onboarding": onboarding,
        }


class Standing(StrEnum):
    """How what was seen stands to what was expected."""

    HOLDS = "holds"
    """As expected."""
    DIFFERS = "differs"
    """What this program needs holds; the rest is otherwise than on the version that was measured."""
    FAILS = "fails"
    """What this program relies on does not hold there."""
    BLOCKED = "blocked"
    """It could not be looked at, because something before it failed."""
    UNSEEN = "unseen"
    """There is no way to see it there; the report says why."""


CLERK: Final = "Clerk"
"""Topic of the behaviours that are Clerk's; all others are the server's."""
_SPOIL = frozenset({Standing.FAILS, Standing.BLOCKED})
_NOT_SEEN = frozenset({Standing.UNSEEN, Standing.BLOCKED})


@dataclass(frozen=True, slots=True)
class Observation:
    """One behaviour: what it is about, what this program expects, and what was seen."""

    topic: str
    behaviour: str
    expected: str
    seen: str
    standing: Standing
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One moment at which a run was killed.

    Args:
        moment: where, for example `after signUpInNewWorkspace`.
        converges: the next run came to the same end as an undisturbed run.
        seen: in what the ends differ, or how the next run went.
    """

    moment: str
    converges: bool
    seen: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """Everything that one certification of one server saw.

    Args:
        server: its name in the settings, with `base_url` and the `version` that it reports; None: it reports none.
        contract: what it has of that which we use; None: it could not be read.
        began_at: when, by this machine's clock; `seconds`: how long it took.
        not_looked_at: what this certificate says nothing about, each with why.
        cleaning: what was removed and restored at the end, each in a sentence.
        left_behind: what could not be removed; the next start tries again.
        stopped: why it ended early; None: it went through. One that ended early is not kept.
        planned: how many crash points there are; None: that did not become known.
    """

    server: str
    base_url: str
    version: str | None
    contract: Contract | None
    began_at: datetime
    seconds: float
    observations: tuple[Observation, ...]
    crash_points: tuple[CrashPoint, ...]
    not_looked_at: tuple[str, ...]
    cleaning: tuple[str, ...]
    left_behind: tuple[str, ...]
    stopped: str | None = None
    planned: int | None = None

    @property
    def holds(self) -> bool:
        """Everything that was looked at holds, nothing was cut short, and nothing was left behind."""
        return (
            self.stopped is None
            and not self.left_behind
            and not self.broken
            and all(point.converges for point in self.crash_points)
        )

    @property
    def broken(self) -> tuple[Observation, ...]:
        """The behaviours that do not hold, and those that could not be looked at because of them."""
        return tuple(seen for seen in self.observations if seen.standing in _SPOIL)

    def count(self, standing: Standing) -> int:
        """How many behaviours stand like this."""
        return sum(seen.standing is standing for seen in self.observations)

    @property
    def looked_at(self) -> int:
        """How many behaviours of the server were seen, however they stand."""
        return sum(seen.topic != CLERK and seen.standing not in _NOT_SEEN for seen in self.observations)

    @property
    def looked_at_clerk(self) -> int:
        """How many behaviours of Clerk were seen, however they stand."""
        return sum(seen.topic == CLERK and seen.standing not in _NOT_SEEN for seen in self.observations)

    @property
    def crashes(self) -> str:
        """The crash points in one line."""
        if not self.crash_points:
            return "No crash point was tried."
        tried, converge = len(self.crash_points), sum(point.converges for point in self.crash_points)
        if tried == self.planned:
            return f"{converge} of {tried} crash points converge."
        if self.planned is None:
            return f"{tried} crash points were tried, of a number that was not known yet; {converge} of those converge."
        return f"{tried} of {self.planned} crash points were tried; {converge} of those converge."

    @property
    def on(self) -> str:
        """What was certified, for people."""
        return self.version or "a version that it does not report"

    @property
    def in_short(self) -> str:
        """The certificate in one clause."""
        said = "certified" if self.holds else "failed certification"
        return (
            f"{said} on {self.on}, {self.looked_at} behaviours, {len(self.crash_points)} crash points, "
            f"{self.began_at:%Y-%m-%d}"
        )

    @property
    def verdict(self) -> str:
        """The certificate in a sentence or two, for a person."""
        name = f'Twenty server "{self.server}" ({self.on})'
        if self.holds:
            clerk = f", and {self.looked_at_clerk} of Clerk" if self.looked_at_clerk else ""
            differ = self.count(Standing.DIFFERS)
            noted = f" {differ} differ from what was measured, in ways that do not matter here." if differ else ""
            holds = f"{self.looked_at} behaviours hold{clerk}"
            return f"{name} does what this program relies on: {holds}.{noted} {self.crashes}"
        told = [self.stopped, "The ledger keeps no certificate of this."] if self.stopped else []
        fails = [seen.behaviour for seen in self.observations if seen.standing is Standing.FAILS]
        blocked = self.count(Standing.BLOCKED)
        if fails:
            told.append(
                f"{len(fails)} of {self.looked_at + self.looked_at_clerk} behaviours do not hold: {'; '.join(fails)}."
            )
        if blocked:
            told.append(f"{blocked} could not be looked at because of trouble before them.")
        if self.crash_points:
            told.append(self.crashes)
        if self.left_behind:
            told.append(
                f"Left behind there: {'; '.join(self.left_behind)}. Start `provisioning certify` again to remove it."
            )
        return f"{name} is not certified. {' '.join(told)}"

    def as_json(self) -> dict[str, Any]:
        """The certificate as the ledger keeps it and `--json` prints it."""
        found = {
            **asdict(self),
            "contract": self.contract.as_json() if self.contract else None,
            "began_at": self.began_at.isoformat(),
        }
        return {"verdict": self.verdict, "holds": self.holds, **found}


_CONTRACT = TypeAdapter(Contract)
_CERTIFICATE = TypeAdapter(Certificate)


def contract_from(stored: Mapping[str, Any]) -> Contract:
    """The contract that `as_json` wrote."""
    return _CONTRACT.validate_python(stored)


def certificate_from(stored: Mapping[str, Any]) -> Certificate:
    """The certificate that `as_json` wrote."""
    return _CERTIFICATE.validate_python(stored)


# --- what a contract allows ------------------------------------------------------------------------------------------

NEEDED_ACTIVATION_STATUSES: Final = frozenset({"PENDING_CREATION", "ONGOING_CREATION", "ACTIVE"})
"""By these we tell what is to be done with a workspace."""

NEEDED_ONBOARDING_STATUSES: Final = frozenset({"COMPLETED"})
"""By this we tell that a login is proved; no other status is needed."""

MOST_CANARIES: Final = 3
"""So many tenants are tried in a run, one after another, before the others are left for a later run."""


class Decision(StrEnum):
    """What a contract allows."""

    GO = "go"
    CANARY = "canary"
    """One tenant first; the others once its login is proved."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a contract allows, and why.

    Args:
        differences: what is otherwise than on the server that was measured; each ends a sentence that begins with
            the server.
        missing: what is needed and not there.
    """

    decision: Decision
    differences: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def judge(found: Contract, known: Collection[Contract], proved: Collection[Contract] = ()) -> Verdict:
    """What this contract allows.

    Args:
        found: of the server. A part that could not be read makes nothing unknown.
        known: of the versions that are known here; at least one. It is compared with the one that it is most like.
        proved: contracts under which a tenant's login was proved on that server.
    """
    likest = min(known, key=lambda version: len(differences(found, version)))
    different = differences(found, likest)
    missing = _missing(found, likest)
    if missing:
        return Verdict(Decision.REFUSED, different, missing)
    # whatever was there at an earlier proof needs no other one
    if not different or any(set(different) <= set(differences(before, likest)) for before in proved):
        return Verdict(Decision.GO, different)
    return Verdict(Decision.CANARY, different)


def differences(found: Contract, known: Contract) -> tuple[str, ...]:
    """What is there and not known, or known and not there, of that which is not needed; in words, in a fixed order."""
    ours, theirs = known.onboarding, found.onboarding
    told: list[str] = []
    if found.activation_statuses:
        told += _new("activation status", found.activation_statuses - known.activation_statuses)
        told += _gone("activation status", known.activation_statuses - found.activation_statuses)
    if ours and theirs:
        told += _new("onboarding step", theirs.statuses - ours.statuses)
        told += _gone("onboarding step", ours.statuses - theirs.statuses)
        told += _new("onboarding mutation", theirs.mutations - ours.mutations)
        told += _gone("onboarding mutation", ours.mutations - theirs.mutations)
    # an operation is called by the root field of its document
    lost = {each[each.index("{") + 1 :].split("(")[0].split()[0] for each in known.operations - found.operations}
    return (*told, *(f"does not take {name}" for name in sorted(lost)))


def in_turn(candidates: Iterable[TenantPlan], tried: Collection[str] = ()) -> list[TenantPlan]:
    """The tenants in the order in which they are tried as canary: who was tried in vain goes last, small plans first.

    Args:
        candidates: plans that end with the proof of a login.
        tried: database names of those that were tried under this contract and whose login was not proved.
    """

    def turn(plan: TenantPlan) -> tuple[bool, int, str]:
        size, name = len(plan.changes) + sum(len(member.changes) for member in plan.members), plan.tenant.database_name
        return name in tried, size, name

    return sorted(candidates, key=turn)


def _new(what: str, names: Iterable[str]) -> list[str]:
    return [f"has an {what} {name} that is not known here" for name in sorted(names)]


def _gone(what: str, names: Iterable[str]) -> list[str]:
    return [f"no longer has the {what} {name}" for name in sorted(names)]


def _missing(found: Contract, known: Contract) -> tuple[str, ...]:
    columns, statuses = found.columns, found.activation_statuses
    told = [
        *found.lacks,
        *(f"core.{name}" for name in sorted(known.columns.keys() - columns.keys())),
        *(
            f"core.{name} as {kind} (it is {columns[name]})"
            for name, kind in sorted(known.columns.items())
            if columns.get(name, kind) != kind
        ),
    ]
    if statuses:
        told += [f"activation status {name}" for name in sorted(NEEDED_ACTIVATION_STATUSES - statuses)]
    if found.onboarding:
        told += [f"onboarding status {name}" for name in sorted(NEEDED_ONBOARDING_STATUSES - found.onboarding.statuses)]
    return tuple(told)


@dataclass(frozen=True, slots=True)
class Certified:
    """A server's certificate for a person; `warning`: an operator should certify it again."""

    sentence: str
    warning: bool


def certified(server: str, last: Certificate | None, now: Contract | None) -> Certified:
    """Compare the last certificate with the contract that the server has now; None: it was not read."""
    command = f"`provisioning certify --server {server}`"
    if last is None:
        return Certified(f"never certified; {command} proves that it does what this program relies on", warning=True)
    if not last.holds:
        return Certified(f"{last.in_short}; see why, then {command} again", warning=True)
    if now is not None and last.contract is not None and not last.contract.agrees_with(now):
        return Certified(
            f"{last.in_short}, and its contract with this release has changed since ({last.contract.fingerprint}, "
            f"now {now.fingerprint}); {command} again",
            warning=True,
        )
    return Certified(last.in_short, warning=False)
