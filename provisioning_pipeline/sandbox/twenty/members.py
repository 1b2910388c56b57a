"""Members of a workspace: their settings, their roles, their removal."""

from typing import Any
from uuid import UUID

from ariadne import MutationType, ObjectType
from graphql import GraphQLResolveInfo
from psycopg.sql import SQL, Identifier

from provisioning_pipeline.sandbox.twenty import onboarding
from provisioning_pipeline.sandbox.twenty.callers import (
    has_settings_permission,
    member_of,
    membership,
    require_settings_permission,
    require_user,
    require_workspace,
    user_by_id,
    whole_schema,
    workspace_by_id,
)
from provisioning_pipeline.sandbox.twenty.errors import (
    TwentyError,
    forbidden,
    internal,
    malformed_uuid,
    not_found_by_id,
    permission_denied,
    rejected_argument,
)
from provisioning_pipeline.sandbox.twenty.memberships import (
    assign_role,
    check_not_last_admin,
    remove_from_workspace,
)
from provisioning_pipeline.sandbox.twenty.runtime import Call, call_of
from provisioning_pipeline.sandbox.twenty.store import Row, members_table

mutation = MutationType()
member_type = ObjectType("WorkspaceMember")

_SETTINGS = ("userEmail", "colorScheme", "locale", "avatarUrl", "timeZone")

# The fields that every workspace has; others are refused (source only, but for the refusal, recorded on 2.21.0).
_STANDARD = """
createdAt updatedAt deletedAt createdBy updatedBy position searchVector name colorScheme locale avatarUrl userEmail
jobTitle assignedTasks ownedOpportunities accountOwnerForCompanies messageParticipants blocklist
calendarEventParticipants timelineActivities timeZone dateFormat timeFormat calendarStartDay numberFormat
"""
STANDARD_FIELDS = frozenset(_STANDARD.split())


def is_uuid(text: str) -> bool:
    """Whether PostgreSQL would take it as one."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def view(member: Row) -> Row:
    """A record of the workspace's member table as GraphQL has it."""
    return member | {"name": {"firstName": member["nameFirstName"], "lastName": member["nameLastName"]}}


async def member_by_id(call: Call, workspace: Row, member_id: object, *, also_deleted: bool = False) -> Row | None:
    """A member by the id of its record, which is neither the user's nor the membership's."""
    table = members_table(await whole_schema(call.db, workspace))
    query = SQL('SELECT * FROM {} WHERE id::text = %s AND ("deletedAt" IS NULL OR %s)').format(table)
    return await call.db.one(query, str(member_id), also_deleted)


def columns_of(update: Row) -> Row:
    """The columns that an update of a member names."""
    columns = {name: update[name] for name in _SETTINGS if name in update}
    name = update.get("name") or {}
    for part, column in (("firstName", "nameFirstName"), ("lastName", "nameLastName")):
        if name.get(part) is not None:
            columns[column] = name[part]
    return columns


async def write_member(call: Call, workspace: Row, member: Row, columns: Row) -> Row:
    """Write columns of a member's record."""
    if not columns:
        return member
    if any("\0" in value for value in columns.values() if isinstance(value, str)):
        raise internal("Data validation error.")  # what PostgreSQL cannot store
    setters = SQL(", ").join(SQL("{} = %s").format(Identifier(column)) for column in columns)
    return await call.db.the(
        SQL('UPDATE {} SET {}, "updatedAt" = now() WHERE id = %s RETURNING *').format(
            members_table(workspace["databaseSchema"]), setters
        ),
        *columns.values(),
        member["id"],
    )


@mutation.field("updateWorkspaceMemberSettings")
async def update_settings(_: None, info: GraphQLResolveInfo, input: Row) -> bool:
    call = call_of(info)
    workspace = require_workspace(call)
    member_id: UUID = input["workspaceMemberId"]
    own = call.caller.workspace_member_id == member_id
    if not own and call.caller.user is not None:
        target = await member_by_id(call, workspace, member_id)
        if target is None:
            raise internal("Workspace member not found")
        own = target["userId"] == call.caller.user["id"]
    if not own and not await has_settings_permission(call):
        raise permission_denied()
    update = input["update"] if isinstance(input["update"], dict) else {}
    _check_fields(update)
    member = await member_by_id(call, workspace, member_id)
    if member is None:
        raise not_found_by_id("Workspace member not found")
    await write_member(call, workspace, member, columns_of(update))
    name: dict[str, Any] = update.get("name") or {}
    # Only a name that says something clears the step, and only through this call (recorded on 2.21.0).
    if name.get("firstName") or name.get("lastName"):
        await onboarding.finish_profile(call.db, call.runtime.options, member["userId"], workspace["id"])
    return True


def _check_fields(update: Row) -> None:
    if not update:
        raise rejected_argument("Update payload cannot be empty", "Add at least one field to update.")
    for name in update:
        if name not in STANDARD_FIELDS:
            raise rejected_argument(
                f"Cannot update custom workspaceMember field via this endpoint: {name}",
                f'"{name}" is not a valid workspace member field.',
            )


@mutation.field("updateWorkspaceMemberRole")
async def update_role(_: None, info: GraphQLResolveInfo, workspaceMemberId: UUID, roleId: UUID) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    require_user(call)
    if call.caller.workspace_member_id == workspaceMemberId:
        raise forbidden(
            "Cannot update self role",
            "You cannot change your own role. Please ask another administrator to update your role.",
            "CANNOT_UPDATE_SELF_ROLE",
        )
    member = await member_by_id(call, workspace, workspaceMemberId)
    if member is None:
        raise internal("Workspace member not found")
    tie = await membership(call.db, member["userId"], workspace["id"])
    if tie is None:
        raise internal("User workspace not found")
    current = await call.db.one('SELECT * FROM core."roleTarget" WHERE "userWorkspaceId" = %s', tie["id"])
    if current is None or current["roleId"] != roleId:
        await check_not_last_admin(
            call.db,
            tie,
            workspace,
            forbidden(
                "Cannot unassign admin role from last admin of the workspace",
                "You cannot remove the admin role from the last administrator."
                " Please assign another administrator first.",
                "CANNOT_UNASSIGN_LAST_ADMIN",
            ),
        )
        role = await call.db.one(
            'SELECT * FROM core."role" WHERE id = %s AND "workspaceId" = %s', roleId, workspace["id"]
        )
        if role is None:
            raise internal("Could not find role for given roleId")
        if not role["canBeAssignedToUsers"]:
            raise internal("Multiple validation errors occurred while creating role targets")
        await assign_role(call.db, workspace["id"], tie["id"], roleId)
    return view(member)


@mutation.field("deleteUserFromWorkspace")
async def delete_user(_: None, info: GraphQLResolveInfo, workspaceMemberIdToDelete: str) -> Row:
    call = call_of(info)
    user = require_user(call)
    if call.caller.workspace is None:
        # The real one asks for the membership before it looks whether there is a workspace (recorded on 2.21.0).
        raise TwentyError("Internal Server Error", "500")
    workspace = call.caller.workspace
    if not is_uuid(workspaceMemberIdToDelete):
        raise malformed_uuid(workspaceMemberIdToDelete, "Invalid input provided.")
    member = await member_by_id(call, workspace, workspaceMemberIdToDelete)
    if member is None:
        raise not_found_by_id("Workspace member to delete not found in workspace")
    if member["userId"] != user["id"] and not await has_settings_permission(call):
        raise permission_denied()
    if await user_by_id(call.db, member["userId"]) is None:
        raise internal("UserEntity not found")
    tie = await membership(call.db, member["userId"], workspace["id"])
    if tie is None:
        raise internal("User workspace not found.")
    await remove_from_workspace(call.db, tie, workspace)
    if await workspace_by_id(call.db, workspace["id"]) is None:
        call.runtime.known_workspaces.pop(workspace["id"], None)
    return tie


@member_type.field("roles")
async def roles_of_member(member: Row, info: GraphQLResolveInfo) -> list[Row]:
    call = call_of(info)
    return await call.db.all(
        'SELECT r.* FROM core."userWorkspace" uw JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id'
        ' JOIN core."role" r ON r.id = t."roleId"'
        ' WHERE uw."userId" = %s AND uw."workspaceId" = %s AND uw."deletedAt" IS NULL',
        member["userId"],
        require_workspace(call)["id"],
    )


@member_type.field("userWorkspaceId")
async def tie_of_member(member: Row, info: GraphQLResolveInfo) -> UUID | None:
    call = call_of(info)
    tie = await membership(call.db, member["userId"], require_workspace(call)["id"])
    return tie["id"] if tie else None


async def own_member(call: Call) -> Row | None:
    """The caller's own record; None without a workspace, before activation, and of half a member."""
    caller = call.caller
    if caller.user is None or caller.workspace is None:
        return None
    # A workspace that was built shows it whatever its status says by now (recorded on 2.21.0).
    built = caller.workspace["databaseSchema"] is not None
    workspace = caller.workspace | ({"activationStatus": "ACTIVE"} if built else {})
    member = await member_of(call.db, workspace, caller.user["id"])
    return view(member) if member else None
