"""Tenant databases: what tells that somebody wrote to one, and a look into one.

A tenant manager may leave a whole copy of Twenty's schema `core` there, a part of one, an older one, or none.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, LiteralString

from psycopg import Error, errors, sql

from provisioning_pipeline.clients.postgres import Connection, Database, Row, with_database
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.twenty.workspace_schema import schema_name
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.onboarding import Flag
from provisioning_pipeline.model.tenant_database import FoundMember, FoundWorkspace, Look

STATEMENT_SECONDS: Final = 5.0

# --- evidence -----------------------------------------------------------------------------------------------------

_EVIDENCE: LiteralString = """
    SELECT COALESCE(json_object_agg(d.datname, concat_ws(' ',
        d.datid,  -- another one was dropped and made anew under the same name
        d.tup_inserted, d.tup_updated, d.tup_deleted,  -- with those of the catalogue, so also DDL and TRUNCATE
        'reset', extract(epoch FROM d.stats_reset),  -- the counters began at 0 again
        server.since)), '{}') AS evidence
    FROM pg_stat_database d, (
        SELECT concat_ws(' ',
            'start', extract(epoch FROM pg_postmaster_start_time()),  -- another server: restored, or promoted
            -- a crash loses the counters, and the postmaster outlives one of any other process
            'kept', (SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter),
            -- nothing is counted: never the same twice
            CASE WHEN current_setting('track_counts') <> 'on' THEN extract(epoch FROM clock_timestamp()) END
        ) AS since
    ) server
    WHERE d.datname IS NOT NULL AND (%(names)s::text[] IS NULL OR d.datname = ANY(%(names)s))
"""


async def evidence(cluster: Database, names: Sequence[str] | None = None) -> dict[str, str]:
    """Database name → what stays the same for as long as nobody writes there, of all databases or of these; one query.

    It stays the same when something is only read, and is another text after any INSERT, UPDATE, DELETE, TRUNCATE or
    DDL, after the database was made anew, and when PostgreSQL lost or reset its counters. Autovacuum may change it too.

    To be read before the look that it stands for: PostgreSQL counts a write only after its commit, up to a minute
    later, so what the look does not see is not in the evidence either, and is told by a later one.
    """
    (row,) = await cluster.fetch(_EVIDENCE, {"names": None if names is None else list(names)})
    return dict(row["evidence"])


# --- a look -------------------------------------------------------------------------------------------------------

Shape = frozenset[tuple[str, str]]
"""Which tables of schema `core` are there, with which columns."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "workspace": ("id",),
    "user": ("id", "email"),
    "userWorkspace": ("userId", "workspaceId"),
    "keyValuePair": ("id", "key", "value", "type", "userId", "workspaceId"),
    "role": ("id", "label"),
    "roleTarget": ("roleId", "userWorkspaceId"),
    "userWorkspaceRole": ("roleId", "userWorkspaceId"),
    "objectMetadata": ("workspaceId",),
}
"""Without these columns nothing of a table is read. Every other column is taken as NULL where it is missing."""
_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "workspace": ("displayName", "activationStatus"),
    "userWorkspace": ("id",),
}
"""Told where they are missing, like those that are needed; the others older versions do well without."""
_ROLES: Final = ("roleTarget", "userWorkspaceRole")
"""Where the roles of members are: in newer and in older versions."""
_MAY_BE_MISSING: Final = frozenset({"objectMetadata", *_ROLES})

_CHANGED: Final = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)
"""Somebody changed tables between two queries of ours."""

_CATALOGUE: LiteralString = """
    SELECT json_build_object(
        'has_core', to_regnamespace('core') IS NOT NULL,
        'columns', (
            SELECT COALESCE(json_agg(json_build_array(c.relname, a.attname)), '[]')
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relnamespace = to_regnamespace('core') AND c.relname = ANY(%s)
        ),
        'schemas', (
            SELECT json_object_agg(n.nspname, COALESCE((
                SELECT json_agg(a.attname)
                FROM pg_class m JOIN pg_attribute a ON a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE m.relnamespace = n.oid AND m.relname = 'workspaceMember'), '[]'))
            FROM pg_namespace n
        )
    )
"""
"""From the catalogue, because information_schema hides what may not be read, and that must be told."""


async def look(
    url: str, name: str, evidence: str, looked_at: datetime, *, statement_seconds: float = STATEMENT_SECONDS
) -> Look:
    """Look into one tenant database over a connection of its own: two queries, three where there are member records.

    Trouble with that database is part of the look and never raised; no message holds a secret. A connection that is
    cut is opened once more, since the database may be gone for good.

    Args:
        url: of any database of the same cluster; never shown.
        name: the database to look into.
        evidence: as it was read before.
        looked_at: by the clock of the ledger's database.
        statement_seconds: how long one query may take.
    """
    found = Look(name, evidence, looked_at)
    database = Database(
        with_database(url, name),
        system="The tenant's database",
        unreachable=Reason.DATABASE_UNREACHABLE,
        read_only=True,
    )
    is_first = True
    while True:
        connection: Connection | None = None
        try:
            connection = await database.connect_alone()
            await connection.execute(_begin(statement_seconds))
            look = await _inside(connection, found)
            await connection.rollback()
            return look
        except Fault as fault:
            if await _is_gone(url, name):
                return replace(
                    found, vanished=True, reason=Reason.DATABASE_VANISHED, message="The database was dropped meanwhile."
                )
            return replace(found, reason=Reason.DATABASE_UNREACHABLE, message=fault.message)
        except Error as error:
            changed = connection is not None and (connection.broken or isinstance(error, _CHANGED))
            if not (changed and is_first):
                return _unread(found, error)
            is_first = False
        finally:
            if connection is not None:
                await connection.close()


def _begin(statement_seconds: float) -> sql.Composed:
    """A transaction that reads only and waits for nobody long; a pooler gives the session to others after it."""
    milliseconds = sql.Literal(max(1, round(statement_seconds * 1000)))
    return sql.SQL("BEGIN READ ONLY; SET LOCAL statement_timeout = {}").format(milliseconds)


async def _is_gone(url: str, name: str) -> bool:
    """Whether the cluster has no such database any more; what it says of that itself depends on its language."""
    async with Database(
        url, system="The tenant cluster", unreachable=Reason.DATABASE_UNREACHABLE, read_only=True
    ) as cluster:
        try:
            return not await cluster.fetch("SELECT 1 AS one FROM pg_database WHERE datname = %s", [name])
        except (Fault, Error):
            return False


def _unread(found: Look, error: Error) -> Look:
    text = first_line(error)
    hint = "The next run looks again."
    if isinstance(error, errors.InsufficientPrivilege):
        hint = "Grant our user USAGE on schema core and on the workspaces' schemas, and SELECT on their tables."
    return replace(
        found, reason=Reason.DATABASE_UNREACHABLE, message=f"The tenant's database cannot be read: {text}. {hint}"
    )


async def _inside(connection: Connection, found: Look) -> Look:
    catalogue = await _json(connection, _CATALOGUE, [list(_NEEDED)])
    if not catalogue["has_core"]:
        return replace(found, reason=Reason.NO_SCHEMA_YET, message="The tenant's database has no schema core yet.")
    shape: Shape = frozenset((table, column) for table, column in catalogue["columns"])
    core = await _json(connection, _core_query(shape))
    schemas = {row["id"]: _schemas_of(row, catalogue["schemas"]) for row in core["workspaces"]}
    query = _records_query(schemas, catalogue["schemas"])
    records = await _json(connection, query) if query else []
    names = {(workspace, user): (first, last) for workspace, user, first, last in reversed(records)}
    missing = _missing(shape)
    return replace(
        found,
        reason=Reason.OLDER_SCHEMA if missing else None,
        message=_missing_in_words(missing) if missing else "",
        workspaces=tuple(
            _workspace(row, core["members"], names, bool(schemas[row["id"]])) for row in core["workspaces"]
        ),
        flags=tuple(Flag(**row) for row in core["flags"]),
    )


async def _json(connection: Connection, query: LiteralString | bytes, parameters: Sequence[object] = ()) -> Any:
    row = await (await connection.execute(query, parameters or None)).fetchone()
    assert row is not None
    return row[0]


def _workspace(
    row: Row, members: Sequence[Row], names: Mapping[tuple[str, str], tuple[str, str]], has_schema: bool
) -> FoundWorkspace:
    # a hand-made table may say twice who is a member
    own = {member["user_id"]: member for member in reversed(members) if member["workspace_id"] == row["id"]}
    return FoundWorkspace(
        workspace_id=row["id"],
        display_name=row["name"] or "",
        activation_status=row["status"] or "",
        has_metadata=row["has_metadata"],
        has_schema=has_schema,
        has_own_roles=row["has_own_role"] and all(member["has_own_role"] for member in own.values()),
        members=tuple(_member(member, names.get((row["id"], user_id))) for user_id, member in sorted(own.items())),
    )


def _member(row: Row, record: tuple[str, str] | None) -> FoundMember:
    first, last = record if record and any(record) else (row["first_name"] or "", row["last_name"] or "")
    return FoundMember(row["user_id"], row["email"] or "", first, last, row["role"], record is not None)


# --- what is missing, and what is asked for the rest -----------------------------------------------------------------


def _has(shape: Shape, table: str) -> bool:
    return all((table, column) in shape for column in _NEEDED[table])


def _missing(shape: Shape) -> list[str]:
    """Tables, and columns of tables that are there, of which we would have read something."""
    tables = {table for table, _ in shape}
    found = [f'"{table}"' for table in _NEEDED if table not in tables | _MAY_BE_MISSING]
    if not any(table in tables for table in _ROLES):
        found.append(f'"{_ROLES[0]}"')
    for table in (table for table in _NEEDED if table in tables):
        columns = (*_NEEDED[table], *_TOLD.get(table, ()))
        found += [f'"{table}"."{column}"' for column in columns if (table, column) not in shape]
    return found


def _missing_in_words(missing: Sequence[str]) -> str:
    return (
        f"Schema core in the tenant's database has no {', '.join(missing)}: it is older than what this program knows, "
        "or was not copied in full. What is there was read."
    )


def _schemas_of(workspace: Row, there: Collection[str]) -> list[str]:
    """The schemas that are this workspace's: the one that it names and the one that Twenty would make."""
    names = [workspace["schema"]]
    with suppress(ValueError):  # an id that is no UUID: not Twenty's
        names.append(schema_name(workspace["id"]))
    return [name for name in dict.fromkeys(names) if name in there]


@lru_cache(maxsize=64)
def _core_query(shape: Shape) -> bytes:
    """One query for all that can be read; most tenant databases are copies of one another, so few are ever made.

    Ids are compared as text: a hand-made copy has them in types of its own.
    """

    def column(alias: str, table: str, name: str) -> sql.Composable:
        if (table, name) not in shape:
            return sql.SQL("NULL::text")
        return sql.SQL("{}::text").format(sql.Identifier(alias, name))

    nothing = sql.SQL("SELECT NULL::json")
    has_roles = _has(shape, "role")
    of_members = next((table for table in _ROLES if has_roles and _has(shape, table)), None)
    workspaces = sql.SQL(_WORKSPACES).format(
        name=column("w", "workspace", "displayName"),
        status=column("w", "workspace", "activationStatus"),
        schema=column("w", "workspace", "databaseSchema"),
        deleted=column("w", "workspace", "deletedAt"),
        has_metadata=sql.SQL(_HAS_METADATA if _has(shape, "objectMetadata") else "false"),
        has_own_role=sql.SQL(_HAS_OWN_DEFAULT_ROLE if has_roles else "true").format(
            role=column("w", "workspace", "defaultRoleId"), workspace=column("r", "role", "workspaceId")
        ),
    )
    members = sql.SQL(_MEMBERS).format(
        first_name=column("u", "user", "firstName"),
        last_name=column("u", "user", "lastName"),
        no_user=column("u", "user", "deletedAt"),
        no_member=column("uw", "userWorkspace", "deletedAt"),
        roles=sql.SQL(_ROLES_OF_MEMBERS if of_members else _NO_ROLES).format(
            table=sql.Identifier("core", of_members or ""),
            member=column("uw", "userWorkspace", "id"),
            workspace=column("r", "role", "workspaceId"),
            strongest=column("r", "role", "canUpdateAllSettings"),
        ),
    )
    flags = sql.SQL(_FLAGS)
    return (
        sql.SQL(
            "SELECT json_build_object('workspaces', COALESCE(({}), '[]'), 'members', COALESCE(({}), '[]'), "
            "'flags', COALESCE(({}), '[]'))"
        )
        .format(
            workspaces if _has(shape, "workspace") else nothing,
            members if _has(shape, "userWorkspace") and _has(shape, "user") else nothing,
            flags if _has(shape, "keyValuePair") else nothing,
        )
        .as_bytes(None)
    )


_WORKSPACES: LiteralString = """
    SELECT json_agg(json_build_object(
        'id', w.id::text, 'name', {name}, 'status', {status}, 'schema', {schema}, 'has_metadata', {has_metadata},
        'has_own_role', {has_own_role}) ORDER BY w.id)
    FROM core.workspace w WHERE {deleted} IS NULL
"""
_HAS_METADATA: LiteralString = """
    EXISTS (SELECT FROM core."objectMetadata" o WHERE o."workspaceId"::text = w.id::text)
"""
_HAS_OWN_DEFAULT_ROLE: LiteralString = """
    {role} IS NULL OR EXISTS (SELECT FROM core.role r WHERE r.id::text = {role} AND {workspace} = w.id::text)
"""
_MEMBERS: LiteralString = """
    SELECT json_agg(json_build_object(
        'workspace_id', uw."workspaceId"::text, 'user_id', uw."userId"::text, 'email', lower(u.email::text),
        'first_name', {first_name}, 'last_name', {last_name}, 'role', role.label, 'has_own_role', role.is_own)
        ORDER BY role.label)
    FROM core."userWorkspace" uw
    JOIN core."user" u ON u.id::text = uw."userId"::text AND {no_user} IS NULL
    CROSS JOIN LATERAL ({roles}) role
    WHERE {no_member} IS NULL
"""
_ROLES_OF_MEMBERS: LiteralString = """
    SELECT (array_agg(r.label::text ORDER BY {strongest} DESC NULLS LAST, r.label))[1] AS label,
           COALESCE(bool_and(COALESCE({workspace} = uw."workspaceId"::text, false)), true) AS is_own
    FROM {table} t LEFT JOIN core.role r ON r.id::text = t."roleId"::text
    WHERE t."userWorkspaceId"::text = {member}
"""
"""Of several roles, one that may change all settings goes before others."""
_NO_ROLES: LiteralString = "SELECT NULL::text AS label, true AS is_own"
_FLAGS: LiteralString = """
    SELECT json_agg(json_build_object(
        'key', k.key, 'user_id', k."userId"::text, 'workspace_id', k."workspaceId"::text, 'value', to_jsonb(k.value),
        'type', k.type::text, 'row_id', k.id::text) ORDER BY k.id)
    FROM core."keyValuePair" k
    WHERE k.type::text = 'USER_VARIABLE' AND k.key ~ '^ONBOARDING_.+_PENDING$'
"""
"""Whatever "deletedAt" says: Twenty reads such rows like all others (2.21.0's entity has it as a plain column)."""
_RECORDS: LiteralString = """
    SELECT {workspace} AS workspace, m."userId"::text AS person, COALESCE({first_name}, '') AS first_name,
           COALESCE({last_name}, '') AS last_name
    FROM {table} m WHERE {deleted} IS NULL AND m."userId" IS NOT NULL
"""


def _records_query(schemas: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]]) -> bytes | None:
    """One query for the member records of all these workspaces; None where no schema has such a table."""

    def records(workspace_id: str, schema: str) -> sql.Composed:
        def column(name: str) -> sql.Composable:
            there = name in columns[schema]
            return sql.SQL("m.{}::text").format(sql.Identifier(name)) if there else sql.SQL("NULL::text")

        return sql.SQL(_RECORDS).format(
            workspace=sql.Literal(workspace_id),
            first_name=column("nameFirstName"),
            last_name=column("nameLastName"),
            deleted=column("deletedAt"),
            table=sql.Identifier(schema, "workspaceMember"),
        )

    parts = [
        records(workspace_id, schema)
        for workspace_id, names in schemas.items()
        for schema in names
        if "userId" in columns[schema]
    ]
    if not parts:
        return None
    query = sql.SQL(
        "SELECT COALESCE(json_agg(json_build_array(workspace, person, first_name, last_name)), '[]') FROM ({}) found"
    )
    return query.format(sql.SQL(" UNION ALL ").join(parts)).as_bytes(None)
