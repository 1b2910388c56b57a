"""What keeps a service from registering a tenant: slugs, databases and organizations of other tenants, and its own.

Ledger and registry are asked alike, in the transaction that registers, and every tenant counts: also one that is set
aside, and one whose registry row is gone. The registry's owner may give an organization to another tenant; no key may.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow, dict_row

from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.registry_table import WORKSPACE_COLUMNS, Column, text_sql
from provisioning_pipeline.model.api_key import KeyRefusal, Reach
from provisioning_pipeline.model.tenant import registry_status
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration

_IN_THE_REGISTRY = "It decides who gets into a workspace. Change it in the registry itself, then ask again."


@dataclass(frozen=True, slots=True)
class Known:
    """What registry and ledger have under the slug, the database or the organization that is asked for.

    Args:
        rows: of the registry: database_name, slug, clerk_org_id, status and workspace_id as texts.
        links: of the ledger: database_name, slug, clerk_org_id, workspace_id as texts, and moved, whether the tenant's
            organization was given to another one.
    """

    rows: Sequence[Row]
    links: Sequence[Row]

    def row(self, asked: Registration) -> Row | None:
        """The tenant's own row."""
        return next((row for row in self.rows if row["database_name"] == asked.database_name), None)

    def link(self, asked: Registration) -> Row | None:
        """The tenant's own link."""
        return next((link for link in self.links if link["database_name"] == asked.database_name), None)


async def known_of(
    connection: AsyncConnection[TupleRow], registry: Registry, columns: Mapping[str, Column], asked: Registration
) -> Known:
    """Read it, under the lock for giving organizations to tenants."""
    workspace = next((name for name in WORKSPACE_COLUMNS if name in columns), "")
    organization, status, workspace_id = (
        text_sql(sql.Identifier(name), columns[name]) if name in columns else sql.SQL("NULL::text")
        for name in ("clerk_org_id", "status", workspace)
    )
    cursor = connection.cursor(row_factory=dict_row)
    named = [asked.slug, asked.database_name, asked.clerk_org_id]
    await cursor.execute(
        sql.SQL(
            "SELECT database_name::text AS database_name, slug::text AS slug, {organization} AS clerk_org_id, "
            "{status} AS status, {workspace} AS workspace_id FROM {table} "
            "WHERE slug::text = %s OR database_name::text = %s OR {organization} = %s"
        ).format(organization=organization, status=status, workspace=workspace_id, table=registry.identifier),
        named,
    )
    rows = await cursor.fetchall()
    await cursor.execute(
        """
        SELECT database_name, slug, clerk_org_id, workspace_id::text AS workspace_id,
               organization_moved_at IS NOT NULL AS moved
        FROM provisioning.tenant_link WHERE slug = %s OR database_name = %s OR clerk_org_id = %s
        """,
        named,
    )
    return Known(rows, await cursor.fetchall())


def must_not_conflict(known: Known, asked: Registration, caller: Caller, aside: Collection[str]) -> None:
    """Refuse what is another tenant's, and another organization for a tenant that has, or had, one.

    Args:
        aside: statuses of tenants that are left alone, as policies compare them.

    Raises:
        Conflict: with what it is, which names no tenant that the caller's key is not for.
    """
    _must_be_its_name(known, asked, caller.reach)
    if asked.clerk_org_id is not None:
        _must_be_free(known, asked, asked.clerk_org_id, caller.reach, aside)
        _must_be_its_own(known, asked, asked.clerk_org_id, aside)


def _must_be_its_name(known: Known, asked: Registration, reach: Reach) -> None:
    for row in known.rows:
        if row["database_name"] == asked.database_name and row["slug"] != asked.slug:
            owner = f"tenant {row['slug']}" if reach.covers(row["slug"]) else "another tenant"
            raise Conflict(f"Database {asked.database_name} is registered as {owner}.", KeyRefusal.DATABASE_TAKEN)
        if row["slug"] == asked.slug and row["database_name"] != asked.database_name:
            raise Conflict(
                f"Tenant {asked.slug} is registered with database {row['database_name']}.", KeyRefusal.SLUG_TAKEN
            )
    link = known.link(asked)
    if known.row(asked) is None and link is not None and not reach.covers(link["slug"]):
        # its row was taken away: under a slug of its own, a key would get hold of another key's tenant
        raise Conflict(
            f"Database {asked.database_name} was another tenant's, which this key is not for.",
            KeyRefusal.DATABASE_TAKEN,
        )


def _must_be_free(known: Known, asked: Registration, organization: str, reach: Reach, aside: Collection[str]) -> None:
    for source, found in (("registry", known.rows), ("ledger", known.links)):
        for other in found:
            if other["clerk_org_id"] != organization or other["database_name"] == asked.database_name:
                continue
            owner = f"tenant {other['slug']}'s" if reach.covers(other["slug"]) else "another tenant's"
            why = " That tenant is excluded, and keeps it." if _is_aside(other, aside) else ""
            raise Conflict(
                f"Clerk organization {organization} is {owner} in the {source}.{why} {_IN_THE_REGISTRY}",
                KeyRefusal.ORGANIZATION_TAKEN,
            )


def _must_be_its_own(known: Known, asked: Registration, organization: str, aside: Collection[str]) -> None:
    row, link = known.row(asked), known.link(asked)
    has = (row or {}).get("clerk_org_id") or (link or {}).get("clerk_org_id")
    if has == organization:
        return
    if has:
        why = "has another Clerk organization already"
    elif link is not None and link["moved"]:
        why = "had a Clerk organization, which was given to another tenant"
    elif link is not None and link["workspace_id"] and (row is None or _is_aside(row, aside)):
        why = "has a workspace, and is suspended or gone"
    elif row is not None and row["workspace_id"] and not (link and link["workspace_id"]):
        why = "has a workspace in the registry, of which no run has learnt yet whose it is"
    else:
        return
    raise Conflict(f"Tenant {asked.slug} {why}. {_IN_THE_REGISTRY}", KeyRefusal.ORGANIZATION_FIXED)


def _is_aside(tenant: Row, aside: Collection[str]) -> bool:
    return registry_status(tenant.get("status")) in aside
