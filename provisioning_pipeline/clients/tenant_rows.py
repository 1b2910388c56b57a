"""Rows of a tenant's database as they came, text that its owner chose, made into rows that are safe to work with.

Nothing here raises, whatever a value says. A row without an id that can be one is left out; other odd values are empty.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from provisioning_pipeline.model.core_rows import (
    MembershipRow,
    RecordRow,
    RoleOfMemberRow,
    RoleRow,
    UserRow,
    WorkspaceRow,
)
from provisioning_pipeline.model.names import person_name
from provisioning_pipeline.model.onboarding import PENDING_KEY, USER_VARIABLE, Flag

Values = Mapping[str, str | None]
"""One row, by column; what the table has not is not there, and means NULL."""

_LONGEST_WORD: Final = 255
_LONGEST_NAME: Final = 200
_LONGEST_JSON: Final = 100
"""What says no more than `true`, `false` or a short word; anything longer is known not to be `true`."""
_JSON: Final = frozenset({"json", "jsonb"})


def workspace_row(values: Values) -> WorkspaceRow | None:
    """None for one that is deleted or has no id."""
    workspace_id = word(values.get("id"))
    if workspace_id is None or values.get("deletedAt") is not None:
        return None
    return WorkspaceRow(
        workspace_id,
        name(values.get("displayName")),
        word(values.get("activationStatus")) or "",
        word(values.get("databaseSchema")),
        # an odd one belongs to another person all the same
        None if (role := values.get("defaultRoleId")) is None else word(role) or "",
    )


def user_row(values: Values) -> UserRow | None:
    """None for one that is deleted or has no id."""
    user_id = word(values.get("id"))
    if user_id is None or values.get("deletedAt") is not None:
        return None
    email = word(values.get("email")) or ""
    return UserRow(user_id, email.lower(), name(values.get("firstName")), name(values.get("lastName")))


def membership_row(values: Values) -> MembershipRow | None:
    """None for one that is deleted or says not who is in which workspace."""
    user_id, workspace_id = word(values.get("userId")), word(values.get("workspaceId"))
    if user_id is None or workspace_id is None or values.get("deletedAt") is not None:
        return None
    return MembershipRow(word(values.get("id")), user_id, workspace_id)


def role_row(values: Values) -> RoleRow | None:
    """None for one without an id."""
    role_id = word(values.get("id"))
    if role_id is None:
        return None
    strength = values.get("canUpdateAllSettings")
    return RoleRow(
        role_id,
        word(values.get("label")),
        word(values.get("workspaceId")),
        None if strength is None else strength[:_LONGEST_WORD],
    )


def role_of_member_row(values: Values) -> RoleOfMemberRow | None:
    """None for a role that is no member's."""
    membership_id = word(values.get("userWorkspaceId"))
    return None if membership_id is None else RoleOfMemberRow(word(values.get("roleId")) or "", membership_id)


def record_row(workspace_id: str, values: Values) -> RecordRow | None:
    """None for one that is deleted or belongs to no one."""
    user_id = word(values.get("userId"))
    if user_id is None or values.get("deletedAt") is not None:
        return None
    return RecordRow(workspace_id, user_id, name(values.get("nameFirstName")), name(values.get("nameLastName")))


def flag_row(values: Values, type_of_value: str) -> Flag | None:
    """None for a row that is no onboarding step, or whose ids can be none.

    Whatever its "deletedAt" says: Twenty reads such rows like all others (2.21.0's entity has it as a plain column).
    """
    key, row_id = word(values.get("key")), word(values.get("id"))
    if key is None or row_id is None or values.get("type") != USER_VARIABLE or not PENDING_KEY.match(key):
        return None
    ids = {column: word(values.get(column)) for column in ("userId", "workspaceId")}
    if any(ids[column] is None and values.get(column) is not None for column in ids):
        return None
    value = _value(values.get("value"), type_of_value)
    return Flag(key, ids["userId"], ids["workspaceId"], value, USER_VARIABLE, row_id)


def _value(text: str | None, type_name: str) -> Any:
    """Of a JSON value that is short and simple, what it says; of any other the beginning of its text."""
    if text is None or len(text) > _LONGEST_JSON:
        return text and text[:_LONGEST_JSON]
    if type_name == "bool":
        return text == "t"
    if type_name not in _JSON:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, str):
        return word(value) or text
    return text if isinstance(value, list | dict) else value


def word(value: str | None) -> str | None:
    """An id, an address, a key: as it is, if it can be one. It is not cut, which would make it another."""
    if not value or len(value) > _LONGEST_WORD or not value.isprintable() or "\ufffd" in value:
        return None
    return value


def name(value: str | None) -> str:
    """What people call something: cut, and without control characters."""
    return person_name((value or "")[:_LONGEST_NAME])
