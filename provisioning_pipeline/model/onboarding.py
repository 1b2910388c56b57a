"""Twenty's onboarding as rows say it: which steps are pending for whom, and what the person would see.

Measured on Twenty 2.21.0: a step is pending while a `core."keyValuePair"` row of type USER_VARIABLE holds the
JSON value `true` under a key `ONBOARDING_*_PENDING`; rows are read at three levels, narrower ones winning.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

PENDING_KEY = re.compile(r"^ONBOARDING_.+_PENDING$")
"""Any step of any version; never a fixed list, since versions add and reorder steps."""

CONNECT_ACCOUNT = "ONBOARDING_CONNECT_ACCOUNT_PENDING"
INSTALL_APPS = "ONBOARDING_INSTALL_APPS_PENDING"
CREATE_PROFILE = "ONBOARDING_CREATE_PROFILE_PENDING"
INVITE_TEAM = "ONBOARDING_INVITE_TEAM_PENDING"


class Level(StrEnum):
    """Where a row stands; a later level hides an earlier one."""

    WORKSPACE = "workspace"
    USER = "user"
    USER_AND_WORKSPACE = "user and workspace"


@dataclass(frozen=True, slots=True)
class Flag:
    """One onboarding row. `value` is the JSON value as read."""

    key: str
    user_id: str | None
    workspace_id: str | None
    value: Any

    @property
    def level(self) -> Level | None:
        """The level of the row; None for a row that belongs to nobody and is never read."""
        if self.user_id and self.workspace_id:
            return Level.USER_AND_WORKSPACE
        if self.user_id:
            return Level.USER
        return Level.WORKSPACE if self.workspace_id else None


_PRECEDENCE = {Level.WORKSPACE: 0, Level.USER: 1, Level.USER_AND_WORKSPACE: 2}


def pending_for(user_id: str, workspace_id: str, flags: Iterable[Flag]) -> dict[str, Level]:
    """The steps that the wizard would show this member, each with the level whose row decides it.

    Only the JSON value `true` is pending; `false`, `"true"` and `1` are not.
    """
    deciding: dict[str, Flag] = {}
    for flag in flags:
        if not PENDING_KEY.match(flag.key) or flag.level is None:
            continue
        if flag.user_id not in (None, user_id) or flag.workspace_id not in (None, workspace_id):
            continue
        known = deciding.get(flag.key)
        if known is None or _precedence(flag) > _precedence(known):
            deciding[flag.key] = flag
    return {key: flag.level for key, flag in sorted(deciding.items()) if flag.value is True and flag.level is not None}


def _precedence(flag: Flag) -> int:
    return _PRECEDENCE[flag.level] if flag.level else -1
