"""A lock of a workspace: what it takes from which member, and what was so before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

EMPTY_ROLE: Final = "No access (suspended)"
"""Label of the role that gives nothing; by it we find the role of ours again."""
INVITE_LINK: Final = "invite link"
DEFAULT_ROLE: Final = "default role"


class LockState(StrEnum):
    """How far a lock is."""

    LOCKING = "locking"
    """Begun, and not proved yet."""
    LOCKED = "locked"
    UNLOCKING = "unlocking"
    """Some of it is given back."""


class ItemKind(StrEnum):
    """What a lock takes."""

    MEMBER = "member"
    API_KEY = "api_key"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class LockedItem:
    """One thing that a lock takes.

    Args:
        id: of the member record or of the API key; the name of the setting.
        name: for people: an e-mail, the name of a key or of a setting.
        before: what was so: `role` and `label` of a member and of the default role, `enabled` of the invite link.
        user_id: of a member.
    """

    kind: ItemKind
    id: str
    name: str
    before: Mapping[str, Any]
    user_id: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What names it within its lock."""
        return self.kind, self.id


@dataclass(frozen=True, slots=True)
class AccessLock:
    """A lock that is not given back wholly.

    Args:
        tokens_until: until when access tokens from before may read objects of the system; None where that is not known.
        roles: Twenty user → label of the role of before, of those whose member records it has marked as deleted, or is
            about to; None: they had none.
    """

    database_name: str
    server: str
    workspace_id: str
    state: LockState
    why: str
    begun_at: datetime
    locked_at: datetime | None
    tokens_until: datetime | None
    roles: Mapping[str, str | None]
