"""What a server's last certificate says about the server as it is now."""

from dataclasses import dataclass

from provisioning_pipeline.model.certificate import Certificate
from provisioning_pipeline.model.contract import Contract


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
