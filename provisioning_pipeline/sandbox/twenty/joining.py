"""`signUpInWorkspace`: the way in by link or by personal invitation. Recorded on 2.21.0."""

from typing import Any
from uuid import UUID

from ariadne import MutationType
from graphql import GraphQLResolveInfo

from provisioning_pipeline.sandbox.twenty import onboarding
from provisioning_pipeline.sandbox.twenty.accounts import check_credentials, check_password_strength, create_user
from provisioning_pipeline.sandbox.twenty.callers import membership, user_by_email, workspace_by_id
from provisioning_pipeline.sandbox.twenty.creation import create_workspace
from provisioning_pipeline.sandbox.twenty.errors import bad_input, forbidden
from provisioning_pipeline.sandbox.twenty.invitation_tokens import (
    delete_invitation,
    invitation_by_token,
    validate_invitation,
)
from provisioning_pipeline.sandbox.twenty.memberships import add_to_workspace
from provisioning_pipeline.sandbox.twenty.runtime import Call, Runtime, call_of
from provisioning_pipeline.sandbox.twenty.store import Row

mutation = MutationType()


@mutation.field("signUpInWorkspace")
async def sign_up_in_workspace(
    _: None,
    info: GraphQLResolveInfo,
    email: str,
    password: str,
    workspaceId: UUID | None = None,
    workspaceInviteHash: str | None = None,
    workspacePersonalInviteToken: str | None = None,
    locale: str | None = None,
    **_rest: Any,
) -> Row:
    call = call_of(info)
    db = call.db
    check_credentials(email, password)
    workspace = await _target(call, workspaceInviteHash, workspaceId)
    invitation = None
    if workspace is not None and workspacePersonalInviteToken:
        invitation = await invitation_by_token(db, workspace["id"], workspacePersonalInviteToken)
    user = await user_by_email(db, email)
    await _check_access(call, user, workspace, invitation, by_link=bool(workspaceInviteHash))
    hashed = await _check_password(call.runtime, user, password)
    if workspace is not None and not workspace["isPasswordAuthEnabled"]:
        friendly = "OAuth access was denied."
        raise forbidden("password auth is not enabled for this workspace", friendly, "OAUTH_ACCESS_DENIED")
    if workspace is None:
        workspace = await create_workspace(call.runtime, user or {"email": email, "id": None}, None, None)
    if invitation is not None:
        await validate_invitation(db, invitation["value"], email)
    await _check_ready(call, user, workspace)
    if user is None:
        assert hashed is not None
        user = await create_user(db, email, hashed, locale=locale, admin=False)
        await onboarding.begin_for_new_account(db, call.runtime.options, user["id"], workspace["id"])
    role = (invitation["context"] or {}).get("roleId") if invitation else None
    await add_to_workspace(call.runtime, user, workspace, UUID(role) if role else None)
    if invitation is not None:
        await delete_invitation(db, workspace["id"], user["email"])
        await db.run('UPDATE core."user" SET "isEmailVerified" = true WHERE id = %s', user["id"])
    return {
        "loginToken": call.tokens.login(user["email"], workspace["id"]),
        "workspace": {"id": workspace["id"], "workspaceUrls": call.runtime.workspace_urls(workspace)},
    }


async def _target(call: Call, invite_hash: str | None, workspace_id: UUID | None) -> Row | None:
    if invite_hash:
        query = 'SELECT * FROM core."workspace" WHERE "inviteHash" = %s AND "deletedAt" IS NULL'
        return await call.db.one(query, invite_hash)
    return await workspace_by_id(call.db, workspace_id) if workspace_id else None


async def _check_access(
    call: Call, user: Row | None, workspace: Row | None, invitation: Row | None, *, by_link: bool
) -> None:
    if workspace is None or invitation is not None:
        return
    if by_link:
        if not workspace["isPublicInviteLinkEnabled"]:
            raise forbidden("Public invite link is disabled for this workspace")
        return
    message = "User does not have access to this workspace"
    if user is None or await membership(call.db, user["id"], workspace["id"]) is None:
        raise forbidden(message, message)


async def _check_password(runtime: Runtime, user: Row | None, password: str) -> str | None:
    """The right one of an account that exists, or the hash of a strong one for a new account."""
    if user is None:
        check_password_strength(password)
        return await runtime.hash_password(password)
    if not user["passwordHash"]:
        raise bad_input("Incorrect login method", "User was not created with email/password")
    if not await runtime.check_password(password, user["passwordHash"]):
        raise forbidden("Wrong password", "Wrong password")
    return None


async def _check_ready(call: Call, user: Row | None, workspace: Row) -> None:
    if workspace["activationStatus"] in ("ACTIVE", "CREATED"):
        return
    if user is None or await membership(call.db, user["id"], workspace["id"]) is None:
        message = "Workspace is not ready to welcome new members"
        raise forbidden(message, message)
