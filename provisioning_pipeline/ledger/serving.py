"""The ledger as a server reaches it: it answers soon or counts as away, and is back as soon as it is back."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from psycopg import Error

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.database import ledger_at
from provisioning_pipeline.ledger.revisions import OtherLedger, beside_later_versions
from provisioning_pipeline.model.condition import SET_ASIDE
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.session import LinkedTenant

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_MOST_SECONDS = 5.0
"""Clerk waits 15 s for an answer; giving up on a query may take as long again."""
_PROBE_SECONDS = 1.0
"""A ledger that answers nothing else within this counts as hung; one that does kept a request waiting for a lock."""
_LET_HUNG_REST_SECONDS = 1.0
_CONNECTIONS = 8
_PATIENCE_SECONDS = 1.0
"""A caller of a server waits for less than a run does."""


class LedgerAway(Exception):
    """The ledger could not be asked; the log says why."""


class LedgerAccess:
    """Pooled connections to the ledger for as long as a server runs.

    Connections that failed or hung are given up together, and the next request begins with new ones.
    """

    def __init__(self, registry_url: str) -> None:
        self._registry_url = registry_url
        self._database = self._open()
        self._users: Counter[Database] = Counter()
        self._closing: set[asyncio.Task[None]] = set()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._answered_at = 0.0
        self._hung_until = 0.0

    def _open(self) -> Database:
        return ledger_at(
            self._registry_url, read_only=False, most_connections=_CONNECTIONS, patience_seconds=_PATIENCE_SECONDS
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_MOST_SECONDS)
        await _close(self._database)
        await asyncio.gather(*self._closing)
        self._database = self._open()

    async def ask(self, work: Callable[[Database], Awaitable[T]], *, within: float = _MOST_SECONDS) -> T:
        """Run `work` on the ledger's database.

        Args:
            within: seconds after which the caller waits no longer; the work ends by itself.

        Raises:
            LedgerAway: when that fails or takes too long, or the ledger hung a moment ago.
            Fault: BUSY, when `work` waited in vain for a lock.
        """
        begun = time.monotonic()
        if begun < self._hung_until:
            raise LedgerAway
        task = asyncio.create_task(self._ask(work))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        # giving up on a query may take as long as the query: we do not wait for that
        await asyncio.wait({task}, timeout=within)
        if task.done():
            return task.result()
        # one slow answer, or one lock that another session holds, is no hung ledger
        if within >= _MOST_SECONDS and self._answered_at < begun and not await self._answers():
            self._hung_until = time.monotonic() + _LET_HUNG_REST_SECONDS
        raise LedgerAway

    async def _answers(self) -> bool:
        """Whether the ledger answers a question that no request waits for."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS), self._open() as fresh:
                await fresh.fetch("SELECT 1")
        except (Fault, Error, TimeoutError):
            return False
        return True

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        # the log has it already; no request may be waiting for it any more
        if not task.cancelled() and task.exception() is None:
            self._answered_at = time.monotonic()

    async def _ask(self, work: Callable[[Database], Awaitable[T]]) -> T:
        database = self._database
        self._users[database] += 1
        try:
            with beside_later_versions():
                async with asyncio.timeout(_MOST_SECONDS):
                    return await work(database)
        except (Fault, OtherLedger, Error, TimeoutError) as error:
            if isinstance(error, Fault) and error.kind is FaultKind.BUSY:
                raise
            _LOG.warning("The ledger could not be asked: %s", _told(error))
            lost = isinstance(error, TimeoutError) or (isinstance(error, Fault) and error.kind is FaultKind.TRANSIENT)
            if lost and database is self._database:
                self._database = self._open()
            raise LedgerAway from None
        finally:
            self._users[database] -= 1
            if not self._users[database]:
                del self._users[database]
                if database is not self._database:
                    self._close_behind(database)

    def _close_behind(self, database: Database) -> None:
        """Close without letting a request wait for it."""
        closing = asyncio.create_task(_close(database))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _close(database: Database) -> None:
    await database.__aexit__(None, None, None)


def _told(error: Fault | OtherLedger | Error | TimeoutError) -> str:
    """For the log: without PostgreSQL's own texts, which repeat values."""
    if isinstance(error, Fault | OtherLedger):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no answer within {_MOST_SECONDS:g} s."
    return f"PostgreSQL refused with {type(error).__name__}."


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
    return LinkedTenant(**rows[0]) if rows else None
