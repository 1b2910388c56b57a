"""Personal invitations: e-mails with a token in them, and the limits on sending. Recorded on 2.21.0."""

import asyncio
import secrets
from uuid import UUID

from ariadne import MutationType, QueryType
from graphql import GraphQLResolveInfo
from psycopg.types.json import Jsonb

from provisioning_pipeline.sandbox.twenty import memberships, onboarding
from provisioning_pipeline.sandbox.twenty.accounts import check_email
from provisioning_pipeline.sandbox.twenty.callers import (
    member_of,
    membership,
    require_settings_permission,
    require_user,
    require_workspace,
    user_by_email,
)
from provisioning_pipeline.sandbox.twenty.errors import internal, malformed_uuid, metadata_missing
from provisioning_pipeline.sandbox.twenty.invitation_tokens import OURS, pending_invitation
from provisioning_pipeline.sandbox.twenty.members import is_uuid
from provisioning_pipeline.sandbox.twenty.options import Mail
from provisioning_pipeline.sandbox.twenty.runtime import Call, Runtime, call_of
from provisioning_pipeline.sandbox.twenty.store import Row, Session

query = QueryType()
mutation = MutationType()

LIFETIME_DAYS = 30
ONBOARDING_LIMIT = 10
PER_EMAIL_LIMIT = 10
PER_WORKSPACE_LIMIT = 500


def _view(token: Row) -> Row:
    context = token["context"] or {}
    return {
        "id": token["id"],
        "email": context.get("email"),
        "roleId": context.get("roleId"),
        "expiresAt": token["expiresAt"],
    }


@query.field("findWorkspaceInvitations")
async def find_workspace_invitations(_: None, info: GraphQLResolveInfo) -> list[Row]:
    call = call_of(info)
    await require_settings_permission(call)
    rows = await call.db.all(
        f'SELECT * FROM core."appToken" WHERE "workspaceId" = %s AND {OURS} AND "deletedAt" IS NULL'
        ' ORDER BY "createdAt"',
        require_workspace(call)["id"],
    )
    return [_view(row) for row in rows]


@mutation.field("deleteWorkspaceInvitation")
async def delete_workspace_invitation(_: None, info: GraphQLResolveInfo, appTokenId: str) -> str:
    call = call_of(info)
    await require_settings_permission(call)
    if not is_uuid(appTokenId):
        raise malformed_uuid(appTokenId)
    deleted = await call.db.run(
        f'DELETE FROM core."appToken" WHERE id::text = %s AND "workspaceId" = %s AND {OURS}',
        appTokenId,
        require_workspace(call)["id"],
    )
    return "success" if deleted else "error"


@mutation.field("sendInvitations")
async def send_invitations(_: None, info: GraphQLResolveInfo, emails: list[str], roleId: UUID | None = None) -> Row:
    call = call_of(info)
    check_email(*emails, message="each value in emails must be an email")
    workspace = await _sending_workspace(call)
    as_onboarding = await onboarding.is_invite_team_pending(call.db, workspace["id"])
    return await _send(call, workspace, emails, roleId, as_onboarding)


@mutation.field("resendWorkspaceInvitation")
async def resend_workspace_invitation(_: None, info: GraphQLResolveInfo, appTokenId: str) -> Row:
    call = call_of(info)
    workspace = await _sending_workspace(call)
    row = await call.db.one(
        f'DELETE FROM core."appToken" WHERE id::text = %s AND "workspaceId" = %s AND {OURS} RETURNING *',
        appTokenId,
        workspace["id"],
    )
    if row is None:
        raise internal("Invalid appToken", "There is an issue with your invitation. Please try again.")
    role = row["context"].get("roleId")
    as_onboarding = row["type"] == "ONBOARDING_INVITATION_TOKEN"
    return await _send(call, workspace, [row["context"]["email"]], UUID(role) if role else None, as_onboarding)


async def _sending_workspace(call: Call) -> Row:
    await require_settings_permission(call)
    user, workspace = require_user(call), require_workspace(call)
    if await member_of(call.db, workspace, user["id"]) is None:
        raise metadata_missing(workspace["id"])
    return workspace


async def _send(call: Call, workspace: Row, emails: list[str], role_id: UUID | None, as_onboarding: bool) -> Row:
    db, workspace_id = call.db, workspace["id"]
    if role_id is not None:
        await memberships.check_assignable_to_users(db, role_id, workspace_id)
    if as_onboarding and (call.runtime.options.traits.invitations_limited or call.runtime.options.billing):
        await _check_onboarding_limit(db, workspace_id, len(emails))
    await _throttle(db, workspace_id, emails)
    results = await asyncio.gather(
        *(_invite(call.runtime, workspace_id, email, role_id, as_onboarding) for email in emails)
    )
    # Sending clears the step even when every invitation failed, and with no addresses at all.
    sender = require_user(call)["id"]
    await onboarding.end_invite_team(db, call.runtime.options, sender, workspace_id, invited=bool(emails))
    errors = [result for result in results if isinstance(result, str)]
    made = [result for result in results if not isinstance(result, str)]
    return {"success": not errors, "errors": errors, "result": made}


async def _invite(
    runtime: Runtime, workspace_id: UUID, email: str, role_id: UUID | None, as_onboarding: bool
) -> Row | str:
    db = runtime.db
    if await pending_invitation(db, workspace_id, email) is not None:
        return "An invitation has already been sent to this email."
    user = await user_by_email(db, email)
    if user is not None and await membership(db, user["id"], workspace_id) is not None:
        return "This user is already a member of the workspace."
    row = await db.the(
        'INSERT INTO core."appToken" ("workspaceId", type, value, context, "expiresAt")'
        " VALUES (%s, %s, %s, %s, now() + make_interval(days => %s)) RETURNING *",
        workspace_id,
        "ONBOARDING_INVITATION_TOKEN" if as_onboarding else "INVITATION_TOKEN",
        secrets.token_hex(32),
        Jsonb({"email": email.lower()} | ({"roleId": str(role_id)} if role_id else {})),
        LIFETIME_DAYS,
    )
    runtime.mails.append(Mail(to=email.lower(), subject="Join your team on Twenty"))
    return _view(row)


async def _check_onboarding_limit(db: Session, workspace_id: UUID, wanted: int) -> None:
    row = await db.the(
        'SELECT count(*) AS n FROM core."appToken" WHERE "workspaceId" = %s'
        " AND type = 'ONBOARDING_INVITATION_TOKEN' AND \"deletedAt\" IS NULL",
        workspace_id,
    )
    if row["n"] + wanted > ONBOARDING_LIMIT:
        raise internal(
            f"Onboarding invitation limit ({ONBOARDING_LIMIT}) reached for workspace {workspace_id}",
            "You have reached the maximum number of invitations for this step.",
        )


async def _throttle(db: Session, workspace_id: UUID, emails: list[str]) -> None:
    """10 per e-mail and 500 per workspace in 7 days."""
    sent = await db.the(
        'SELECT count(*) FILTER (WHERE "workspaceId" = %s) AS here,'
        " COALESCE((SELECT max(n) FROM (SELECT count(*) AS n FROM sandbox_twenty.invitation_sent"
        " WHERE email = ANY(%s) AND \"sentAt\" > now() - interval '7 days' GROUP BY email) AS per_email), 0)"
        " AS to_one FROM sandbox_twenty.invitation_sent WHERE \"sentAt\" > now() - interval '7 days'",
        workspace_id,
        emails,
    )
    if sent["to_one"] >= PER_EMAIL_LIMIT or sent["here"] + len(emails) > PER_WORKSPACE_LIMIT:
        raise internal(
            "Workspace invitation sending rate limit exceeded.",
            "Too many workspace invitations sent. Please try again later.",
        )
    await db.run(
        'INSERT INTO sandbox_twenty.invitation_sent ("workspaceId", email) SELECT %s, unnest(%s::text[])',
        workspace_id,
        emails,
    )
