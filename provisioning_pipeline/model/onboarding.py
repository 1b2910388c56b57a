"""Twenty's onboarding as rows say it: which steps are pending, what each person would see, what is in the way.

Measured on Twenty 2.21.0: a step is pending while a `core."keyValuePair"` row of type USER_VARIABLE holds the
JSON value `true` under a key `ONBOARDING_*_PENDING`; rows are read at three levels, narrower ones winning. A key
stands at most once at a level, by the table's unique indexes.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

PENDING_KEY = re.compile(r"^ONBOARDING_.+_PENDING$")
"""Any step of any version; never a fixed list, since versions add and reorder steps."""

CONNECT_ACCOUNT = "ONBOARDING_CONNECT_ACCOUNT_PENDING"
INSTALL_APPS = "ONBOARDING_INSTALL_APPS_PENDING"
CREATE_PROFILE = "ONBOARDING_CREATE_PROFILE_PENDING"
INVITE_TEAM = "ONBOARDING_INVITE_TEAM_PENDING"
BOOK_CALL = "ONBOARDING_BOOK_CALL_PENDING"

USER_VARIABLE: Final = "USER_VARIABLE"
"""The type of the rows that Twenty reads as onboarding steps."""

WORKSPACE_ACTIVATION: Final = "WORKSPACE_ACTIVATION"
PLAN_REQUIRED: Final = "PLAN_REQUIRED"
COMPLETED: Final = "COMPLETED"
UNKNOWN_STEP: Final = "UNKNOWN_STEP"
"""A status of ours, not of Twenty's: a step is pending, and what this Twenty shows for it is not known here."""

_STEPS: Final = {
    "SYNC_EMAIL": CONNECT_ACCOUNT,
    "APPS_INSTALLATION": INSTALL_APPS,
    "PROFILE_CREATION": CREATE_PROFILE,
    "INVITE_TEAM": INVITE_TEAM,
}
"""Status → key, in the order in which Twenty looks for something to show. Measured on 2.21.0."""
_ACTIVATING: Final = frozenset({"PENDING_CREATION", "ONGOING_CREATION"})


class Level(StrEnum):
    """Where a row stands; a later level hides an earlier one."""

    WORKSPACE = "workspace"
    USER = "user"
    USER_AND_WORKSPACE = "user and workspace"


@dataclass(frozen=True, slots=True)
class Flag:
    """One onboarding row. `value` is the JSON value as read, `row_id` the primary key where it was read."""

    key: str
    user_id: str | None
    workspace_id: str | None
    value: Any
    type: str = USER_VARIABLE
    row_id: str | None = None

    @property
    def level(self) -> Level | None:
        """The level of the row; None for a row without person and workspace, which is never read."""
        if self.user_id and self.workspace_id:
            return Level.USER_AND_WORKSPACE
        if self.user_id:
            return Level.USER
        return Level.WORKSPACE if self.workspace_id else None

    @property
    def is_step(self) -> bool:
        """Whether Twenty reads this row when it looks for pending steps, whatever its value."""
        return self.type == USER_VARIABLE and self.level is not None and PENDING_KEY.match(self.key) is not None


_PRECEDENCE: Final[Mapping[Level | None, int]] = {level: place for place, level in enumerate(Level)}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a member would be shown.

    Args:
        status: Twenty's status, or UNKNOWN_STEP when nothing is pending but steps that are not known here.
        unknown: the pending keys that are not known here, whatever the status.
    """

    status: str
    unknown: tuple[str, ...]


def pending_for(user_id: str, workspace_id: str, flags: Iterable[Flag]) -> dict[str, Level]:
    """The steps that the wizard would show this member, each with the level whose row decides it.

    Only the JSON value `true` is pending; `false`, `"true"` and `1` are not.
    """
    deciding: dict[str, Flag] = {}
    for flag in flags:
        if flag.user_id not in (None, user_id) or flag.workspace_id not in (None, workspace_id) or not flag.is_step:
            continue
        known = deciding.get(flag.key)
        if known is None or _PRECEDENCE[flag.level] > _PRECEDENCE[known.level]:
            deciding[flag.key] = flag
    return {key: flag.level for key, flag in sorted(deciding.items()) if flag.value is True and flag.level is not None}


def seen_by(user_id: str, workspace_id: str, activation_status: str | None, flags: Iterable[Flag]) -> Seen:
    """What Twenty would show this member on opening the workspace."""
    return seen_with(pending_for(user_id, workspace_id, flags), activation_status)


def seen_with(pending: Collection[str], activation_status: str | None) -> Seen:
    """What Twenty would show a person while the steps with these keys are pending.

    Never BOOK_CALL or PLAN_REQUIRED, which come last: billing shows them, and no row does (source of 2.38).
    """
    unknown = tuple(sorted(set(pending) - {*_STEPS.values(), BOOK_CALL}))
    if activation_status in _ACTIVATING:
        return Seen(WORKSPACE_ACTIVATION, unknown)
    shown = next((status for status, key in _STEPS.items() if key in pending), None)
    return Seen(shown or (UNKNOWN_STEP if unknown else COMPLETED), unknown)


def rows_in_the_way(user_ids: Collection[str], workspace_id: str, flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """The fewest rows without which nothing is pending for any of these users in that workspace, in the given order.

    For each user and step these are the rows from the narrowest level up that hold `true`, as far as the first that
    does not: that one stays and hides what is wider. No row of another user, of another workspace or of another
    type is ever among them. A row of the workspace as a whole is, even though all its members meet it.
    """
    rows = tuple(flags)
    at_place: dict[tuple[str, Level | None, str | None], int] = {}
    for number, flag in enumerate(rows):
        if flag.is_step and flag.workspace_id in (None, workspace_id):
            at_place.setdefault((flag.key, flag.level, flag.user_id), number)
    keys = {key for key, _, _ in at_place}
    found: set[int] = set()
    for user_id in set(user_ids):
        for key in keys:
            for level in reversed(Level):
                number_at = at_place.get((key, level, None if level is Level.WORKSPACE else user_id))
                if number_at is None:
                    continue
                if rows[number_at].value is not True:
                    break
                found.add(number_at)
    return tuple(rows[number] for number in sorted(found))
