"""`currentUser`: the truth of what a user would see on opening the workspace of the token."""

from typing import Any

from ariadne import MutationType, ObjectType, QueryType
from graphql import GraphQLResolveInfo
from psycopg.sql import SQL

from provisioning_pipeline.sandbox.twenty import onboarding
from provisioning_pipeline.sandbox.twenty.accounts import available_workspaces
from provisioning_pipeline.sandbox.twenty.callers import (
    NOT_YET,
    membership,
    require_user,
    require_workspace,
    role_of_caller,
    role_of_tie,
    user_by_email,
)
from provisioning_pipeline.sandbox.twenty.errors import bad_input, internal, no_role, permission_denied
from provisioning_pipeline.sandbox.twenty.members import own_member
from provisioning_pipeline.sandbox.twenty.runtime import call_of
from provisioning_pipeline.sandbox.twenty.store import Row, members_table
from provisioning_pipeline.sandbox.twenty.versions import CONNECT_ACCOUNT

query = QueryType()
mutation = MutationType()
user_type = ObjectType("User")
newer_user_type = ObjectType("User")
"""What 2.38 tells besides."""
user_workspace_type = ObjectType("UserWorkspace")

# Order and content as recorded on 2.21.0.
_MEMBER = """
VIEWS AI UPLOAD_FILE DOWNLOAD_FILE SEND_EMAIL_TOOL CREATE_CALENDAR_EVENT_TOOL HTTP_REQUEST_TOOL
CODE_INTERPRETER_TOOL IMPORT_CSV EXPORT_CSV CONNECTED_ACCOUNTS PROFILE_INFORMATION
"""
_ADMIN = """
API_KEYS_AND_WEBHOOKS WORKSPACE WORKSPACE_MEMBERS ROLES DATA_MODEL SECURITY WORKFLOWS APPLICATIONS LAYOUTS
VIEWS BILLING AI_SETTINGS AI UPLOAD_FILE DOWNLOAD_FILE SEND_EMAIL_TOOL CREATE_CALENDAR_EVENT_TOOL
HTTP_REQUEST_TOOL CODE_INTERPRETER_TOOL IMPORT_CSV EXPORT_CSV CONNECTED_ACCOUNTS IMPERSONATE SSO_BYPASS
PROFILE_INFORMATION MARKETPLACE_APPS
"""
MEMBER_FLAGS, ADMIN_FLAGS = _MEMBER.split(), _ADMIN.split()


@mutation.field("updateUserEmail")
async def update_user_email(_: None, info: GraphQLResolveInfo, newEmail: str, **_rest: Any) -> bool:
    call = call_of(info)
    user, workspace = require_user(call), require_workspace(call)
    role = await role_of_caller(call)
    may = role is not None and (role["canUpdateAllSettings"] or role["canAccessAllTools"])
    # the right is checked first, then the workspace's own setting (source only); both are refused alike
    if not may or "email" not in (workspace["editableProfileFields"] or ()):
        raise permission_denied()
    email = newEmail.strip().lower()
    if email == user["email"]:
        raise bad_input("New email must be different from current email", sub_code="EMAIL_UNCHANGED")
    ties = await call.db.all(
        'SELECT * FROM core."userWorkspace" WHERE "userId" = %s AND "deletedAt" IS NULL', user["id"]
    )
    if len(ties) > 1:
        raise bad_input(
            "Email updates are available only for users with a single workspace",
            "Email can only be updated when you belong to a single workspace.",
            "EMAIL_UPDATE_RESTRICTED_TO_SINGLE_WORKSPACE",
        )
    if await user_by_email(call.db, email) is not None:
        raise bad_input("Email already in use", sub_code="EMAIL_ALREADY_IN_USE")
    await call.db.run('UPDATE core."user" SET email = %s, "updatedAt" = now() WHERE id = %s', email, user["id"])
    # a worker does that up to three seconds later in the real one; the password and the tokens stay
    await call.db.run(
        SQL('UPDATE {} SET "userEmail" = %s WHERE "userId" = %s').format(members_table(workspace["databaseSchema"])),
        email,
        user["id"],
    )
    return True


@query.field("currentUser")
async def current_user(_: None, info: GraphQLResolveInfo) -> Row:
    call = call_of(info)
    user, workspace = require_user(call), call.caller.workspace
    if workspace is None:
        return user
    # Of the membership as it is now: the one in the token may be an earlier one (recorded on 2.21.0).
    tie = await membership(call.db, user["id"], workspace["id"])
    if tie is None:
        raise internal("Current user workspace not found")
    if workspace["activationStatus"] not in NOT_YET and await role_of_tie(call.db, tie["id"]) is None:
        raise no_role()
    return user


@user_type.field("hasPassword")
def has_password(user: Row, _info: GraphQLResolveInfo) -> bool:
    return bool(user["passwordHash"])


@user_type.field("onboardingStatus")
async def onboarding_status(user: Row, info: GraphQLResolveInfo) -> str | None:
    call = call_of(info)
    workspace = call.caller.workspace
    if workspace is None:
        return None
    return await onboarding.status(call.db, call.runtime.options, user["id"], workspace["id"])


@newer_user_type.field("previousOnboardingStatus")
async def previous_onboarding_status(user: Row, info: GraphQLResolveInfo) -> str | None:
    call = call_of(info)
    if call.caller.workspace is None:
        return None
    return await onboarding.previous_status(call.db, call.runtime.options, user["id"], call.caller.workspace["id"])


@user_type.field("userVars")
async def user_vars(user: Row, info: GraphQLResolveInfo) -> dict[str, Any]:
    call = call_of(info)
    if call.caller.workspace is None:
        return {}
    variables = await onboarding.user_variables(call.db, user["id"], call.caller.workspace["id"])
    # Of all the onboarding keys the server shows this one only (recorded on 2.21.0).
    return {key: value for key, value in variables.items() if key == CONNECT_ACCOUNT}


@user_type.field("currentWorkspace")
async def current_workspace(_user: Row, info: GraphQLResolveInfo) -> Row | None:
    return call_of(info).caller.workspace


@user_type.field("currentUserWorkspace")
async def current_user_workspace(user: Row, info: GraphQLResolveInfo) -> Row | None:
    call = call_of(info)
    if call.caller.workspace is None:
        return None
    return await membership(call.db, user["id"], call.caller.workspace["id"])


@user_type.field("workspaceMember")
async def workspace_member(_user: Row, info: GraphQLResolveInfo) -> Row | None:
    return await own_member(call_of(info))


@user_type.field("workspaces")
async def workspaces(user: Row, info: GraphQLResolveInfo) -> list[Row]:
    return await call_of(info).db.all(
        'SELECT * FROM core."userWorkspace" WHERE "userId" = %s AND "deletedAt" IS NULL', user["id"]
    )


@user_type.field("availableWorkspaces")
async def users_available_workspaces(user: Row, info: GraphQLResolveInfo) -> Row:
    return await available_workspaces(call_of(info), user["email"], with_login_tokens=True)


@user_workspace_type.field("permissionFlags")
async def permission_flags(_tie: Row, info: GraphQLResolveInfo) -> list[str]:
    role = await role_of_caller(call_of(info))
    if role is None:
        return []
    if role["canUpdateAllSettings"]:
        return ADMIN_FLAGS
    return MEMBER_FLAGS if role["canAccessAllTools"] else []
