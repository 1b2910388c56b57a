"""Who is calling, and what they may do: the bearer token, the guards and the roles."""

from datetime import UTC, datetime
from uuid import UUID

from psycopg.sql import SQL

from provisioning_pipeline.sandbox.twenty.errors import (
    TwentyError,
    forbidden,
    forbidden_resource,
    metadata_missing,
    no_such_membership,
    not_a_member_any_more,
    permission_denied,
    tokens_workspace_not_found,
    unauthenticated,
)
from provisioning_pipeline.sandbox.twenty.impersonation import check_impersonation
from provisioning_pipeline.sandbox.twenty.runtime import Call, Caller, Runtime
from provisioning_pipeline.sandbox.twenty.store import Row, Session, members_table, schema_name
from provisioning_pipeline.sandbox.twenty.tokens import Tokens

NOT_YET = ("PENDING_CREATION", "ONGOING_CREATION")


async def identify(runtime: Runtime, authorization: str | None) -> Caller:
    """The caller behind an Authorization header. A bad token is refused before the query is looked at."""
    if not authorization or not authorization.lower().startswith("bearer "):
        return Caller()
    claims = runtime.tokens.read(authorization[len("bearer ") :].strip())
    match claims.get("type"):
        case "API_KEY":
            return await _api_key(runtime.db, claims)
        case "WORKSPACE_AGNOSTIC":
            user = await user_by_id(runtime.db, UUID(claims["sub"]))
            if user is None:
                raise unauthenticated("User not found", "USER_NOT_FOUND", "User not found.")
            return Caller(user=user, token_type="WORKSPACE_AGNOSTIC", provider=claims["authProvider"])
        case "ACCESS":
            return await _member(runtime, claims)
        case _:
            raise forbidden("Invalid token", sub_code="INVALID_JWT_TOKEN_TYPE")


async def user_by_id(db: Session, user_id: UUID) -> Row | None:
    """A user that has not been deleted."""
    return await db.one('SELECT * FROM core."user" WHERE id = %s AND "deletedAt" IS NULL', user_id)


async def user_by_email(db: Session, email: str) -> Row | None:
    """E-mails are stored in lower case and compared as they come (source only)."""
    return await db.one('SELECT * FROM core."user" WHERE email = %s AND "deletedAt" IS NULL', email)


async def workspace_by_id(db: Session, workspace_id: UUID) -> Row | None:
    """A workspace that has not been deleted."""
    return await db.one('SELECT * FROM core."workspace" WHERE id = %s AND "deletedAt" IS NULL', workspace_id)


async def membership(db: Session, user_id: UUID, workspace_id: UUID) -> Row | None:
    """The row that ties a user to a workspace."""
    return await db.one(
        'SELECT * FROM core."userWorkspace" WHERE "userId" = %s AND "workspaceId" = %s AND "deletedAt" IS NULL',
        user_id,
        workspace_id,
    )


async def member_of(db: Session, workspace: Row, user_id: UUID) -> Row | None:
    """A user's own record inside the workspace; None before activation."""
    if workspace["activationStatus"] in NOT_YET:
        return None
    schema = await whole_schema(db, workspace)
    query = SQL('SELECT * FROM {} WHERE "userId" = %s AND "deletedAt" IS NULL').format(members_table(schema))
    return await db.one(query, user_id)


async def whole_schema(db: Session, workspace: Row) -> str:
    """The workspace's schema; raises if it was never made: not activated, or hand-made in SQL."""
    schema = str(workspace["databaseSchema"] or schema_name(workspace["id"]))
    row = await db.the(
        'SELECT to_regclass(%s) IS NOT NULL AND EXISTS (SELECT 1 FROM core."objectMetadata"'
        ' WHERE "workspaceId" = %s AND "nameSingular" = \'workspaceMember\') AS whole',
        f'"{schema}"."workspaceMember"',
        workspace["id"],
    )
    if not row["whole"]:
        raise metadata_missing(workspace["id"])
    return schema


async def _api_key(db: Session, claims: Row) -> Caller:
    workspace = await workspace_by_id(db, UUID(claims["sub"]))
    if workspace is None:
        raise tokens_workspace_not_found()
    key = await db.one(
        'SELECT * FROM core."apiKey" WHERE id = %s AND "workspaceId" = %s',
        UUID(claims["jti"]),
        workspace["id"],
    )
    friendly = {"id": "q5OVn+", "message": "You do not have permission to perform this action."}
    if key is None or key["revokedAt"] is not None:
        raise forbidden("This API Key is revoked", friendly)
    if key["expiresAt"] < datetime.now(UTC):
        raise forbidden("This API Key is expired", friendly)
    return Caller(workspace=workspace, api_key=key, token_type="API_KEY")


async def _member(runtime: Runtime, claims: Row) -> Caller:
    db = runtime.db
    workspace_id, tie_id = UUID(claims["workspaceId"]), UUID(claims["userWorkspaceId"])
    # One that SQL deleted goes on in the cache, for those who used it before (recorded on 2.21.0).
    workspace = await workspace_by_id(db, workspace_id) or runtime.known_workspaces.get(workspace_id)
    if workspace is None:
        raise tokens_workspace_not_found()
    if claims.get("isImpersonating"):
        # On every call: an impersonator who lost the right loses the session too (source only).
        await check_impersonation(
            runtime, UUID(claims["impersonatorUserWorkspaceId"]), UUID(claims["impersonatedUserWorkspaceId"])
        )
    user = await user_by_id(db, UUID(claims["sub"]))
    tie = await db.one('SELECT 1 AS found FROM core."userWorkspace" WHERE id = %s AND "deletedAt" IS NULL', tie_id)
    # The cache outlives the row of a membership, which is why an old token works again once the person is back.
    if user is None or (tie is None and tie_id not in runtime.known_ties):
        raise no_such_membership()
    member_id = claims.get("workspaceMemberId")
    if workspace["activationStatus"] not in NOT_YET:
        # A record that SQL took away is still in the cache; one that went with its membership is not.
        member = await member_of(db, workspace, user["id"])
        if member is None and tie is None:
            raise not_a_member_any_more()
    runtime.known_ties.add(tie_id)
    runtime.known_workspaces[workspace_id] = workspace
    return Caller(
        user=user,
        workspace=workspace,
        user_workspace_id=tie_id,
        workspace_member_id=UUID(member_id) if member_id else None,
        token_type="ACCESS",
        provider=claims["authProvider"],
        impersonating=bool(claims.get("isImpersonating")),
    )


def require_user(call: Call) -> Row:
    """The guard of calls that need a person."""
    if call.caller.user is None:
        raise forbidden_resource()
    return call.caller.user


def require_workspace(call: Call) -> Row:
    """The guard of calls inside a workspace."""
    if call.caller.workspace is None:
        raise forbidden_resource()
    return call.caller.workspace


def require_access_token(call: Call) -> None:
    """The guard of calls that an API key may not make although its role would let it."""
    if call.caller.token_type != "ACCESS":
        raise forbidden("This endpoint requires a session access token")


async def role_of_caller(call: Call) -> Row | None:
    """The role of the member, or of the API key."""
    caller = call.caller
    if caller.api_key is not None:
        query = 'SELECT r.* FROM core."roleTarget" t JOIN core."role" r ON r.id = t."roleId" WHERE t."apiKeyId" = %s'
        return await call.db.one(query, caller.api_key["id"])
    return await role_of_tie(call.db, caller.user_workspace_id) if caller.user_workspace_id else None


async def role_of_tie(db: Session, user_workspace_id: UUID) -> Row | None:
    """The role that goes with a membership."""
    query = 'SELECT r.* FROM core."roleTarget" t JOIN core."role" r ON r.id = t."roleId" WHERE t."userWorkspaceId" = %s'
    return await db.one(query, user_workspace_id)


async def has_settings_permission(call: Call) -> bool:
    """Every permission used here comes with `canUpdateAllSettings`; no custom flags are modelled."""
    role = await role_of_caller(call)
    return role is not None and bool(role["canUpdateAllSettings"])


async def require_settings_permission(call: Call) -> None:
    """The guard of administration. Before activation there are no roles, and it lets everyone pass."""
    workspace = require_workspace(call)
    if workspace["activationStatus"] in NOT_YET:
        return
    if not await has_settings_permission(call):
        raise permission_denied()


async def access_tokens(runtime: Runtime, user_id: UUID, workspace: Row, refresh: Row, refresh_seconds: float) -> Row:
    """A session in a workspace: what `getAuthTokensFromLoginToken` and `renewToken` answer."""
    db, tokens = runtime.db, runtime.tokens
    tie = await membership(db, user_id, workspace["id"])
    if tie is None:
        # The real one throws its own class here, which no filter knows (recorded on 2.21.0).
        raise TwentyError("User Workspace not found", "INTERNAL_SERVER_ERROR", None, "User workspace not found.")
    member = None
    if workspace["activationStatus"] not in NOT_YET:
        member = await member_of(db, workspace, user_id)
        if member is None:
            # A membership without a member record: no one gets in (source only).
            raise forbidden("User is not a member of the workspace", "User is not a member of the workspace.")
    claims = {
        "type": "ACCESS",
        "sub": user_id,
        "userId": user_id,
        "workspaceId": workspace["id"],
        "userWorkspaceId": tie["id"],
        "workspaceMemberId": member["id"] if member else None,
        "isImpersonating": False,
    }
    access = tokens.sign(claims | refresh, runtime.options.access_token_seconds)
    return {
        "accessOrWorkspaceAgnosticToken": access,
        "refreshToken": await refresh_token(
            db, tokens, user_id, workspace["id"], {"targetedTokenType": "ACCESS"} | refresh, refresh_seconds
        ),
    }


async def agnostic_tokens(runtime: Runtime, user_id: UUID, provider: str = "password") -> Row:
    """A session without a workspace: what `signUp` and `signIn` answer."""
    claims = {"targetedTokenType": "WORKSPACE_AGNOSTIC", "authProvider": provider}
    return {
        "accessOrWorkspaceAgnosticToken": runtime.tokens.agnostic(user_id, provider),
        "refreshToken": await refresh_token(
            runtime.db, runtime.tokens, user_id, None, claims, runtime.options.refresh_token_seconds
        ),
    }


async def refresh_token(
    db: Session, tokens: Tokens, user_id: UUID, workspace_id: UUID | None, claims: Row, seconds: float
) -> Row:
    """A refresh token is also a row, so that it can be revoked."""
    row = await db.the(
        'INSERT INTO core."appToken" ("userId", "workspaceId", type, "expiresAt")'
        " VALUES (%s, %s, 'REFRESH_TOKEN', now() + make_interval(secs => %s)) RETURNING id",
        user_id,
        workspace_id,
        seconds,
    )
    more = {"type": "REFRESH", "sub": user_id, "jti": row["id"], "workspaceId": workspace_id}
    return tokens.sign(claims | more, seconds)
