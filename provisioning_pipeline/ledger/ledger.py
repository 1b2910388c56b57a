"""Tenants in the ledger: links, intents, conditions. Every method is one short transaction; none decides anything."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import LiteralString

import pandas as pd
from psycopg import errors

from provisioning_pipeline.clients.postgres import Database, Row, anew_if_lost
from provisioning_pipeline.ledger.announcements import announce
from provisioning_pipeline.ledger.endings import drop_what_is_over
from provisioning_pipeline.ledger.restarts import take_over
from provisioning_pipeline.ledger.schema import LedgerTables, columns
from provisioning_pipeline.model.condition import (
    ALWAYS_ASKED,
    Condition,
    ConditionType,
    Reason,
    Status,
    StoredCondition,
    derive_ready,
)
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.frames import LINKS, frame
from provisioning_pipeline.model.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Intent:
    """A workspace creation that was begun and whose end is not known."""

    id: int
    server: str
    subdomain: str
    begun_at: datetime
    run_id: str


@dataclass(frozen=True, slots=True)
class Link:
    """A tenant's row: where its workspace is, as far as that is known."""

    database_name: str
    server: str | None
    subdomain: str | None
    workspace_id: str | None
    workspace_url: str | None
    admin_user_id: str | None
    admin_email: str | None
    invite_link_opened: bool = False
    default_role_before: str | None = None


class Ledger(LedgerTables):
    """The ledger: `asked` names the conditions that make a tenant ready; to `endpoints` we tell what becomes of it."""

    def __init__(
        self,
        database: Database,
        asked: Callable[[], Sequence[ConditionType]] = lambda: ALWAYS_ASKED,
        endpoints: Collection[str] = (),
    ) -> None:
        super().__init__(database)
        self._asked, self._endpoints = asked, endpoints

    async def links(self, only: Sequence[str] | None = None) -> pd.DataFrame:
        """Links, all or by slug or database name; columns of `LINKS`, empty when there is no ledger yet."""
        rows = await self.fetch_if_made(
            """
            SELECT l.database_name, l.slug, l.server, l.subdomain, l.workspace_id::text AS workspace_id,
                   l.admin_user_id::text AS admin_user_id, l.admin_email,
                   COALESCE(c.status = 'True', false) AS login_proved, i.id IS NOT NULL AS open_intent,
                   l.clerk_org_id, l.invite_link_opened, m.database_name IS NOT NULL AS members_seen,
                   l.asked_admin_email, l.default_role_before IS NOT NULL AS default_role_lent, l.workspace_url,
                   l.restarts,
                   -- a tenant with a workspace had a registry row, whichever run wrote its link
                   l.registered_at IS NOT NULL OR l.workspace_id IS NOT NULL AS registered,
                   l.registry_row_gone_at, l.registry_row_settled_at IS NOT NULL AS registry_row_settled,
                   l.database_oid, l.registry_id, l.left_for
            FROM provisioning.tenant_link l
            LEFT JOIN provisioning.condition c ON c.database_name = l.database_name AND c.type = 'LoginProved'
            LEFT JOIN provisioning.condition m ON m.database_name = l.database_name AND m.type = 'MembersSynced'
            LEFT JOIN provisioning.intent i ON i.database_name = l.database_name AND i.settled_at IS NULL
            WHERE %(names)s::text[] IS NULL OR l.database_name = ANY(%(names)s) OR l.slug = ANY(%(names)s)
            """,
            {"names": None if only is None else list(only)},
        )
        return frame(LINKS, rows)

    async def ensure_links(self, tenants: Iterable[Tenant], *, run_id: str | None = None) -> None:
        """Make sure that every tenant has a row; a new one says which run saw it first."""
        rows = [(tenant.database_name, tenant.slug) for tenant in tenants]
        if not rows:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.tenant_link AS l (database_name, slug, found_by)
            SELECT *, %s FROM unnest(%s::text[], %s::text[])
            ON CONFLICT (database_name) DO UPDATE SET slug = excluded.slug WHERE l.slug <> excluded.slug
            """,
            [run_id, *columns(rows)],
        )

    async def link(self, database_name: str) -> Link:
        """One tenant's row; it must exist."""
        rows = await self.database.fetch_tuples(
            """
            SELECT database_name, server, subdomain, workspace_id::text, workspace_url, admin_user_id::text,
                   admin_email, invite_link_opened, default_role_before::text
            FROM provisioning.tenant_link WHERE database_name = %s
            """,
            [database_name],
        )
        return Link(*rows[0])

    async def known_since(self, database_names: Sequence[str]) -> dict[str, datetime]:
        """Database name → since when the ledger has known the tenant."""
        rows = await self.tuples_if_made(
            "SELECT database_name, created_at FROM provisioning.tenant_link WHERE database_name = ANY(%s)",
            [list(database_names)],
        )
        return dict(rows)

    async def store_admin(self, database_name: str, user_id: str, email: str) -> None:
        """Store who the admin is."""
        await self.database.execute(
            """
            UPDATE provisioning.tenant_link SET admin_user_id = %s, admin_email = %s, updated_at = now()
            WHERE database_name = %s AND (admin_user_id, admin_email) IS DISTINCT FROM (%s::uuid, %s)
            """,
            [user_id, email, database_name, user_id, email],
        )

    async def open_intent(self, database_name: str) -> Intent | None:
        """The creation that was begun for this tenant and never settled."""
        rows = await self.database.fetch(
            """
            SELECT id, server, subdomain, begun_at, run_id FROM provisioning.intent
            WHERE database_name = %s AND settled_at IS NULL
            """,
            [database_name],
        )
        return Intent(**rows[0]) if rows else None

    @anew_if_lost
    async def begin_intent(
        self, database_name: str, server: str, subdomain: str, run_id: str, *, begun_at: datetime
    ) -> Intent | None:
        """Store what is about to be created. None when another tenant already claims that subdomain there.

        `begun_at` is the time of the server's own database, which the workspace's row will carry too. The subdomain is
        claimed in the same transaction, so two tenants never aim at the same one.
        """
        try:
            async with self.database.transaction() as connection:
                await connection.execute(
                    """
                    UPDATE provisioning.tenant_link SET server = %s, subdomain = %s, updated_at = now()
                    WHERE database_name = %s
                    """,
                    [server, subdomain, database_name],
                )
                cursor = await connection.execute(
                    """
                    INSERT INTO provisioning.intent (database_name, server, subdomain, begun_at, run_id)
                    VALUES (%s, %s, %s, %s, %s) RETURNING id, begun_at
                    """,
                    [database_name, server, subdomain, begun_at, run_id],
                )
                row = await cursor.fetchone()
        except errors.UniqueViolation:
            return None
        return Intent(row[0], server, subdomain, row[1], run_id) if row else None

    async def open_subdomains(self, server: str) -> list[str]:
        """The subdomains of all creations under way on a server."""
        open_ones = "SELECT subdomain FROM provisioning.intent WHERE server = %s AND settled_at IS NULL"
        return [subdomain for (subdomain,) in await self.database.fetch_tuples(open_ones, [server])]

    @anew_if_lost
    async def adopt_workspace(
        self,
        database_name: str,
        server: str,
        subdomain: str,
        workspace_id: str,
        workspace_url: str,
        *,
        renamed_from: str | None = None,
    ) -> None:
        """Link a workspace that is known to be the tenant's.

        Where the tenant had another name before, `renamed_from`, what is known of its people comes along.

        Raises:
            Fault: when it is already another tenant's.
        """
        try:
            async with self.database.transaction() as connection:
                if renamed_from:
                    await take_over(connection, database_name, renamed_from, workspace_id)
                await connection.execute(_LINK, [server, subdomain, workspace_id, workspace_url, database_name])
                await connection.execute(
                    """
                    UPDATE provisioning.intent SET settled_at = now(), settled_as = 'overtaken by an adoption'
                    WHERE database_name = %s AND settled_at IS NULL
                    """,
                    [database_name],
                )
        except errors.UniqueViolation:
            raise _another_tenants(workspace_id) from None

    @anew_if_lost
    async def follow_addresses(self, moved: Mapping[str, tuple[str, str]]) -> list[str]:
        """Store where these tenants' workspaces are reached now: database name → (subdomain, URL); which were stored.

        They may have swapped subdomains. A tenant whose new subdomain another row still claims stays as it is; a later
        run finds that claim settled.
        """
        if not moved:
            return []
        async with self.database.transaction() as connection:
            cursor = await connection.execute(
                """
                SELECT database_name, server, subdomain FROM provisioning.tenant_link
                WHERE database_name = ANY(%s) OR subdomain = ANY(%s) ORDER BY database_name FOR UPDATE
                """,
                [list(moved), [subdomain for subdomain, _ in moved.values()]],
            )
            free = _free_to_move(await cursor.fetchall(), {name: subdomain for name, (subdomain, _) in moved.items()})
            # none of them stands in another's way while they change places
            await connection.execute(
                "UPDATE provisioning.tenant_link SET subdomain = NULL WHERE database_name = ANY(%s)", [free]
            )
            await connection.execute(
                """
                UPDATE provisioning.tenant_link l
                SET subdomain = found.subdomain, workspace_url = found.url, updated_at = now()
                FROM unnest(%s::text[], %s::text[], %s::text[]) AS found(name, subdomain, url)
                WHERE l.database_name = found.name
                """,
                [free, [moved[name][0] for name in free], [moved[name][1] for name in free]],
            )
        return free

    @anew_if_lost
    async def drop_intent(self, intent: Intent, database_name: str, why: str, *, run_id: str) -> None:
        """Settle an intent that made nothing, and free its subdomain. `run_id` is the run that found it out."""
        async with self.database.transaction() as connection:
            await connection.execute(_SETTLE, [why, intent.id])
            await connection.execute(_CREATION_MADE_NOTHING, {"name": database_name, "run": run_id})
            await connection.execute(
                """
                UPDATE provisioning.tenant_link SET server = NULL, subdomain = NULL, updated_at = now()
                WHERE database_name = %s AND workspace_id IS NULL
                """,
                [database_name],
            )

    @anew_if_lost
    async def store_workspace(
        self,
        intent: Intent,
        database_name: str,
        workspace_id: str,
        workspace_url: str,
        *,
        run_id: str,
        left_behind: bool = False,
    ) -> None:
        """Settle an intent: this is the workspace that it made. What earlier runs recorded of it is settled, too.

        Args:
            run_id: the run that found it out.
            left_behind: an earlier call made it, whose answer no run read.

        Raises:
            Fault: when the workspace is already another tenant's.
        """
        by_whom = {"name": database_name, "run": run_id}
        try:
            async with self.database.transaction() as connection:
                await connection.execute(
                    _LINK, [intent.server, intent.subdomain, workspace_id, workspace_url, database_name]
                )
                await connection.execute(_SETTLE, ["adopted" if left_behind else "created", intent.id])
                if left_behind:
                    await connection.execute(
                        _CREATION_MADE_IT, by_whom | {"told": f"{intent.subdomain} on {intent.server}, {workspace_id}"}
                    )
                await connection.execute(_CREATION_MADE_NOTHING, by_whom)
        except errors.UniqueViolation:
            raise _another_tenants(workspace_id) from None

    @anew_if_lost
    async def store_conditions(
        self,
        found: Mapping[str, Sequence[Condition]],
        *,
        run_id: str,
        waits: tuple[float, float] | None,
        again: Mapping[str, float] = MappingProxyType({}),
    ) -> dict[str, Condition]:
        """Merge these conditions into the tenants' rows and derive Ready; `since` moves only when a status does.

        With `waits`, a tenant that is not ready has had its try: the next one comes after a wait that doubles from the
        first to the second of these seconds; for those in `again`, after these. Returns each tenant's Ready.
        """
        names = list(found)
        ready: dict[str, Condition] = {}
        async with self.database.transaction() as connection:
            # the same order in every process, so that two runs over the same tenants cannot deadlock
            await connection.execute(
                """
                SELECT 1 FROM provisioning.tenant_link WHERE database_name = ANY(%s)
                ORDER BY database_name FOR UPDATE
                """,
                [names],
            )
            cursor = await connection.execute(
                """
                SELECT database_name, type, status, reason, message FROM provisioning.condition
                WHERE database_name = ANY(%s)
                """,
                [names],
            )
            known: dict[str, dict[ConditionType, Condition]] = {name: {} for name in names}
            # most tenants have the same conditions: each is made once
            made: dict[tuple[str, ...], Condition] = {}
            for row in await cursor.fetchall():
                stored = made.get(told := row[1:]) or made.setdefault(told, _condition(*told))
                known[row[0]][stored.type] = stored
            changed: list[tuple[str, Condition]] = []
            for name in names:
                merged = known[name] | {condition.type: condition for condition in found[name]}
                ready[name] = merged[ConditionType.READY] = derive_ready(merged, self._asked())
                changed += [
                    (name, condition) for condition in merged.values() if known[name].get(condition.type) != condition
                ]
            await drop_what_is_over(connection, known, found)
            if changed:
                await connection.execute(_STORE_CONDITIONS, _as_columns(run_id, changed))
            news = [(name, condition) for name, condition in changed if _is_news(known[name], condition)]
            if news:
                await connection.execute(_STORE_CHANGES, _as_columns(run_id, news))
            await announce(connection, known, changed, self._endpoints)
            await connection.execute(
                _STORE_READY,
                {
                    "names": names,
                    "ready": [ready[name].status is Status.TRUE for name in names],
                    "first": waits and waits[0],
                    "most": waits and waits[1],
                    "tried": waits is not None,
                    "again": [again.get(name) for name in names],
                },
            )
        return ready

    async def conditions(self, database_names: Sequence[str] | None = None) -> list[StoredCondition]:
        """The stored conditions of these tenants, or of all."""
        rows = await self.tuples_if_made(
            """
            SELECT database_name, type, status, reason, message, since, run_id FROM provisioning.condition
            WHERE %s::text[] IS NULL OR database_name = ANY(%s) ORDER BY database_name
            """,
            [database_names, database_names],
        )
        return [StoredCondition(name, _condition(*told), since, run_id) for name, *told, since, run_id in rows]

    async def tenant_rows(self, only: str | None = None) -> list[Row]:
        """Tenants, all or by slug or database name: link; Ready's reason, message and since; and `look_again_at`.

        Where TenantDatabase does not hold, also its reason and message.
        """
        return await self.fetch_if_made(
            f"""
            SELECT {TENANT_ROW}
            WHERE %(only)s::text IS NULL OR l.slug = %(only)s OR l.database_name = %(only)s
            ORDER BY l.slug, l.database_name
            """,
            {"only": only},
        )


def _free_to_move(rows: Sequence[tuple[str, str, str]], wanted: Mapping[str, str]) -> list[str]:
    """Which of the tenants can take the subdomains that they want: no tenant holds them that does not move away, too.

    `rows`: (database name, server, subdomain) of these tenants and of the holders of these subdomains.
    """
    servers = {name: server for name, server, _ in rows}
    free = set(servers) & set(wanted)
    while True:
        held = {(server, subdomain) for name, server, subdomain in rows if name not in free}
        blocked = {name for name in free if (servers[name], wanted[name]) in held}
        if not blocked:
            return sorted(free)
        free -= blocked


def _condition(type_: str, status: str, reason: str, message: str) -> Condition:
    return Condition(ConditionType.named(type_), Status(status), Reason(reason), message)


def _is_news(known: Mapping[ConditionType, Condition], condition: Condition) -> bool:
    """Whether it belongs in the timeline: a new status or reason; for a new tenant what does not hold, and Ready."""
    before = known.get(condition.type)
    if before is None:
        return condition.status is not Status.TRUE or condition.type is ConditionType.READY
    return (before.status, before.reason) != (condition.status, condition.reason)


def _as_columns(run_id: str, conditions: Sequence[tuple[str, Condition]]) -> list[object]:
    return [run_id, *columns([(name, each.type, each.status, each.reason, each.message) for name, each in conditions])]


def _another_tenants(workspace_id: str) -> Fault:
    return Fault(
        FaultKind.TENANT,
        Reason.SUBDOMAIN_TAKEN,
        f"Workspace {workspace_id} is already linked to another tenant; it is not shared.",
    )


TENANT_ROW: LiteralString = """
    l.slug, l.database_name, l.server, l.workspace_id::text AS workspace_id, l.workspace_url,
           l.admin_user_id::text AS admin_user_id, l.admin_email, c.reason, c.message, c.since,
           d.reason AS database_reason, d.message AS database_message, m.message AS reported_message,
           y.reason AS lifecycle, y.message AS lifecycle_evidence, y.since AS lifecycle_since,
           -- a sensor sees databases: a row without one waits for the schedule
           CASE WHEN NOT l.ready AND l.look_again_at > now() AND c.reason <> 'DatabaseMissing'
               THEN l.look_again_at END AS look_again_at
    FROM provisioning.tenant_link l
    LEFT JOIN provisioning.condition c ON c.database_name = l.database_name AND c.type = 'Ready'
    LEFT JOIN provisioning.condition y ON y.database_name = l.database_name AND y.type = 'Lifecycle'
    LEFT JOIN provisioning.condition d ON d.database_name = l.database_name AND d.type = 'TenantDatabase'
        AND d.status <> 'True'
    LEFT JOIN provisioning.condition m ON m.database_name = l.database_name AND m.type = 'MembersSynced'
        AND m.status = 'True' AND m.reason = 'AccountUnproven'
"""

_LINK = """
    UPDATE provisioning.tenant_link
    SET server = %s, subdomain = %s, workspace_id = %s, workspace_url = %s, updated_at = now()
    WHERE database_name = %s
"""

_SETTLE = "UPDATE provisioning.intent SET settled_at = now(), settled_as = %s WHERE id = %s"

# of a call whose answer no run read, a later run knows by the workspace that stands or does not
_CUT_CREATIONS: LiteralString = """
    FROM provisioning.outcome
    WHERE database_name = %(name)s AND change = 'create workspace' AND status IN ('begun', 'cut') AND run_id <> %(run)s
"""

_CREATION_MADE_IT: LiteralString = f"""
    WITH made AS (
        UPDATE provisioning.outcome SET status = 'done',
            detail = %(told)s || ': made, and found by a later run, since this one was cut before it knew'
        WHERE id = (SELECT max(id) {_CUT_CREATIONS}) RETURNING run_id
    )
    UPDATE provisioning.run r SET actions = r.actions + 1 FROM made WHERE r.run_id = made.run_id
"""  # noqa: S608  # texts of ours alone

_CREATION_MADE_NOTHING: LiteralString = f"""
    UPDATE provisioning.outcome SET status = 'failed', detail = detail || '; as a later run found, nothing was made'
    WHERE id IN (SELECT id {_CUT_CREATIONS})
"""  # noqa: S608  # as above

_STORE_CONDITIONS = """
    INSERT INTO provisioning.condition AS known (database_name, type, status, reason, message, run_id)
    SELECT n, t, s, r, m, %s FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        AS found(n, t, s, r, m)
    ON CONFLICT (database_name, type) DO UPDATE SET
        -- of a life the reason is the state
        since = CASE WHEN known.status = excluded.status AND (known.type <> 'Lifecycle'
            OR known.reason = excluded.reason) THEN known.since ELSE now() END,
        status = excluded.status, reason = excluded.reason, message = excluded.message, run_id = excluded.run_id
"""

_STORE_CHANGES = """
    INSERT INTO provisioning.condition_change (run_id, database_name, type, status, reason, message)
    SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
"""

_STORE_READY = """
    UPDATE provisioning.tenant_link l SET
        ready = found.ready,
        attempts = CASE WHEN found.ready THEN 0 WHEN %(tried)s THEN l.attempts + 1 ELSE l.attempts END,
        look_again_at = CASE WHEN found.ready THEN now() WHEN NOT %(tried)s THEN l.look_again_at
            WHEN found.again IS NOT NULL THEN now() + make_interval(secs => found.again)
            ELSE now() + make_interval(secs =>
                least(%(most)s::float8, %(first)s::float8 * 2 ^ least(l.attempts, 20))) END
    FROM unnest(%(names)s::text[], %(ready)s::bool[], %(again)s::float8[]) AS found(name, ready, again)
    WHERE l.database_name = found.name AND NOT (l.ready AND found.ready)
"""
