"""The error for settings that are missing or malformed."""

from collections.abc import Sequence
from typing import Final

PREFIX: Final = "PROVISIONING_"


class SettingsError(Exception):
    """Settings are missing or malformed. `faults` holds one line each, naming the variable; never a value."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
