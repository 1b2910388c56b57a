"""`POST /graphql`: records. Here those of members, and a look at companies, with the refusals recorded on 2.21.0."""

import base64
import time
from typing import Any
from uuid import UUID

from ariadne import MutationType, QueryType
from graphql import GraphQLResolveInfo
from psycopg.sql import SQL

from provisioning_pipeline.sandbox.twenty.callers import (
    has_settings_permission,
    require_workspace,
    role_of_caller,
    whole_schema,
)
from provisioning_pipeline.sandbox.twenty.errors import (
    TwentyError,
    bad_input,
    permission_denied,
)
from provisioning_pipeline.sandbox.twenty.members import columns_of, member_by_id, view, write_member
from provisioning_pipeline.sandbox.twenty.runtime import Call, call_of
from provisioning_pipeline.sandbox.twenty.store import Row, members_table

query = QueryType()
mutation = MutationType()

CALLS_PER_MINUTE = 100
MAX_PAGE = 60
FIRST_COMPANIES = 5


def _throttle(call: Call) -> None:
    """100 record calls a minute per workspace with an API key; user tokens are not counted."""
    if call.caller.api_key is None or call.caller.workspace is None:
        return
    now = time.monotonic()
    kept = call.runtime.record_calls.setdefault(call.caller.workspace["id"], [])
    kept[:] = [moment for moment in kept if moment > now - 60]
    if len(kept) >= CALLS_PER_MINUTE:
        raise bad_input(
            f"Limit reached ({CALLS_PER_MINUTE} tokens per 60000 ms)",
            "Rate limit reached. Please try again later.",
            "LIMIT_REACHED",
        )
    kept.append(now)


def _check_actor(call: Call) -> None:
    """A user token from before the activation knows no member to write as."""
    if call.caller.api_key is None and call.caller.workspace_member_id is None:
        raise TwentyError(
            "Unable to build actor metadata - no valid actor information found in auth context",
            "INTERNAL_SERVER_ERROR",
            None,
            None,
        )


@query.field("workspaceMembers")
async def workspace_members(_: None, info: GraphQLResolveInfo, first: int = MAX_PAGE, after: str | None = None) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    _throttle(call)
    schema = await whole_schema(call.db, workspace)
    # an object of the system: a role that reads no records reads it all the same (recorded on 2.21.0)
    if await role_of_caller(call) is None:
        raise permission_denied()
    table = members_table(schema)
    start = UUID(base64.b64decode(after).decode()) if after else UUID(int=0)
    rows = await call.db.all(
        SQL('SELECT * FROM {} WHERE "deletedAt" IS NULL AND id > %s ORDER BY id LIMIT %s').format(table),
        start,
        min(first, MAX_PAGE) + 1,
    )
    total = await call.db.the(SQL('SELECT count(*) AS n FROM {} WHERE "deletedAt" IS NULL').format(table))
    page = rows[: min(first, MAX_PAGE)]
    edges = [{"node": view(row), "cursor": _cursor(row)} for row in page]
    page_info: Row = {"hasNextPage": len(rows) > len(page), "hasPreviousPage": after is not None}
    page_info |= {"startCursor": edges[0]["cursor"], "endCursor": edges[-1]["cursor"]} if edges else {}
    return {"edges": edges, "totalCount": total["n"], "pageInfo": page_info}


@query.field("companies")
async def companies(_: None, info: GraphQLResolveInfo, **_rest: Any) -> Row:
    """A look at records that only a role gives; there are those with which Twenty begins a workspace."""
    call = call_of(info)
    _throttle(call)
    await whole_schema(call.db, require_workspace(call))
    role = await role_of_caller(call)
    if role is None or not role["canReadAllObjectRecords"]:
        raise permission_denied()
    return {"totalCount": FIRST_COMPANIES}


def _cursor(row: Row) -> str:
    return base64.b64encode(str(row["id"]).encode()).decode()


@mutation.field("updateWorkspaceMember")
async def update_workspace_member(_: None, info: GraphQLResolveInfo, id: UUID, data: Row) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    _throttle(call)
    _check_actor(call)
    if not await has_settings_permission(call):
        raise permission_denied()
    # records that are marked as deleted, too: so they come back (recorded on 2.21.0)
    member = await member_by_id(call, workspace, id, also_deleted=True)
    if member is None:
        friendly = "This record does not exist or has been deleted."
        raise TwentyError("Record not found", "NOT_FOUND", "RECORD_NOT_FOUND", friendly)
    # Unlike updateWorkspaceMemberSettings this clears no onboarding step.
    return view(await write_member(call, workspace, member, columns_of(data) | _mark_in(data)))


def _mark_in(data: Row) -> Row:
    return {name: data[name] for name in ("deletedAt",) if name in data}


@mutation.field("createWorkspaceMember")
async def create_workspace_member(_: None, info: GraphQLResolveInfo, **_rest: Any) -> Row:
    call = call_of(info)
    require_workspace(call)
    _throttle(call)
    raise permission_denied()


@mutation.field("deleteWorkspaceMember")
async def delete_workspace_member(_: None, info: GraphQLResolveInfo, **_rest: Any) -> Row:
    call = call_of(info)
    require_workspace(call)
    _throttle(call)
    raise bad_input(
        "Please use /deleteUserFromWorkspace to remove a workspace member.",
        "Please use Settings to remove a workspace member.",
        "BAD_REQUEST",
    )
