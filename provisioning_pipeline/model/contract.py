"""What a Twenty server has of that which we use: its contract, by which one version is told from another."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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


def contract_from(stored: Mapping[str, Any]) -> Contract:
    """The contract that `as_json` wrote."""
    onboarding = stored["onboarding"]
    return Contract(
        operations=frozenset(stored["operations"]),
        columns=dict(stored["columns"]),
        activation_statuses=frozenset(stored["activation_statuses"]),
        onboarding=onboarding and Onboarding(frozenset(onboarding["statuses"]), frozenset(onboarding["mutations"])),
        lacks=tuple(stored["lacks"]),
    )
