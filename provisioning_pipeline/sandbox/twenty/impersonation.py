"""Acting as another user: who may, and the refusals (across workspaces source only, else recorded)."""

from uuid import UUID

from provisioning_pipeline.sandbox.twenty.errors import TwentyError, forbidden, unauthenticated
from provisioning_pipeline.sandbox.twenty.runtime import Runtime
from provisioning_pipeline.sandbox.twenty.store import Row, Session

_TIE = """
SELECT uw.id, uw."userId", uw."workspaceId", u.email, u."canImpersonate", u."canAccessFullAdminPanel",
       w."allowImpersonation", w.subdomain, w."customDomain",
       COALESCE((SELECT bool_or(r."canUpdateAllSettings") FROM core."roleTarget" t
                 JOIN core."role" r ON r.id = t."roleId"
                 WHERE t."userWorkspaceId" = uw.id), false) AS "isAdmin"
FROM core."userWorkspace" uw
JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
JOIN core."workspace" w ON w.id = uw."workspaceId" AND w."deletedAt" IS NULL
WHERE uw."deletedAt" IS NULL
"""


async def tie_by_id(db: Session, user_workspace_id: UUID) -> Row | None:
    """A membership with what the rules ask of its user and its workspace."""
    return await db.one(_TIE.encode() + b" AND uw.id = %s", user_workspace_id)


async def tie_of(db: Session, user_id: UUID, workspace_id: UUID) -> Row | None:
    """The same, by user and workspace."""
    return await db.one(_TIE.encode() + b' AND uw."userId" = %s AND uw."workspaceId" = %s', user_id, workspace_id)


def is_server_admin(tie: Row) -> bool:
    """People with either of the two rights over the whole server."""
    return bool(tie["canImpersonate"] or tie["canAccessFullAdminPanel"])


def refusal(runtime: Runtime, impersonator: Row, target: Row) -> TwentyError | None:
    """Why the one may not act as the other, if so."""
    if impersonator["userId"] == target["userId"]:
        return forbidden("User cannot impersonate themselves")
    if impersonator["workspaceId"] != target["workspaceId"]:
        if not (impersonator["canImpersonate"] and target["allowImpersonation"]):
            return forbidden(
                "Server level impersonation not allowed",
                "Server-level impersonation is not enabled for this user or workspace.",
            )
        if runtime.options.second_factor_for_other_workspaces:
            return forbidden(
                "Two-factor authentication is required for server-level impersonation."
                " Please enable 2FA in your workspace settings before attempting to impersonate users.",
                "Set up two-factor authentication before impersonating users in another workspace.",
                "TWO_FACTOR_AUTHENTICATION_PROVISION_REQUIRED",
            )
        return None
    if not impersonator["isAdmin"]:
        return forbidden(
            "Impersonation not allowed", "You do not have permission to impersonate users in this workspace."
        )
    if is_server_admin(target) and not is_server_admin(impersonator):
        return forbidden(
            "Cannot impersonate a user with admin privileges."
            " Only administrators can impersonate other administrators.",
            "Only administrators can impersonate users with admin privileges.",
        )
    return None


async def check_impersonation(runtime: Runtime, impersonator_id: UUID, target_id: UUID) -> None:
    """The rules once more, for a login token being exchanged and for each call of the session."""
    impersonator, target = (
        await tie_by_id(runtime.db, impersonator_id),
        await tie_by_id(runtime.db, target_id),
    )
    if impersonator is None or target is None:
        raise unauthenticated(
            "Invalid impersonation token, cannot find impersonator or impersonated user workspace",
            "USER_WORKSPACE_NOT_FOUND",
            "User workspace not found.",
        )
    refused = refusal(runtime, impersonator, target)
    if refused is not None:
        raise refused
