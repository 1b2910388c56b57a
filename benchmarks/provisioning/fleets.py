"""Seconds from CREATE DATABASE to the first call at Twenty, beside a small fleet and a large one.

Real are the databases, ledger entries and workspaces of the small fleet: the pipeline made them. Real in both fleets is
everything about the tenant that is measured: its people at Clerk, its registry row, its `CREATE DATABASE`, the
sensor's question (`due_tenants`) and the run over what it found (`apply`).

Of the large fleet, the small fleet's worth is real and the rest are rows, because 10,000 databases take 75 GB:

- `pg_database` gets catalogue rows without files, copies of template0's row that nobody may connect to. What the
  pipeline asks the catalogue costs the same; a connection to such a database is refused, and nothing connects to one.
- `tenant_registry`, `global_users`, `provisioning.*` and Twenty's `core` get what a ready tenant leaves there: its
  link, conditions, outcomes, settled intent; four people; its workspace with object metadata, its admin, the service
  account as its member. Texts are copied from a real tenant. Workspaces have no schema of their own, and no roles.
- Clerk holds the real tenants only: the pipeline asks it about organizations of tenants that lack an admin.

Before anything is timed, the pipeline itself must find the fleet credible: nothing due, and nothing to do in a dry run
over a sample of those rows. The sensor's interval (30 s) is no part of the time.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock

import httpx
import psycopg
from psycopg import sql

from benchmarks.provisioning.stand_in import StandIn, stand_in
from provisioning_pipeline.pipeline.apply import apply, dry_run
from provisioning_pipeline.pipeline.due import due_tenants
from provisioning_pipeline.settings import Settings

_FIRST_OID = 1_000_000_000
_SAMPLE = 50
_REGISTRY_ROWS = """
    CREATE TEMP TABLE extra AS
    SELECT n, 'row-' || n AS slug, md5('tenant' || n)::uuid AS id, md5('workspace' || n)::uuid AS workspace,
           md5('admin' || n)::uuid AS admin, 'twenty_tenant_row-' || n || '_' || left(md5(n::text), 8) AS database
    FROM generate_series(1, %(count)s) n;
    CREATE TEMP TABLE model AS SELECT * FROM provisioning.tenant_link WHERE ready ORDER BY database_name LIMIT 1;

    INSERT INTO tenant_registry (id, slug, name, database_name, database_url, status, clerk_org_id,
                                 twenty_workspace_id)
    SELECT id, slug, 'Row ' || n, database, 'postgresql:///' || database, 'active', 'org_row' || n, workspace
    FROM extra;
    INSERT INTO global_users (email, tenant_id, role)
    SELECT 'person' || p || '@row-' || n || '.example', id, CASE p WHEN 1 THEN 'admin' ELSE 'member' END
    FROM extra, generate_series(1, 4) p;
    UPDATE tenant_registry r SET admin_user_id = u.id FROM global_users u
    WHERE u.tenant_id = r.id AND u.role = 'admin' AND r.admin_user_id IS NULL;

    INSERT INTO provisioning.tenant_link (database_name, slug, server, subdomain, workspace_id, workspace_url,
                                          admin_user_id, admin_email, ready)
    SELECT e.database, e.slug, m.server, e.slug, e.workspace, m.workspace_url, e.admin,
           'person1@row-' || n || '.example', true
    FROM extra e, model m;
    INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id)
    SELECT e.database, c.type, c.status, c.reason, c.message, 'earlier'
    FROM extra e, model m JOIN provisioning.condition c USING (database_name);
    INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds)
    SELECT 'earlier', e.database, o.change, o.status, o.detail, o.seconds
    FROM extra e, model m JOIN provisioning.outcome o USING (database_name);
    INSERT INTO provisioning.intent (database_name, server, subdomain, settled_at, settled_as, run_id, begun_at)
    SELECT e.database, m.server, e.slug, now(), 'created', 'earlier', now() FROM extra e, model m;
    INSERT INTO provisioning.user_link (server, clerk_user_id, twenty_user_id, run_id)
    SELECT m.server, 'user_row' || n, e.admin, 'earlier' FROM extra e, model m;
"""
_TWENTY_ROWS = """
    CREATE TEMP TABLE extra AS
    SELECT n, 'row-' || n AS slug, md5('workspace' || n)::uuid AS workspace, md5('admin' || n)::uuid AS admin
    FROM generate_series(1, %(count)s) n;

    INSERT INTO core."user" (id, email, "isEmailVerified")
    SELECT admin, 'person1@row-' || n || '.example', true FROM extra;
    INSERT INTO core.workspace (id, "displayName", "inviteHash", subdomain, "activationStatus")
    SELECT workspace, 'Row ' || n, gen_random_uuid()::text, slug, 'ACTIVE' FROM extra;
    INSERT INTO core."userWorkspace" ("userId", "workspaceId")
    SELECT u.id, e.workspace FROM extra e, core."user" u WHERE u.email = %(service)s
    UNION ALL SELECT admin, workspace FROM extra;
    INSERT INTO core."objectMetadata" ("workspaceId", "nameSingular", "isActive")
    SELECT e.workspace, o."nameSingular", o."isActive" FROM extra e, core."objectMetadata" o
    WHERE o."workspaceId" = (SELECT "workspaceId" FROM core."objectMetadata" LIMIT 1);
"""


@dataclass
class Fleet:
    """A fleet and what was measured beside it.

    Args:
        databases: tenant databases at the start.
        first_call: seconds from CREATE DATABASE to the first call at Twenty, one per new tenant.
        whole_run: seconds from CREATE DATABASE to the end of the run that made the tenant ready.
    """

    databases: int
    first_call: list[float] = field(default_factory=list)
    whole_run: list[float] = field(default_factory=list)


@dataclass
class _Opened:
    fleet: Fleet
    sandbox: StandIn


class FirstCall:
    """Notes when the first request to Twenty is handed to httpx's transport."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self.at: float | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch every client of this process that is used meanwhile."""
        send = httpx.AsyncHTTPTransport.handle_async_request

        async def noting(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            if self.at is None and str(request.url).startswith(self._base_url):
                self.at = time.perf_counter()
            return await send(transport, request)

        with mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", noting):
            yield


@contextmanager
def fleets(small: int, large: int, *, activation_seconds: float) -> Iterator["Pair"]:
    """Both fleets, side by side, each in a sandbox of its own."""
    with ExitStack() as stack:
        opened = []
        for databases in (small, large):
            sandbox = stack.enter_context(stand_in(tenants=small, activation_seconds=activation_seconds))
            with sandbox.settings() as settings:
                asyncio.run(apply(settings))
                _add_rows(settings, databases - small)
                asyncio.run(_check(settings, databases, databases - small))
            opened.append(_Opened(Fleet(databases), sandbox))
        yield Pair(opened[0], opened[1])


@dataclass
class Pair:
    """The two fleets while their sandboxes run."""

    _small: _Opened
    _large: _Opened

    @property
    def small(self) -> Fleet:
        """The small one."""
        return self._small.fleet

    @property
    def large(self) -> Fleet:
        """The large one."""
        return self._large.fleet

    def measure(self, number: int) -> None:
        """Add one tenant to each fleet and time what follows; in turns, so that a busy machine hits both."""
        for opened in (self._small, self._large) if number % 2 else (self._large, self._small):
            with opened.sandbox.settings() as settings:
                first_call, whole_run = _time(opened.sandbox, settings, f"measured-{number}")
            opened.fleet.first_call.append(first_call)
            opened.fleet.whole_run.append(whole_run)


def _time(sandbox: StandIn, settings: Settings, slug: str) -> tuple[float, float]:
    watch = FirstCall(settings.servers[0].base_url)
    gc.collect()
    (added,) = sandbox.add_tenants([slug])
    begun = time.perf_counter()
    with watch.watched():
        _, due = asyncio.run(due_tenants(settings))
        applied = asyncio.run(apply(settings, sorted(due), trigger="sensor"))
    ended = time.perf_counter()
    line = next(line for line in applied.summary.tenants if line.database_name == added.database_name)
    if list(due) != [added.database_name] or line.state != "ready" or watch.at is None:
        raise RuntimeError(f"{added.database_name} did not become ready by itself: the time would mean nothing")
    return watch.at - begun, ended - begun


def _add_rows(settings: Settings, count: int) -> None:
    if not count:
        return
    (server,) = settings.servers
    with psycopg.connect(settings.tenant_cluster_url.get_secret_value(), autocommit=True) as cluster:
        _add_catalogue_rows(cluster, count)
    for url, statements, parameters in (
        (settings.registry_url, _REGISTRY_ROWS, {"count": count}),
        (server.database_url, _TWENTY_ROWS, {"count": count, "service": server.service_email}),
    ):
        with psycopg.connect(url.get_secret_value(), autocommit=True, cursor_factory=psycopg.ClientCursor) as there:
            there.execute(statements.encode(), parameters)
            there.execute("VACUUM ANALYZE")


def _add_catalogue_rows(cluster: "psycopg.Connection[tuple[object, ...]]", count: int) -> None:
    """Rows in pg_database that copy template0's, whatever columns this PostgreSQL has."""
    columns = cluster.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'pg_database'::regclass AND attnum > 0 ORDER BY attnum"
    ).fetchall()
    given: dict[object, sql.Composable] = {
        "oid": sql.SQL("{} + n").format(_FIRST_OID),
        "datname": sql.SQL("'twenty_tenant_row-' || n || '_' || left(md5(n::text), 8)"),
        "datistemplate": sql.SQL("false"),
        "datallowconn": sql.SQL("false"),
    }
    names = [sql.Identifier(str(name)) for (name,) in columns]
    values = [given.get(name, sql.SQL("t.{}").format(sql.Identifier(str(name)))) for (name,) in columns]
    cluster.execute("SET allow_system_table_mods = on")
    cluster.execute(
        sql.SQL(
            "INSERT INTO pg_database ({}) SELECT {} FROM pg_database t, generate_series(1, {}) n "
            "WHERE t.datname = 'template0'"
        ).format(sql.SQL(", ").join(names), sql.SQL(", ").join(values), count)
    )
    cluster.execute("VACUUM ANALYZE pg_database")


async def _check(settings: Settings, databases: int, rows: int) -> None:
    """The pipeline itself must see a fleet of this size in which nothing is to be done."""
    seen, due = await due_tenants(settings)
    sample = [f"row-{number}" for number in range(1, rows + 1, max(1, rows // _SAMPLE))] if rows else []
    plan = await dry_run(settings, sample)
    if (seen, len(due), len(plan.work)) != (databases, 0, 0):
        raise RuntimeError(
            f"the fleet of {databases} is not credible: {seen} seen, {len(due)} due, {len(plan.work)} to do"
        )
