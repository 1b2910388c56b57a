"""Accounts and sessions: sign-up, sign-in, the exchange of tokens, acting as another user."""

import re
from typing import Any
from uuid import UUID

import psycopg.errors
from ariadne import MutationType, QueryType
from graphql import GraphQLResolveInfo

from provisioning_pipeline.sandbox.twenty import sessions
from provisioning_pipeline.sandbox.twenty.callers import (
    access_tokens,
    agnostic_tokens,
    has_settings_permission,
    membership,
    require_user,
    require_workspace,
    user_by_email,
    user_by_id,
    workspace_by_id,
)
from provisioning_pipeline.sandbox.twenty.domains import workspace_of_origin
from provisioning_pipeline.sandbox.twenty.errors import (
    NOT_SIGNED_IN,
    TwentyError,
    bad_input,
    forbidden,
    internal,
    permission_denied,
    rejected_argument,
    unauthenticated,
    user_not_found,
    workspace_not_found,
)
from provisioning_pipeline.sandbox.twenty.impersonation import check_impersonation, refusal, tie_by_id, tie_of
from provisioning_pipeline.sandbox.twenty.invitation_tokens import pending_invitation, validate_invitation
from provisioning_pipeline.sandbox.twenty.memberships import add_to_workspace
from provisioning_pipeline.sandbox.twenty.runtime import Call, Runtime, call_of
from provisioning_pipeline.sandbox.twenty.store import Row, Session
from provisioning_pipeline.sandbox.twenty.tokens import IMPERSONATION_REFRESH_SECONDS

# No dots at an end of the name, nor two together (recorded on 2.21.0).
_EMAIL = re.compile(r"[^@\s.]+(\.[^@\s.]+)*@[^@\s.]+(\.[^@\s.]+)+")

query = QueryType()
mutation = MutationType()


def check_email(*emails: str, message: str = "email must be an email") -> None:
    """Only what looks like an e-mail gets as far as the resolver."""
    if not all(_EMAIL.fullmatch(email) for email in emails):
        raise rejected_argument(message)


def check_credentials(email: str, password: str) -> None:
    """What is asked of both before the resolver sees them (recorded on 2.21.0)."""
    wrong = ["email must be an email"] if _EMAIL.fullmatch(email) is None else []
    wrong += ["email should not be empty"] if not email else []
    wrong += ["password should not be empty"] if not password else []
    if wrong:
        raise rejected_argument(", ".join(wrong))


def check_token_given(name: str, token: str) -> None:
    """The same of a token that is an argument (recorded on 2.21.0)."""
    if not token:
        raise rejected_argument(f"{name} should not be empty")


def check_password_strength(password: str) -> None:
    """8 to 50 characters (recorded on 2.21.0)."""
    if not 8 <= len(password) <= 50 or "\n" in password:
        raise bad_input("Password too weak")


async def create_user(db: Session, email: str, password_hash: str, *, locale: str | None, admin: bool) -> Row:
    """A new account. `admin` is for the first one on the server."""
    try:
        return await db.the(
            'INSERT INTO core."user" (email, "passwordHash", locale, "canImpersonate",'
            ' "canAccessFullAdminPanel")'
            " VALUES (%s, %s, %s, %s, %s) RETURNING *",
            email.lower(),
            password_hash,
            locale or "en",
            admin,
            admin,
        )
    except psycopg.errors.UniqueViolation:
        # Two sign-ups at once: the real one answers what its database says.
        raise internal('duplicate key value violates unique constraint "UQ_USER_EMAIL"') from None


async def available_workspaces(call: Call, user_email: str, *, with_login_tokens: bool) -> Row:
    """Workspaces that an e-mail may enter, and those that it was invited to."""
    user = await user_by_email(call.db, user_email)
    mine = await call.db.all(
        'SELECT w.* FROM core."userWorkspace" uw JOIN core."workspace" w ON w.id = uw."workspaceId"'
        ' WHERE uw."userId" = %s AND uw."deletedAt" IS NULL ORDER BY uw."createdAt"',
        user["id"] if user else None,
    )
    if any(workspace["deletedAt"] is not None for workspace in mine):
        # Deleted by SQL with the membership left: no member of it can sign in any more (recorded on 2.21.0).
        raise internal("Cannot read properties of null (reading 'workspaceDiscoverability')")
    known = [workspace["id"] for workspace in mine]
    invited = await call.db.all(
        'SELECT w.*, t.value AS "personalInviteToken" FROM core."appToken" t'
        ' JOIN core."workspace" w ON w.id = t."workspaceId" AND w."deletedAt" IS NULL'
        " WHERE t.type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN') AND t.context->>'email' = %s"
        ' AND t."deletedAt" IS NULL AND t."expiresAt" > now() AND w.id <> ALL(%s)',
        user_email,
        known,
    )

    def entry(workspace: Row, **more: Any) -> Row:
        urls = call.runtime.workspace_urls(workspace)
        return {
            "id": workspace["id"],
            "displayName": workspace["displayName"],
            "logo": None,
            "workspaceUrls": urls,
            **more,
        }

    def login_token(workspace: Row) -> str | None:
        return call.tokens.login(user_email, workspace["id"])["token"] if with_login_tokens else None

    return {
        "availableWorkspacesForSignIn": [entry(w, loginToken=login_token(w)) for w in mine],
        "availableWorkspacesForSignUp": [entry(w, personalInviteToken=w["personalInviteToken"]) for w in invited],
    }


@query.field("checkUserExists")
async def check_user_exists(_: None, info: GraphQLResolveInfo, email: str, **_rest: Any) -> Row:
    call = call_of(info)
    user = await user_by_email(call.db, email.lower())
    available = await available_workspaces(call, email.lower(), with_login_tokens=False)
    return {
        "exists": user is not None,
        "availableWorkspacesCount": sum(len(workspaces) for workspaces in available.values()),
        "isEmailVerified": bool(user and user["isEmailVerified"]),
    }


@mutation.field("signUp")
async def sign_up(
    _: None, info: GraphQLResolveInfo, email: str, password: str, locale: str | None = None, **_rest: Any
) -> Row:
    call = call_of(info)
    check_credentials(email, password)
    if await user_by_email(call.db, email) is not None:
        raise forbidden("User already exists", "User already exists", "USER_ALREADY_EXISTS")
    await _check_destination(call, email)
    # one that was deleted counts no more: the next to sign up is admin (run on 2.21.0)
    admins = 'SELECT 1 AS found FROM core."user" WHERE "canAccessFullAdminPanel" AND "deletedAt" IS NULL LIMIT 1'
    first = await call.db.one(admins) is None
    check_password_strength(password)
    hashed = await call.runtime.hash_password(password)
    user = await create_user(call.db, email, hashed, locale=locale, admin=first)
    await sessions.begin(call, user["id"])
    return {
        "availableWorkspaces": await available_workspaces(call, user["email"], with_login_tokens=True),
        "tokens": await agnostic_tokens(call.runtime, user["id"]),
    }


async def _check_destination(call: Call, email: str) -> None:
    """From August 2026 on an account must have somewhere to go (source only)."""
    options = call.runtime.options
    if not options.traits.sign_up_needs_destination or not options.creation_limited_to_admins:
        return
    if await call.db.one('SELECT 1 AS found FROM core."workspace" WHERE "deletedAt" IS NULL LIMIT 1') is None:
        return
    available = await available_workspaces(call, email.lower(), with_login_tokens=False)
    if not available["availableWorkspacesForSignUp"]:
        raise forbidden("New workspace setup is disabled", sub_code="SIGNUP_DISABLED")


@mutation.field("signIn")
async def sign_in(_: None, info: GraphQLResolveInfo, email: str, password: str, **_rest: Any) -> Row:
    call = call_of(info)
    check_credentials(email, password)
    user = await _validate_login(call.runtime, email, password, workspace=None)
    await sessions.begin(call, user["id"])
    return {
        "availableWorkspaces": await available_workspaces(call, user["email"], with_login_tokens=True),
        "tokens": await agnostic_tokens(call.runtime, user["id"]),
    }


@mutation.field("getLoginTokenFromCredentials")
async def get_login_token(
    _: None, info: GraphQLResolveInfo, email: str, password: str, origin: str, **_rest: Any
) -> Row:
    call = call_of(info)
    check_credentials(email, password)
    workspace = await workspace_of_origin(call.runtime, origin)
    user = await _validate_login(call.runtime, email, password, workspace)
    return {"loginToken": call.tokens.login(user["email"], workspace["id"])}


async def _validate_login(runtime: Runtime, email: str, password: str, workspace: Row | None) -> Row:
    user = await user_by_email(runtime.db, email)
    if user is None:
        raise user_not_found()
    if workspace is not None and not workspace["isPasswordAuthEnabled"]:
        tie = await tie_of(runtime.db, user["id"], workspace["id"])
        # an Admin may bypass that, where the workspace lets them (run on 2.21.0)
        if not (workspace["isPasswordAuthBypassEnabled"] and tie and tie["isAdmin"]):
            raise forbidden("Email/Password auth is not enabled for this workspace")
    # Joining by invitation comes before the password is looked at (recorded on 2.21.0).
    if workspace is not None and await membership(runtime.db, user["id"], workspace["id"]) is None:
        invitation = await pending_invitation(runtime.db, workspace["id"], user["email"])
        if invitation is None:
            message = "User is not a member of the workspace."
            raise forbidden(message, message)
        await validate_invitation(runtime.db, invitation["value"], user["email"])
        await add_to_workspace(runtime, user, workspace, _role_in(invitation))
    if not user["passwordHash"]:
        raise bad_input("Incorrect login method", "User was not created with email/password")
    if not await runtime.check_password(password, user["passwordHash"]):
        raise forbidden("Wrong password", "Wrong password.")
    return user


def _role_in(invitation: Row) -> UUID | None:
    role_id = (invitation["context"] or {}).get("roleId")
    return UUID(role_id) if role_id else None


@mutation.field("getAuthTokensFromLoginToken")
async def exchange_login_token(_: None, info: GraphQLResolveInfo, loginToken: str, origin: str) -> Row:
    call = call_of(info)
    runtime = call.runtime
    check_token_given("loginToken", loginToken)
    wrong = forbidden("Expected a login token", "An error occurred.", "INVALID_JWT_TOKEN_TYPE")
    claims = runtime.tokens.read_argument(loginToken, "LOGIN", wrong)
    if runtime.options.takes_login_tokens_once and claims["jti"] in runtime.spent_login_tokens:
        raise unauthenticated("Login token has already been used", "UNAUTHENTICATED", NOT_SIGNED_IN)
    workspace = await workspace_of_origin(runtime, origin)
    if str(workspace["id"]) != claims["workspaceId"]:
        raise forbidden("Token is not valid for this workspace")
    user = await user_by_email(runtime.db, claims["sub"])
    if user is None:
        raise user_not_found()
    tie = await membership(runtime.db, user["id"], workspace["id"])
    if tie is None:
        raise internal("User workspace not found")
    session: Row = {"authProvider": claims["authProvider"]}
    seconds: float = runtime.options.refresh_token_seconds
    if claims["authProvider"] == "impersonation":
        impersonator = UUID(claims["impersonatorUserWorkspaceId"])
        await check_impersonation(runtime, impersonator, tie["id"])
        session |= {
            "isImpersonating": True,
            "impersonatorUserWorkspaceId": impersonator,
            "impersonatedUserWorkspaceId": tie["id"],
        }
        seconds = IMPERSONATION_REFRESH_SECONDS
    elif workspace["isTwoFactorAuthenticationEnforced"]:
        # No one has a second factor here; one who impersonates needs none (recorded on 2.21.0).
        raise forbidden(
            "Two factor authentication setup required",
            "Two-factor authentication setup is required.",
            "TWO_FACTOR_AUTHENTICATION_PROVISION_REQUIRED",
        )
    issued = await access_tokens(runtime, user["id"], workspace, session, seconds)
    runtime.spent_login_tokens.add(claims["jti"])
    await sessions.begin(call, user["id"], workspace, session)
    return {"tokens": issued}


@mutation.field("renewToken")
async def renew_token(_: None, info: GraphQLResolveInfo, appToken: str) -> Row:
    call = call_of(info)
    runtime = call.runtime
    check_token_given("appToken", appToken)
    wrong = forbidden("Expected a refresh token", "An error occurred.", "INVALID_JWT_TOKEN_TYPE")
    claims = runtime.tokens.read_argument(appToken, "REFRESH", wrong)
    row = await runtime.db.one(
        'SELECT *, "revokedAt" < now() - interval \'1 minute\' AS stale FROM core."appToken" WHERE id = %s',
        UUID(claims["jti"]),
    )
    if row is None:
        raise bad_input("This refresh token doesn't exist")
    user = await user_by_id(runtime.db, UUID(claims["sub"]))
    if user is None:
        raise bad_input("User not found", "Invalid input provided.")
    # For a minute a renewed token may be used again: two tabs may race (recorded on 2.21.0).
    if row["stale"]:
        raise forbidden("This refresh token has been revoked.")
    await runtime.db.run(
        'UPDATE core."appToken" SET "revokedAt" = now() WHERE id = %s AND "revokedAt" IS NULL', row["id"]
    )
    if row["workspaceId"] is None:
        await sessions.begin(call, user["id"])
        return {"tokens": await agnostic_tokens(runtime, user["id"], claims["authProvider"])}
    workspace = await workspace_by_id(runtime.db, row["workspaceId"])
    if workspace is None:
        raise workspace_not_found()
    kept = ("authProvider", "isImpersonating", "impersonatorUserWorkspaceId", "impersonatedUserWorkspaceId")
    session = {key: claims[key] for key in kept if key in claims}
    seconds = runtime.options.refresh_token_seconds
    issued = await access_tokens(runtime, user["id"], workspace, session, seconds)
    await sessions.begin(call, user["id"], workspace, session)
    return {"tokens": issued}


@mutation.field("impersonate")
async def impersonate(_: None, info: GraphQLResolveInfo, userId: UUID, workspaceId: UUID) -> Row:
    call = call_of(info)
    require_workspace(call)
    caller = require_user(call)
    if call.caller.impersonating:
        raise TwentyError("Can't access this resource while impersonating", "FORBIDDEN")
    if not caller["canImpersonate"] and not await has_settings_permission(call):
        raise permission_denied()
    target = await tie_of(call.db, userId, workspaceId)
    impersonator = None
    if call.caller.user_workspace_id is not None:
        impersonator = await tie_by_id(call.db, call.caller.user_workspace_id)
    if target is None or impersonator is None:
        raise unauthenticated(
            "User not found in workspace or impersonation not enabled",
            "USER_WORKSPACE_NOT_FOUND",
            "User workspace not found.",
        )
    refused = refusal(call.runtime, impersonator, target)
    if refused is not None:
        raise refused
    login = call.tokens.login(
        target["email"], workspaceId, "impersonation", impersonatorUserWorkspaceId=impersonator["id"]
    )
    return {
        "loginToken": login,
        "workspace": {"id": workspaceId, "workspaceUrls": call.runtime.workspace_urls(target)},
    }
