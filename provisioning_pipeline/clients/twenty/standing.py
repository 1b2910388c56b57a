"""How our own account stands on a Twenty server, and what keeps it and others from signing in there."""

from typing import LiteralString

from psycopg import errors

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

ACCESS: LiteralString = """
    WITH ours AS (
        SELECT uw."workspaceId" AS workspace_id, COALESCE(bool_or(r."canUpdateAllSettings"), false) AS manages,
               (array_agg(r.label ORDER BY r."canUpdateAllSettings" DESC NULLS LAST, r.label))[1] AS role
        FROM core."userWorkspace" uw
        LEFT JOIN core."roleTarget" rt ON rt."userWorkspaceId" = uw.id
        LEFT JOIN core.role r ON r.id = rt."roleId" AND r."workspaceId" = uw."workspaceId"
        WHERE uw."userId" = ANY(%(users)s::uuid[]) AND uw."deletedAt" IS NULL
          AND (%(only)s::uuid[] IS NULL OR uw."workspaceId" = ANY(%(only)s))
        GROUP BY uw."workspaceId"
    ), invited AS (
        SELECT DISTINCT "workspaceId" AS workspace_id FROM core."appToken"
        WHERE type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN') AND lower(context->>'email') = %(email)s
          AND "deletedAt" IS NULL AND "expiresAt" > now() AND "workspaceId" IS NOT NULL
          AND (%(only)s::uuid[] IS NULL OR "workspaceId" = ANY(%(only)s))
    )
    SELECT workspace_id::text, ours.workspace_id IS NOT NULL AS member, COALESCE(ours.manages, false) AS manages,
           ours.role, invited.workspace_id IS NOT NULL AS invited,
           -- as JSON, because other versions may not have these columns
           CASE WHEN to_jsonb(w)->>'isPasswordAuthEnabled' = 'false'
                    AND NOT (COALESCE(ours.manages, false)
                        AND COALESCE(to_jsonb(w)->>'isPasswordAuthBypassEnabled', 'false') = 'true')
                THEN 'PasswordLoginOff'
                WHEN to_jsonb(w)->>'isTwoFactorAuthenticationEnforced' = 'true' THEN 'SecondFactorRequired'
           END AS kept_out
    FROM ours FULL JOIN invited USING (workspace_id) JOIN core.workspace w ON w.id = workspace_id
"""
"""Parameters: `users` and `email` of the account, `only`: workspace ids or NULL for all.

An Admin may log in by password where that is off, if the workspace lets admins bypass it (2.21.0, run against it)."""

INVITATIONS: LiteralString = """
    SELECT t."workspaceId"::text AS workspace_id, lower(t.context->>'email') AS email, r.label AS role
    FROM core."appToken" t
    LEFT JOIN core.role r ON r.id::text = t.context->>'roleId' AND r."workspaceId" = t."workspaceId"
    WHERE t.type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN') AND t."deletedAt" IS NULL
      AND t."expiresAt" > now() AND t."workspaceId" IS NOT NULL AND t.context->>'email' IS NOT NULL
      AND (%(only)s::uuid[] IS NULL OR t."workspaceId" = ANY(%(only)s))
"""
"""Parameter: workspace ids or NULL for all."""

DELETED_IN_USE: LiteralString = """
    SELECT w.id::text AS workspace_id, w.subdomain, count(*)::int AS members,
           bool_or(uw."userId" = ANY(%s::uuid[])) AS service
    FROM core.workspace w
    JOIN core."userWorkspace" uw ON uw."workspaceId" = w.id AND uw."deletedAt" IS NULL
    JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
    WHERE w."deletedAt" IS NOT NULL
    GROUP BY w.id, w.subdomain ORDER BY w.subdomain, w.id
"""
"""Parameter: the ids of our account."""

WAS_DELETED: LiteralString = """
    SELECT COALESCE(bool_and("deletedAt" IS NOT NULL), false) AS deleted FROM core."user" WHERE lower(email) = %s
"""


async def retire_memberships(database: Database, workspace_id: str) -> int:
    """End the memberships of a workspace that is marked as deleted, as Twenty's own deletion does; how many.

    Nothing is written for a workspace that is not. Sign-ins work again at once (2.21.0, run against it).

    Raises:
        Fault: DELETED_WORKSPACE_IN_USE when our user may not write there, with the grant that is missing.
    """
    try:
        return await database.execute(
            """
            UPDATE core."userWorkspace" uw SET "deletedAt" = now()
            FROM core.workspace w
            WHERE w.id = uw."workspaceId" AND w.id = %s AND w."deletedAt" IS NOT NULL AND uw."deletedAt" IS NULL
            """,
            [workspace_id],
        )
    except errors.InsufficientPrivilege as error:
        raise Fault(
            FaultKind.TENANT,
            Reason.DELETED_WORKSPACE_IN_USE,
            f"The memberships of workspace {workspace_id}, which was deleted by SQL, cannot be ended: "
            f'{str(error).splitlines()[0]}. Grant our user UPDATE on core."userWorkspace"; the next run does it.',
        ) from None
