"""The rows behind personal invitations."""

from datetime import UTC, datetime
from uuid import UUID

from provisioning_pipeline.sandbox.twenty.errors import forbidden
from provisioning_pipeline.sandbox.twenty.store import Row, Session

OURS = "type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN')"
"""Those sent while the INVITE_TEAM step was pending have a type of their own, and a limit of their own."""


async def pending_invitation(db: Session, workspace_id: UUID, email: str) -> Row | None:
    """The invitation of an e-mail to a workspace, expired or not."""
    return await db.one(
        f'SELECT * FROM core."appToken" WHERE "workspaceId" = %s AND {OURS} AND context->>\'email\' = %s',
        workspace_id,
        email.lower(),
    )


async def invitation_by_token(db: Session, workspace_id: UUID, token: str) -> Row | None:
    """The invitation that carries this secret."""
    return await db.one(
        f'SELECT * FROM core."appToken" WHERE "workspaceId" = %s AND {OURS} AND value = %s AND "deletedAt" IS NULL',
        workspace_id,
        token,
    )


async def delete_invitation(db: Session, workspace_id: UUID, email: str) -> None:
    """An invitation is used up by joining."""
    await db.run(
        f'DELETE FROM core."appToken" WHERE "workspaceId" = %s AND {OURS} AND context->>\'email\' = %s',
        workspace_id,
        email.lower(),
    )


async def validate_invitation(db: Session, token: str, email: str) -> None:
    """Right e-mail, still in time."""
    row = await db.one(f'SELECT * FROM core."appToken" WHERE value = %s AND {OURS}', token)
    if row is None:
        raise forbidden("Invalid invitation token")
    if (row["context"] or {}).get("email") != email:
        raise forbidden("Email does not match the invitation")
    if row["expiresAt"] < datetime.now(UTC):
        raise forbidden("Invitation expired")
