"""Reading and changing a workspace, and what the public may know about one."""

from typing import Any

import psycopg.errors
from ariadne import MutationType, ObjectType, QueryType
from graphql import GraphQLResolveInfo
from psycopg.sql import SQL, Identifier

from provisioning_pipeline.sandbox.twenty import subdomains
from provisioning_pipeline.sandbox.twenty.callers import (
    require_settings_permission,
    require_user,
    require_workspace,
)
from provisioning_pipeline.sandbox.twenty.domains import workspace_of_origin
from provisioning_pipeline.sandbox.twenty.errors import TwentyError, bad_input, internal, rejected_argument
from provisioning_pipeline.sandbox.twenty.memberships import soft_delete_workspace
from provisioning_pipeline.sandbox.twenty.runtime import call_of
from provisioning_pipeline.sandbox.twenty.store import Row

query = QueryType()
mutation = MutationType()
workspace_type = ObjectType("Workspace")

_SETTINGS = """
allowImpersonation defaultRoleId displayName inviteHash isPasswordAuthEnabled isPublicInviteLinkEnabled
isTwoFactorAuthenticationEnforced logo subdomain
"""
SHORTEST_HASH = 10

_CHANGEABLE = frozenset(_SETTINGS.split())


@query.field("currentWorkspace")
async def current_workspace(_: None, info: GraphQLResolveInfo) -> Row:
    return require_workspace(call_of(info))


@query.field("findWorkspaceFromInviteHash")
async def find_by_invite_hash(_: None, info: GraphQLResolveInfo, inviteHash: str) -> Row:
    if len(inviteHash) < SHORTEST_HASH:
        raise rejected_argument(f"inviteHash must be longer than or equal to {SHORTEST_HASH} characters")
    found = await call_of(info).db.one(
        'SELECT * FROM core."workspace" WHERE "inviteHash" = %s AND "deletedAt" IS NULL', inviteHash
    )
    if found is None:
        raise bad_input("Workspace does not exist", "Workspace does not exist.")
    return found


@query.field("checkWorkspaceInviteHashIsValid")
async def is_invite_hash_valid(_: None, info: GraphQLResolveInfo, inviteHash: str) -> Row:
    found = await call_of(info).db.one(
        'SELECT 1 AS found FROM core."workspace" WHERE "inviteHash" = %s AND "deletedAt" IS NULL', inviteHash
    )
    return {"isValid": found is not None}


@query.field("getPublicWorkspaceDataByDomain")
async def public_data(_: None, info: GraphQLResolveInfo, origin: str | None = None) -> Row:
    call = call_of(info)
    try:
        workspace = await workspace_of_origin(call.runtime, origin or "")
    except TwentyError as error:
        if error.extensions.get("subCode") != "WORKSPACE_NOT_FOUND":
            raise
        raise TwentyError(error.message, "NOT_FOUND", "WORKSPACE_NOT_FOUND", "Workspace not found.") from None
    # Google, Microsoft and magic links need credentials that the sandbox does not have.
    providers = {"google": False, "magicLink": False, "microsoft": False}
    return workspace | {"authProviders": providers | {"password": workspace["isPasswordAuthEnabled"]}}


@query.field("getWorkspaceCreationDefaults")
async def creation_defaults(_: None, info: GraphQLResolveInfo) -> Row:
    call = call_of(info)
    base = subdomains.from_email(require_user(call)["email"])
    if base is None:
        return {"displayName": "", "subdomain": ""}
    free = await subdomains.suggest(call.db, base)
    return {"displayName": base[:1].upper() + base[1:], "subdomain": free[0]}


@query.field("checkWorkspaceSubdomainAvailability")
async def subdomain_availability(_: None, info: GraphQLResolveInfo, subdomain: str) -> Row:
    call = call_of(info)
    require_user(call)
    valid = subdomains.is_valid(subdomain)
    available = valid and await subdomains.is_free(call.db, subdomain)
    suggested = [subdomain] if available else await subdomains.suggest(call.db, subdomain, 3)
    return {
        "isValid": valid,
        "available": available,
        "suggestedSubdomain": suggested[0],
        "suggestedSubdomains": suggested,
    }


@mutation.field("updateWorkspace")
async def update_workspace(_: None, info: GraphQLResolveInfo, data: Row) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    if call.caller.api_key is not None:
        raise TwentyError("This endpoint requires a user context. API keys are not supported.", "FORBIDDEN")
    await require_settings_permission(call)
    changes = {name: value for name, value in data.items() if name in _CHANGEABLE}
    wanted = changes.get("subdomain")
    if wanted is not None and wanted != workspace["subdomain"]:
        await subdomains.check(call.db, wanted)
    if not changes:
        return workspace
    setters = SQL(", ").join(SQL("{} = %s").format(Identifier(name)) for name in changes)
    try:
        return await call.db.the(
            SQL('UPDATE core."workspace" SET {}, "updatedAt" = now() WHERE id = %s RETURNING *').format(setters),
            *changes.values(),
            workspace["id"],
        )
    except psycopg.errors.UniqueViolation:
        raise subdomains.taken() from None


@mutation.field("deleteCurrentWorkspace")
async def delete_current_workspace(_: None, info: GraphQLResolveInfo) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    if workspace["defaultRoleId"] is None:
        # it is suspended first, which the table refuses before the activation (run on 2.21.0)
        raise internal(
            'new row for relation "workspace" violates check constraint "onboarded_workspace_requires_default_role"'
        )
    await soft_delete_workspace(call.db, workspace["id"])
    call.runtime.known_workspaces.pop(workspace["id"], None)
    return workspace


@workspace_type.field("workspaceMembersCount")
async def members_count(workspace: Row, info: GraphQLResolveInfo) -> int:
    row = await call_of(info).db.the(
        'SELECT count(*) AS n FROM core."userWorkspace" WHERE "workspaceId" = %s AND "deletedAt" IS NULL',
        workspace["id"],
    )
    return int(row["n"])


@workspace_type.field("defaultRole")
async def default_role(workspace: Row, info: GraphQLResolveInfo) -> Row | None:
    return await call_of(info).db.one('SELECT * FROM core."role" WHERE id = %s', workspace["defaultRoleId"])


def workspace_urls(workspace: Any, info: GraphQLResolveInfo) -> Row:
    """Where a browser finds it."""
    return call_of(info).runtime.workspace_urls(workspace)


workspace_type.set_field("workspaceUrls", workspace_urls)
public_workspace_type = ObjectType("PublicWorkspaceData")
public_workspace_type.set_field("workspaceUrls", workspace_urls)
