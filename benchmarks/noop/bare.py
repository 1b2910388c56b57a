"""The reads that no reconciliation of a whole fleet can do without, and nothing else: no frames, no proofs, no plan.

The same lists at once, with the same number of pages on their way, as the pipeline has. Rows are dropped as they come.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, LiteralString

import httpx2
import psycopg
from psycopg import sql

from provisioning_pipeline.clients.clerk.standing import API_VERSION
from provisioning_pipeline.settings import Settings

_PER_PAGE = 500
_PAGES_AT_ONCE = 4
_OLDEST_FIRST = "+created_at"

_CATALOGUE = ("SELECT datname FROM pg_database WHERE NOT datistemplate",)
_REGISTRY = (
    """
    SELECT r.database_name, r.slug, r.name, r.status, r.clerk_org_id, r.twenty_workspace_id::text, u.email
    FROM tenant_registry r LEFT JOIN global_users u ON u.id = r.admin_user_id
    """,
    """
    SELECT database_name, slug, server, subdomain, workspace_id::text, admin_user_id::text, admin_email, clerk_org_id
    FROM provisioning.tenant_link
    """,
    """
    SELECT database_name, clerk_user_id, twenty_user_id::text, email, first_name, last_name
    FROM provisioning.member_link
    """,
    "SELECT server, clerk_user_id, twenty_user_id::text FROM provisioning.user_link",
)
_TWENTY = (
    """
    SELECT id::text, subdomain, "activationStatus"::text, "deletedAt" IS NOT NULL FROM core.workspace
    """,
    'SELECT DISTINCT "workspaceId"::text FROM core."objectMetadata"',
    """
    SELECT uw."workspaceId"::text, uw."userId"::text, r.label
    FROM core."userWorkspace" uw
    JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id JOIN core.role r ON r.id = t."roleId"
    """,
    'SELECT id::text, email FROM core."user"',
    """
    SELECT key, "userId"::text, "workspaceId"::text, value FROM core."keyValuePair" WHERE type = 'USER_VARIABLE'
    """,
)
_MEMBERS_OF = 'SELECT "userId", "deletedAt", "nameFirstName", "nameLastName" FROM {}."workspaceMember"'
_SCHEMAS_AT_ONCE = 200
"""As the pipeline: each table of a query takes a lock, of which PostgreSQL has some thousands."""


async def read(settings: Settings) -> int:
    """Read everything once; the number of objects and rows that came."""
    (server,) = settings.servers
    registry, cluster = settings.registry_url.get_secret_value(), settings.tenant_cluster_url.get_secret_value()
    headers = {
        "authorization": f"Bearer {settings.clerk_secret_key.get_secret_value()}",
        "clerk-api-version": API_VERSION,
    }
    async with httpx2.AsyncClient(base_url=settings.clerk_base_url, headers=headers, timeout=60) as http:
        counted = await asyncio.gather(
            _by_offset(http, "/organizations"),
            _by_offset(http, "/organization_memberships"),
            _by_cursor(http, "/users"),
            _fetch(cluster, _CATALOGUE),
            *(_fetch(registry, (query,)) for query in _REGISTRY),
            _fetch(server.database_url.get_secret_value(), _TWENTY),
            _fetch_members(server.database_url.get_secret_value()),
        )
    return sum(counted)


async def _by_offset(http: httpx2.AsyncClient, path: str) -> int:
    async def page(offset: int) -> Any:
        query: dict[str, Any] = {"limit": _PER_PAGE, "offset": offset, "order_by": _OLDEST_FIRST}
        return (await http.get(path, params=query)).raise_for_status().json()

    async def pages(offsets: Iterator[int]) -> int:
        return sum([len((await page(offset))["data"]) for offset in offsets])

    first = await page(0)
    rest = iter(range(_PER_PAGE, first["total_count"], _PER_PAGE))
    return len(first["data"]) + sum(await asyncio.gather(*(pages(rest) for _ in range(_PAGES_AT_ONCE))))


async def _by_cursor(http: httpx2.AsyncClient, path: str) -> int:
    query: dict[str, Any] = {"limit": _PER_PAGE, "order_by": _OLDEST_FIRST}
    counted = 0
    while True:
        page = (await http.get(path, params=query)).raise_for_status().json()
        counted += len(page)
        if len(page) < _PER_PAGE:
            return counted
        query["starting_after"] = page[-1]["id"]


async def _fetch(url: str, queries: Iterable[LiteralString]) -> int:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return sum([len(await (await connection.execute(query)).fetchall()) for query in queries])


async def _fetch_members(url: str) -> int:
    """The member records, which each workspace has in a schema of its own."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        workspaces = await (await connection.execute('SELECT "databaseSchema" FROM core.workspace')).fetchall()
        counted = 0
        for start in range(0, len(workspaces), _SCHEMAS_AT_ONCE):
            some = workspaces[start : start + _SCHEMAS_AT_ONCE]
            arms = [sql.SQL(_MEMBERS_OF).format(sql.Identifier(schema)) for (schema,) in some]
            counted += len(await (await connection.execute(sql.SQL(" UNION ALL ").join(arms))).fetchall())
        return counted
