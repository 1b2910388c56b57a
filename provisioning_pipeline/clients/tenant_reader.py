"""Reads the tables of one tenant's database, no further than a limit, into rows that are safe to work with."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from psycopg import sql

from provisioning_pipeline.clients.postgres import Connection
from provisioning_pipeline.clients.tenant_catalogue import (
    READ,
    ROLES,
    Catalogue,
    Table,
    comes_raw,
    copied,
    copy_of,
    is_whole,
)
from provisioning_pipeline.model.core_rows import (
    CoreRows,
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
    """A display name: cut, and without control characters."""
    return person_name((value or "")[:_LONGEST_NAME])


T = TypeVar("T")
_Take = Callable[[Values], bool]
"""Takes one row, and says whether it counts."""

_TABLES_AT_ONCE: Final = 100
_MOST_STEPS: Final = 100
"""Twenty has six. Who is to see which is decided for each person and each of them."""
_MOST_WORKSPACES: Final = 100
"""One tenant's database has one, or a few where a Twenty server of its own works on it."""


class TooLarge(Exception):
    """There is more than is read of one tenant; the text names the table."""


class TenantReader:
    """Reads over one connection, inside one transaction.

    Args:
        most_rows: of one table that are taken.
        reading: the table that comes just now, to be shown.
    """

    def __init__(self, connection: Connection, most_rows: int) -> None:
        self.connection, self.most_rows = connection, most_rows
        self.reading = "the catalogue"

    async def core(self, tables: Mapping[str, Table]) -> tuple[CoreRows, list[Flag]]:
        """What schema core says, by these tables of it; nothing of one that lacks a column that is needed.

        Raises:
            TooLarge: when a table has too many rows.
            psycopg.Error: what PostgreSQL refuses, or that the connection broke.
        """
        workspaces: list[WorkspaceRow] = []
        users: list[UserRow] = []
        memberships: list[MembershipRow] = []
        roles: list[RoleRow] = []
        roles_of_members: list[RoleOfMemberRow] = []
        flags: list[Flag] = []
        with_metadata: set[str] = set()

        def note_metadata(values: Values) -> bool:
            with_metadata.add(word(values.get("workspaceId")) or "")
            return False

        whole = {name: tables[name] for name in READ if name in tables and is_whole(tables[name])}
        type_of_value = whole["keyValuePair"].columns["value"] if "keyValuePair" in whole else ""
        take: dict[str, _Take] = {
            "workspace": _into(workspaces, workspace_row),
            "user": _into(users, user_row),
            "userWorkspace": _into(memberships, membership_row),
            "role": _into(roles, role_row),
            "keyValuePair": _into(flags, lambda values: flag_row(values, type_of_value)),
            "objectMetadata": note_metadata,
        }
        if (of_members := next((name for name in ROLES if name in whole), None)) and "role" in whole:
            take[of_members] = _into(roles_of_members, role_of_member_row)
        await self._read([(table, take[name]) for name, table in whole.items() if name in take])
        if len(workspaces) > _MOST_WORKSPACES:
            raise TooLarge(f"core.workspace has {len(workspaces):,} workspaces, more than {_MOST_WORKSPACES}")
        if len({flag.key for flag in flags}) > _MOST_STEPS:
            raise TooLarge(f'core."keyValuePair" has more than {_MOST_STEPS} kinds of onboarding rows')
        return (
            CoreRows(
                workspaces=workspaces,
                users=users,
                memberships=memberships,
                roles=roles if "role" in whole else None,
                roles_of_members=roles_of_members,
                with_metadata=with_metadata,
            ),
            flags,
        )

    async def records(self, schemas: Mapping[str, Sequence[str]], there: Catalogue) -> list[RecordRow]:
        """The member records of workspaces.

        Args:
            schemas: workspace → those of its own.
            there: which schemas there are, with which tables.

        Raises:
            TooLarge: when a table has too many rows.
            psycopg.Error: what PostgreSQL refuses, or that the connection broke.
        """
        records: list[RecordRow] = []
        tables = {table.schema: table for table in there.tables.values() if "userId" in table.columns}
        parts = [
            (tables[schema], _into(records, partial(record_row, workspace)))
            for workspace, own in schemas.items()
            for schema in own
            if schema in tables
        ]
        for begin in range(0, len(parts), _TABLES_AT_ONCE):
            await self._read(parts[begin : begin + _TABLES_AT_ONCE])
        return records

    async def end(self) -> None:
        """End the transaction: a pooler gives the session to others.

        Raises:
            psycopg.Error: that the connection broke.
        """
        async for _ in copied(self.connection, b"ROLLBACK"):
            pass

    async def _read(self, parts: Sequence[tuple[Table, _Take]]) -> None:
        if not parts:
            return
        columns = [tuple(table.columns) for table, _ in parts]
        places = ((table.schema, table.name, names) for (table, _), names in zip(parts, columns, strict=True))
        message = _message(tuple(places), comes_raw(self.connection))

        def begins(number: int) -> None:
            self.reading = parts[number][0].shown

        taken: Counter[int] = Counter()
        async for number, line in copied(self.connection, message, begins):
            take = parts[number][1]
            taken[number] += take(dict(zip(columns[number], line, strict=True)))
            if taken[number] > self.most_rows:
                raise TooLarge(f"{self.reading} has more than {self.most_rows:,} rows")


@lru_cache(maxsize=64)
def _message(places: tuple[tuple[str, str, tuple[str, ...]], ...], raw: bool) -> bytes:
    """What reads these columns of these tables. Most tenant databases are copies of one another, so few are made."""
    tables = (
        sql.SQL("{} ({})").format(sql.Identifier(schema, name), sql.SQL(", ").join(map(sql.Identifier, columns)))
        for schema, name, columns in places
    )
    return sql.SQL("; ").join(copy_of(table, raw=raw) for table in tables).as_bytes()


def _into(rows: list[T], make: Callable[[Values], T | None]) -> _Take:
    def take(values: Values) -> bool:
        row = make(values)
        if row is not None:
            rows.append(row)
        return row is not None

    return take
