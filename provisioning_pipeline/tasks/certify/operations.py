"""Operations that only a certification sends, beside those of the program itself."""

from dataclasses import dataclass
from typing import Literal

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty.operations import Operation

DELETE_CURRENT_WORKSPACE = Operation("mutation", "deleteCurrentWorkspace", Effect.WRITE, selection="{ id }")
"""Soft-deletes the workspace of the token, its memberships, and every account that has no other. Active ones only."""


@dataclass(frozen=True)
class Skipped(Operation):
    """An operation sent as its own contract probe: validated and not run."""

    kind: Literal["query", "mutation"] = "mutation"
    name: str = "__typename"
    effect: Effect = Effect.READ
    text: str = ""

    @property
    def document(self) -> str:
        """The probe."""
        return self.text


def skipped(operation: Operation) -> Operation:
    """The contract probe of an operation as an operation of its own, which answers `__typename`."""
    return Skipped(kind=operation.kind, text=operation.probe())
