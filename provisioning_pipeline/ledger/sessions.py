"""What ledger and registry know about the organization and the user of a session."""

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.model.condition import SET_ASIDE
from provisioning_pipeline.model.session import LinkedTenant, RegisteredTenant


async def tenant_of(database: Database, organization_id: str, user_id: str) -> LinkedTenant | None:
    """The tenant that the ledger gives this organization to, with this person in it; None: it knows none."""
    rows = await database.fetch(
        """
        SELECT l.database_name, l.slug, NOT EXISTS (
                   SELECT 1 FROM provisioning.tenant_link o
                   WHERE (o.slug = l.slug OR o.database_name = l.slug) AND o.database_name <> l.database_name
                   -- a customer may have come back under the slug of old
                   AND NOT EXISTS (SELECT 1 FROM provisioning.condition x WHERE x.database_name = o.database_name
                       AND x.type = 'Ready' AND x.reason = ANY(%s))
               ) AS slug_is_its_own, l.server, l.workspace_id::text AS workspace_id, l.workspace_url,
               r.reason AS ready_reason, w.status AS workspace_status, w.reason AS workspace_reason,
               m.twenty_user_id::text AS twenty_user_id, l.organization_named
        FROM provisioning.tenant_link l
        LEFT JOIN provisioning.condition r ON r.database_name = l.database_name AND r.type = 'Ready'
        LEFT JOIN provisioning.condition w ON w.database_name = l.database_name AND w.type = 'WorkspaceReady'
        LEFT JOIN provisioning.member_link m ON m.database_name = l.database_name AND m.clerk_user_id = %s
        WHERE l.clerk_org_id = %s
        """,
        [sorted(SET_ASIDE), user_id, organization_id],
    )
    if not rows:
        return None
    (row,) = rows
    return LinkedTenant(**row)


async def registered_for(
    registry: Registry, organization_id: str, database_name: str | None
) -> tuple[RegisteredTenant, ...]:
    """The registry's rows of this organization, and of this database."""
    rows = await registry.standing(organization_id, database_name)
    return tuple(RegisteredTenant(**row) for row in rows)
