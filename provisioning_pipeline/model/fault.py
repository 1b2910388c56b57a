"""What can go wrong, classified once where it happens, so that no caller has to read an error text."""

from enum import StrEnum

from provisioning_pipeline.model.condition import Reason


class FaultKind(StrEnum):
    """What a failure asks of the caller."""

    TRANSIENT = "transient"
    """Worth another try: a lost connection, a 5xx, a rate limit."""
    TENANT = "tenant"
    """Permanent for this tenant as things are; the others go on."""
    SERVER = "server"
    """Permanent for the run on this server: no such call there again; say what to do."""
    BUSY = "busy"
    """Another run or session is working on it; look again later."""


class Fault(Exception):
    """A classified failure of a remote system, in words for an operator.

    Args:
        kind: what the caller should do about it.
        reason: the CamelCase word that goes into a condition.
        message: what happened and what to do next; never holds a secret.
        effect_unknown: the call may have taken place although no answer came.
        away: nothing answers at that address, so the next call would fail too.
        again_seconds: after how long another try can succeed, where that is known.
    """

    def __init__(
        self,
        kind: FaultKind,
        reason: Reason,
        message: str,
        *,
        effect_unknown: bool = False,
        away: bool = False,
        again_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason
        self.message = message
        self.effect_unknown = effect_unknown
        self.away = away
        self.again_seconds = again_seconds


class RunFault(Exception):
    """The run itself cannot go on (registry out of reach, wrong Clerk key). One clear sentence."""


class BadInput(RunFault):
    """The run was asked for, or set up for, what is not there. The sentence says what there is, or what to do."""


TOO_LITTLE_MEMORY = (
    "This machine has too little memory for what was to be done; nothing says that another system failed. Give the "
    "process more memory (docs/installation.md says how much a fleet needs), then run again."
)
