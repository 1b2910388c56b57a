"""Which tenant databases are worth a look."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from provisioning_pipeline.model.tenant_database import LastLook


def evidence_under(policy: str, evidence: str) -> str:
    """What is to be stored of a look: as long as it is the same, another look would come to the same end.

    Args:
        policy: what of the operator's policy the look depends on.
        evidence: as it was read before the look.
    """
    return f"{evidence} {policy}"


def due(
    names: Sequence[str],
    evidence: Mapping[str, str],
    looks: Mapping[str, LastLook],
    policy: str,
    now: datetime,
    full_look_seconds: float,
) -> list[str]:
    """Those of these databases that must be looked into, in the order of the names.

    That is who was never looked into, whose last look left something to be done, where somebody wrote since or may
    have (there is no evidence), where the policy is another one, and who was last looked into too long ago.

    Args:
        evidence: by name, of now.
        looks: by name; their evidence is that of `evidence_under`.
        policy: what of the operator's policy a look depends on.
        now: by the clock that the looks' `looked_at` is of.
        full_look_seconds: how long a look is good for at most.
    """

    def is_good(name: str) -> bool:
        last = looks.get(name)
        return (
            last is not None
            and last.settled
            and name in evidence
            and last.evidence == evidence_under(policy, evidence[name])
            # a look from the future is good for nothing: the clock was set back
            and 0 <= (now - last.looked_at).total_seconds() < full_look_seconds
        )

    return [name for name in names if not is_good(name)]
