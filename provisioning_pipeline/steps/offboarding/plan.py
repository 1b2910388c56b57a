"""What follows from how far a tenant's offboarding is. Pure."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_DAYS_BEFORE_SOFT_DELETION: Final = 14
_DAYS_BEFORE_DELETION: Final = 21
DESTROYED_AFTER: Final = timedelta(days=_DAYS_BEFORE_DELETION - _DAYS_BEFORE_SOFT_DELETION + 1)
"""From this age on Twenty's hourly clean-up destroys a deleted workspace, by Twenty's default settings.

WORKSPACE_INACTIVE_DAYS_BEFORE_DELETION and WORKSPACE_INACTIVE_DAYS_BEFORE_SOFT_DELETION of that server say otherwise
(read in the source of 2.21.0).
"""


@dataclass(frozen=True, slots=True)
class CleanUp:
    """When Twenty itself destroys a workspace that was deleted."""

    from_: datetime

    def __str__(self) -> str:
        return f"by Twenty's default settings it is destroyed from {self.from_:%Y-%m-%d} on"


def clean_up_after(deleted_at: datetime) -> CleanUp:
    """When Twenty destroys a workspace that was deleted then, by Twenty's default settings."""
    return CleanUp(deleted_at + DESTROYED_AFTER)


def folder_of(slug: str, database_name: str) -> str:
    """The name of a tenant's folder among the exports: no other tenant has it, and it is one plain name.

    A database may have any name, and the registry's slugs are taken as they are.
    """
    wanted = f"{slug}-{database_name}"
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted)[:150]
    if plain == wanted:
        return plain
    return f"{plain}-{hashlib.sha256(wanted.encode(errors='surrogatepass')).hexdigest()[:12]}"
