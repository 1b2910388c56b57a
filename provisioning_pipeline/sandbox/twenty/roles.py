"""Roles and API keys."""

from datetime import datetime
from uuid import UUID

from ariadne import MutationType, ObjectType, QueryType
from graphql import GraphQLResolveInfo
from psycopg.errors import UniqueViolation
from psycopg.sql import SQL, Identifier, Placeholder

from provisioning_pipeline.sandbox.twenty.callers import (
    NOT_YET,
    require_access_token,
    require_settings_permission,
    require_workspace,
)
from provisioning_pipeline.sandbox.twenty.errors import bad_input, internal, role_label_taken, role_not_found
from provisioning_pipeline.sandbox.twenty.members import view
from provisioning_pipeline.sandbox.twenty.runtime import call_of
from provisioning_pipeline.sandbox.twenty.store import Row, members_table

query = QueryType()
mutation = MutationType()
role_type = ObjectType("Role")
api_key_type = ObjectType("ApiKey")


@query.field("getRoles")
async def get_roles(_: None, info: GraphQLResolveInfo) -> list[Row]:
    call = call_of(info)
    await require_settings_permission(call)
    return await call.db.all(
        'SELECT * FROM core."role" WHERE "workspaceId" = %s ORDER BY "createdAt"',
        require_workspace(call)["id"],
    )


@role_type.field("workspaceMembers")
async def members_of_role(role: Row, info: GraphQLResolveInfo) -> list[Row]:
    call = call_of(info)
    workspace = require_workspace(call)
    rows = await call.db.all(
        SQL(
            'SELECT m.* FROM {} m JOIN core."userWorkspace" uw ON uw."userId" = m."userId"'
            ' AND uw."workspaceId" = %s AND uw."deletedAt" IS NULL'
            ' JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id AND t."roleId" = %s'
            ' WHERE m."deletedAt" IS NULL'
        ).format(members_table(workspace["databaseSchema"])),
        workspace["id"],
        role["id"],
    )
    return [view(row) for row in rows]


@role_type.field("permissionFlags")
@role_type.field("objectPermissions")
async def nothing_besides(_role: Row, _info: GraphQLResolveInfo) -> list[Row]:
    """No role here gives more than its own fields say."""
    return []


@mutation.field("createOneRole")
async def create_one_role(_: None, info: GraphQLResolveInfo, createRoleInput: Row) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    values = {name: value for name, value in createRoleInput.items() if value is not None}
    values |= {"workspaceId": workspace["id"]}
    try:
        return await call.db.the(
            SQL('INSERT INTO core."role" ({}) VALUES ({}) RETURNING *').format(
                SQL(", ").join(Identifier(name) for name in values), SQL(", ").join(Placeholder() for _ in values)
            ),
            *values.values(),
        )
    except UniqueViolation:
        raise role_label_taken(createRoleInput["label"]) from None


@mutation.field("deleteOneRole")
async def delete_one_role(_: None, info: GraphQLResolveInfo, roleId: UUID) -> str:
    """Its holders get the workspace's default role (recorded on 2.21.0)."""
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    role = await call.db.one('SELECT * FROM core."role" WHERE id = %s AND "workspaceId" = %s', roleId, workspace["id"])
    if role is None:
        raise role_not_found()
    if role["id"] == workspace["defaultRoleId"]:
        friendly = "The default role cannot be deleted as it is required for the workspace to function properly."
        raise internal("Default role cannot be deleted", friendly)
    async with call.db.transaction() as db:
        await db.run(
            'UPDATE core."roleTarget" SET "roleId" = %s WHERE "roleId" = %s', workspace["defaultRoleId"], roleId
        )
        await db.run('DELETE FROM core."role" WHERE id = %s', roleId)
    return str(roleId)


@query.field("apiKeys")
async def api_keys(_: None, info: GraphQLResolveInfo) -> list[Row]:
    call = call_of(info)
    await require_settings_permission(call)
    return await call.db.all(
        'SELECT * FROM core."apiKey" WHERE "workspaceId" = %s AND "revokedAt" IS NULL ORDER BY "createdAt"',
        require_workspace(call)["id"],
    )


@mutation.field("createApiKey")
async def create_api_key(_: None, info: GraphQLResolveInfo, input: Row) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    require_access_token(call)
    if workspace["activationStatus"] in NOT_YET:
        message = f"Could not find workspace Standard applicationId in cache {workspace['id']}"
        raise internal(message, "Application not found.")
    role = await call.db.one(
        'SELECT * FROM core."role" WHERE id = %s AND "workspaceId" = %s', input["roleId"], workspace["id"]
    )
    if role is None:
        raise internal("Could not find role for given roleId")
    if not role["canBeAssignedToApiKeys"]:
        raise internal("Multiple validation errors occurred while creating role targets")
    async with call.db.transaction() as db:
        key = await db.the(
            'INSERT INTO core."apiKey" (name, "expiresAt", "workspaceId") VALUES (%s, %s, %s) RETURNING *',
            input["name"],
            _moment(input["expiresAt"]),
            workspace["id"],
        )
        await db.run(
            'INSERT INTO core."roleTarget" ("workspaceId", "roleId", "apiKeyId") VALUES (%s, %s, %s)',
            workspace["id"],
            role["id"],
            key["id"],
        )
    return key


@mutation.field("generateApiKeyToken")
async def generate_api_key_token(_: None, info: GraphQLResolveInfo, apiKeyId: UUID, expiresAt: str) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    require_access_token(call)
    await require_settings_permission(call)
    key = await call.db.one(
        'SELECT * FROM core."apiKey" WHERE id = %s AND "workspaceId" = %s', apiKeyId, workspace["id"]
    )
    if key is None:
        raise internal(f"API Key with id {apiKeyId} not found", "API key not found.")
    return {"token": call.tokens.api_key(key["id"], workspace["id"], _moment(expiresAt))}


@mutation.field("updateApiKey")
async def update_api_key(_: None, info: GraphQLResolveInfo, input: Row) -> Row | None:
    """A revoked key works again once this takes its mark off (recorded on 2.21.0)."""
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    require_access_token(call)
    moments = {name: input[name] and _moment(input[name]) for name in ("expiresAt", "revokedAt") if name in input}
    values = moments | {name: input[name] for name in ("name",) if name in input}
    setters = SQL("").join(SQL("{} = %s, ").format(Identifier(name)) for name in values)
    return await call.db.one(
        SQL('UPDATE core."apiKey" SET {} "updatedAt" = now() WHERE id = %s AND "workspaceId" = %s RETURNING *').format(
            setters
        ),
        *values.values(),
        input["id"],
        workspace["id"],
    )


@mutation.field("revokeApiKey")
async def revoke_api_key(_: None, info: GraphQLResolveInfo, input: Row) -> Row | None:
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    require_access_token(call)
    return await call.db.one(
        'UPDATE core."apiKey" SET "revokedAt" = now(), "updatedAt" = now()'
        ' WHERE id = %s AND "workspaceId" = %s RETURNING *',
        input["id"],
        workspace["id"],
    )


@api_key_type.field("role")
async def role_of_key(key: Row, info: GraphQLResolveInfo) -> Row | None:
    return await call_of(info).db.one(
        'SELECT r.* FROM core."roleTarget" t JOIN core."role" r ON r.id = t."roleId" WHERE t."apiKeyId" = %s',
        key["id"],
    )


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise bad_input(f"Invalid date: {text}") from None
