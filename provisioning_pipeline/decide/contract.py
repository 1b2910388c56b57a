"""May a server with this contract be written to: at once, after one tenant's login is proved, or not at all?"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from provisioning_pipeline.model.contract import Certificate, Contract
from provisioning_pipeline.model.tenant import TenantPlan

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
