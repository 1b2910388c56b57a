"""Operations that only a certification sends, beside those of the program itself."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty.operations import TEXT, Operation, WithId

DELETE_CURRENT_WORKSPACE = Operation(
    "mutation", "deleteCurrentWorkspace", Effect.WRITE, selection="{ id }", answer=TypeAdapter(WithId)
)
"""Soft-deletes the workspace of the token, its memberships, and every account that has no other. Active ones only."""


@dataclass(frozen=True)
class Skipped(Operation[str]):
    """An operation sent as its own contract probe: validated and not run."""

    kind: Literal["query", "mutation"] = "mutation"
    name: str = "__typename"
    effect: Effect = Effect.READ
    text: str = ""
    answer: TypeAdapter[str] = field(kw_only=True, compare=False, repr=False, default=TEXT)

    @property
    def document(self) -> str:
        """The probe."""
        return self.text


def skipped(operation: Operation[Any]) -> Operation[str]:
    """The contract probe of an operation as an operation of its own, which answers `__typename`."""
    return Skipped(kind=operation.kind, text=operation.probe())
