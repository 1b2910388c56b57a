"""Reaches every configured system and says what it is, and what is missing before a run can work."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from urllib.parse import urlsplit

import pandas as pd
from psycopg import Error, errors

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.notification import NoPlace, kind_of, place_of
from provisioning_pipeline.clients.onboarding_rows import rights_missing
from provisioning_pipeline.clients.pooling import sessions_in_words
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.tenant_role import mending, role_rights, who_and_where
from provisioning_pipeline.decide.detection import DetectionPolicy, detect
from provisioning_pipeline.ledger import revisions
from provisioning_pipeline.ledger.announcements import Deliveries
from provisioning_pipeline.ledger.registry import OUR_COLUMNS, Registry
from provisioning_pipeline.ledger.registry_table import WORKSPACE_COLUMNS, namesakes, open_schemas
from provisioning_pipeline.ledger.registry_table import hidden as hides_rows
from provisioning_pipeline.model.announcement import DeliveryCounts, undelivered_in_words
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant_database import RoleRights, too_much
from provisioning_pipeline.observe.snapshots import tenant_databases
from provisioning_pipeline.run.connections import (
    Connections,
    connect,
    connections_needed,
    server_database,
    tenant_database,
)
from provisioning_pipeline.run.contracts import certificate_of, in_words, judge_server
from provisioning_pipeline.run.observe import registry_loss
from provisioning_pipeline.settings import Settings, TwentyServer
from provisioning_pipeline.tasks.vouch import shut_out_summary

CLIENT_DISTRIBUTION = "provisioning-pipeline-client"
_MOST_OPENED = 3
"""Tenant databases that are asked, one after another, until one answers."""
_OPENED_SECONDS = 10
_OLDEST_POSTGRES = 150000
_MOST_NAMED = 5
_LEDGER_AWAY = frozenset({Reason.REGISTRY_REFUSED, Reason.REGISTRY_UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Check:
    """One system: what was found, or what is wrong and what to do. `warning`: it works, but needs a look."""

    system: str
    ok: bool
    found: str
    warning: bool = False


async def preflight(settings: Settings) -> list[Check]:
    """Check every system at once. Changes nothing; signs in where a password is to be proved."""
    async with connect(settings, dry_run=True, logins=True) as connections:
        checks: list[tuple[str, Callable[[], Awaitable[str | Check]]]] = [
            ("Tenant registry", partial(_registry, connections)),
            ("Tenant cluster", partial(_cluster, connections)),
            ("Clerk", partial(_clerk, connections)),
        ]
        for server in settings.servers:
            checks.append((f"Twenty {server.name}, database", partial(_twenty_database, connections, server)))
            checks.append((f"Twenty {server.name}", partial(_twenty, connections, server)))
        found = await all_of(_check(system, ask) for system, ask in checks)
        if twofold := installed_twice():
            found.append(twofold)
        if refused := await shut_out_summary(connections):
            found.append(Check("Accounts of members", ok=True, found=refused, warning=True))
        if settings.webhook_endpoints:
            found.append(await _check("Webhooks that leave", partial(_webhooks, connections)))
        if settings.alert_urls:
            found.append(_alerts(settings))
        return [*found, *[await _certificate(connections, server.name) for server in settings.servers]]


def installed_twice() -> Check | None:
    """That the client distribution lies in the same environment: its modules are ours, and pip writes over them."""
    try:
        version = metadata.version(CLIENT_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    found = (
        f"{CLIENT_DISTRIBUTION} {version} is installed in the same environment and has some of the same modules, so we "
        "do not know which version of them runs. Uninstall both, then install provisioning-pipeline alone."
    )
    return Check("This installation", ok=True, found=found, warning=True)


async def _check(system: str, ask: Callable[[], Awaitable[str | Check]]) -> Check:
    try:
        found = await ask()
        return found if isinstance(found, Check) else Check(system, ok=True, found=found)
    except Fault as fault:
        return Check(system, ok=False, found=fault.message)
    except Error as error:
        return Check(system, ok=False, found=f"PostgreSQL refused: {first_line(error)}.")


async def _webhooks(connections: Connections) -> Check:
    """Where they go, and what did not arrive; none is sent."""
    urls = connections.settings.webhook_endpoints.values()
    hosts = ", ".join(sorted({urlsplit(url.get_secret_value()).hostname or "" for url in urls}))
    # an older ledger has none yet
    current = await revisions.revision(connections.ledger.database) in (None, revisions.HEAD)
    counts = await Deliveries(connections.ledger.database).counts() if current else DeliveryCounts()
    trouble = undelivered_in_words(counts)
    return Check("Webhooks that leave", ok=True, found=f"to {hosts}; {trouble or 'all arrived'}", warning=bool(trouble))


def _alerts(settings: Settings) -> Check:
    """Whether apprise takes each URL; none is sent to."""
    refused = []
    for number, url in enumerate(settings.alert_urls, 1):
        try:
            place_of(url, http_hosts=settings.allow_http_hosts)
        except NoPlace as fault:
            refused.append(f"number {number} ({kind_of(url)}) {fault}")
    kinds = ", ".join(kind_of(url) for url in settings.alert_urls)
    return Check("Alerts through apprise", ok=not refused, found="; ".join(refused) or f"to {kinds}; none was sent")


async def _version(database: Database) -> str:
    rows = await database.fetch(
        "SELECT current_setting('server_version') AS name, current_setting('server_version_num')::int AS number"
    )
    old = "" if rows[0]["number"] >= _OLDEST_POSTGRES else " (older than 15, never tried)"
    return f"PostgreSQL {rows[0]['name'].split()[0]}{old} at {database.where}"


async def _registry(connections: Connections) -> str:
    registry = connections.registry
    version = await _version(registry.database)
    rows = await registry.rows()
    revision = await revisions.revision(registry.database)
    ledger = "no ledger yet" if revision is None else f"ledger at revision {revision}"
    behind = "" if revision == revisions.HEAD else " (`provisioning migrate` or the first run brings it up to date)"
    await _may_keep_a_ledger(registry.database)
    if revision in (None, revisions.HEAD):
        loss = await registry_loss(connections)
        if loss.doubt:
            raise Fault(FaultKind.SERVER, Reason.REGISTRY_IN_DOUBT, loss.doubt)
    needed = connections_needed(connections.settings).registry
    sessions = await sessions_in_words(registry.database, needed=needed, reason=Reason.REGISTRY_REFUSED)
    if not await registry.columns():
        await registry.must_be_makeable()
        return f"{version}; {registry.table} will be created; {ledger}{behind}{sessions}"
    found = [
        f"{registry.table} has {len(rows)} rows",
        *await _columns_to_come(registry),
        *await _rows_to_come(connections, rows, revision),
        *await _open_schemas(registry),
    ]
    return f"{version}; {'; '.join(found)}; {ledger}{behind}{sessions}"


async def _columns_to_come(registry: Registry) -> list[str]:
    """What the first run will change about the table itself, or who has to."""
    table = await registry.described()
    lacking = registry.lacking(table)
    found = []
    if lacking and table.alterable:
        found.append(f"the first run adds {_in_words([f'column {name} ({type_})' for name, type_ in lacking])} to it")
        lacking = []
    unwritable = [
        name
        for name in ("status", *(names[0] for names, _ in OUR_COLUMNS))
        if name in table.columns and not table.columns[name].writable
    ]
    if lacking or unwritable:
        adding = ", ".join(f"ADD COLUMN {name} {type_}" for name, type_ in lacking)
        below = "" if table.is_table else ", on the table below it, and show them in it"
        alter = f"ALTER TABLE {table.name} {adding}; " if lacking else ""
        names = [*unwritable, *dict(lacking)]
        ids = "workspace ids" if set(WORKSPACE_COLUMNS) & set(names) else _in_words(names)
        found.append(
            f"it gets no {ids} until our user may {'ALTER' if lacking else 'UPDATE'} it, or until its owner runs{below}"
            f': {alter}GRANT UPDATE ({", ".join(names)}) ON {table.name} TO "{table.role}"'
        )
    others = await namesakes(registry.database, registry.table.rpartition(".")[2])
    if "." not in registry.table and len(others) > 1:
        found.append(
            f"{_in_words(others)} have that name, and the search path says which is meant: set "
            "PROVISIONING_REGISTRY_TABLE with its schema"
        )
    return found


async def _open_schemas(registry: Registry) -> list[str]:
    """Where every role could plant what the registry's own triggers and views may find under an unqualified name."""
    names = await open_schemas(registry.database)
    revoke = "; ".join(f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC" for name in names)
    return [f"every role may make functions in {_in_words(names)} there. Have its owner run: {revoke}"] if names else []


async def _rows_to_come(connections: Connections, rows: pd.DataFrame, revision: str | None) -> list[str]:
    """How many databases the first run will register."""
    settings = connections.settings
    if not settings.adopt_databases or revision not in (None, revisions.HEAD):
        return []
    try:
        found = await tenant_databases(
            connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded
        )
    except Fault:
        # the cluster's own line says so
        return []
    links = await connections.ledger.links()
    adopted = sum(entry.adopt for entry in detect(found, rows, links, DetectionPolicy.of(settings)))
    if not adopted:
        return []
    table = await connections.registry.described()
    row = "a row for 1 database" if adopted == 1 else f"rows for {adopted} databases"
    if table.takes_rows:
        return [f"the next run adds {row} that it does not know (PROVISIONING_ADOPT_DATABASES)"]
    return [f'{row} cannot be added until its owner runs: GRANT INSERT ON {table.name} TO "{table.role}"']


def _in_words(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


async def _may_keep_a_ledger(database: Database) -> None:
    rows = await database.fetch(
        """
        SELECT CASE WHEN to_regnamespace('provisioning') IS NULL
            THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(to_regnamespace('provisioning'), 'CREATE') END AS allowed, current_user AS name,
            to_regnamespace('provisioning') IS NOT NULL AS stands
        """
    )
    hidden = await database.fetch(
        """
        SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = to_regnamespace('provisioning')
        AND c.relkind IN ('r', 'p') AND row_security_active(c.oid) ORDER BY 1
        """
    )
    if hidden:
        raise hides_rows(", ".join(row["name"] for row in hidden), rows[0]["name"], database.where)
    if rows[0]["allowed"]:
        return
    user, where = rows[0]["name"], database.where
    refused = (
        f"User {user} may not make schema provisioning in {where}. Have the database's owner run: "
        f"CREATE SCHEMA IF NOT EXISTS provisioning AUTHORIZATION {user}."
    )
    if rows[0]["stands"]:
        # CREATE SCHEMA IF NOT EXISTS would do nothing here
        refused = (
            f"User {user} may not add tables to schema provisioning in {where}, which the next version may need. "
            f'Have its owner run: GRANT USAGE, CREATE ON SCHEMA provisioning TO "{user}".'
        )
    raise Fault(FaultKind.SERVER, Reason.REGISTRY_REFUSED, refused)


async def _cluster(connections: Connections) -> Check:
    settings = connections.settings
    version = await _version(connections.cluster)
    found = await tenant_databases(
        connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded
    )
    closed = sorted(found[found["trouble"].notna()]["database_name"])
    opened = sorted(found[found["trouble"].isna()]["database_name"])
    _must_not_be_mighty(await role_rights(connections.cluster))
    lacking = await _in_tenant_databases(settings, opened)
    needed = connections_needed(settings).cluster
    sessions = await sessions_in_words(connections.cluster, needed=needed, reason=Reason.DATABASE_UNREACHABLE)
    more = [f"{len(closed) - _MOST_NAMED} more"] if len(closed) > _MOST_NAMED else []
    named = _in_words([*closed[:_MOST_NAMED], *more])
    no_one = f"; no one can connect to {named}, so nothing is done there" if closed else ""
    shared = await _shares_the_registrys_role(connections)
    text = f"{version}; {len(found)} tenant databases{lacking}{no_one}{sessions}{shared}"
    return Check("Tenant cluster", ok=True, found=text, warning=bool(shared))


async def _in_tenant_databases(settings: Settings, names: Sequence[str]) -> str:
    """What our user may do in a tenant database and should not, or lacks there, to go on after what was found.

    One stands for all: a tenant manager makes them alike. Its owner may shut us out, or let us wait: then another one.
    """
    trouble: Fault | None = None
    for name in names[:_MOST_OPENED]:
        rights: RoleRights | None = None
        here: Fault | None = None
        lacking: Sequence[str] = ()
        try:
            async with asyncio.timeout(_OPENED_SECONDS), tenant_database(settings, name, read_only=True) as database:
                rights = await role_rights(database)
                lacking = await rights_missing(database) if settings.tenant_databases == "repair" else ()
        except Fault as fault:
            here = fault
        except TimeoutError:
            message = f"The tenant database {name} did not answer within {_OPENED_SECONDS} s."
            here = Fault(FaultKind.TRANSIENT, Reason.DATABASE_UNREACHABLE, message)
        except Error as error:
            message = f"The tenant database {name} cannot be read: {first_line(error)}."
            if isinstance(error, errors.InsufficientPrivilege):
                message += " Grant our user there what docs/installation.md#database-privileges lists."
            here = Fault(FaultKind.TENANT, Reason.DATABASE_UNREACHABLE, message)
        if rights is not None:
            # a role that may do too much is reported in spite of what else is wrong there
            _must_not_be_mighty(rights, besides=here)
        if here is None:
            return f"; in {name}{_lacking(lacking)}" if lacking else ""
        trouble = trouble or here
    if trouble is not None:
        raise trouble
    return ""


def _must_not_be_mighty(rights: RoleRights, besides: Fault | None = None) -> None:
    danger = too_much(rights)
    if danger is not None:
        raise Fault(
            FaultKind.SERVER,
            Reason.TENANT_DATABASE_UNSAFE,
            f"Our user {rights.name} opens tenant databases, whose owners we do not know, and {danger}. Use a role "
            f"without that (docs/installation.md#database-privileges): {mending(rights)}."
            f"{f' {besides.message}' if besides else ''}",
        )


async def _shares_the_registrys_role(connections: Connections) -> str:
    """That the role could write to the ledger, to go on after what was found; empty when it is another one."""
    try:
        ours = await who_and_where(connections.registry.database)
    except Fault:
        # the registry's own line says so
        return ""
    if ours != await who_and_where(connections.cluster):
        return ""
    return (
        f"; {ours[0]} is also the registry's user, which may write to the ledger: make another one for tenant "
        "databases (docs/installation.md#database-privileges)"
    )


def _lacking(rights: Sequence[str]) -> str:
    """What our user may not do with onboarding rows, to go on after what was found; empty when it may do all."""
    if not rights:
        return ""
    return (
        "; rows that no call of Twenty's clears cannot be removed or put back until our user is granted "
        f'{", ".join(rights)} on core."keyValuePair"'
    )


async def _clerk(connections: Connections) -> str:
    instance = await connections.clerk.instance()
    return (
        f"instance {instance.get('id')} ({instance.get('environment_type')}) at {connections.settings.clerk_base_url}"
    )


async def _twenty_database(connections: Connections, server: TwentyServer) -> str:
    needed, reason = connections_needed(connections.settings).twenty, Reason.SERVER_DATABASE_UNREACHABLE
    async with server_database(server, read_only=True) as opened:
        sessions = await sessions_in_words(opened, needed=needed, reason=reason)
    database = connections.servers[server.name].database
    count = await database.workspace_count()
    unreadable = await database.unreadable_schemas()
    if unreadable:
        raise Fault(
            FaultKind.SERVER,
            reason,
            f"The schemas of {unreadable} of {count} workspaces may not be read, so their members cannot be set "
            "right. Grant our user pg_read_all_data, or USAGE and SELECT there (docs/installation.md).",
        )
    limit = "no limit of ours" if server.capacity is None else f"capacity {server.capacity}"
    return f"{count} workspaces, {limit}{_lacking(await database.rights_missing())}{sessions}"


async def _twenty(connections: Connections, server: TwentyServer) -> str:
    opened, email = connections.servers[server.name], server.service_email
    contract = await _contract(connections, server.name)
    await opened.client.check_contract()
    version = (await opened.client.server_config()).get("appVersion")
    supported = f"{server.base_url}, version {version or 'not reported'}, {contract}"
    if not await opened.database.has_any_user():
        return f"{supported}; no user yet: the first run signs {email} up as its admin"
    if await opened.database.was_deleted(email):
        return (
            f"{supported}; {email} was deleted with its last workspace: the next run that makes a workspace signs it "
            "up anew"
        )
    await opened.client.service_token()
    if not await opened.database.is_server_admin(email):
        return (
            f"{supported}; {email} signs in but is no server admin: creating workspaces works only with "
            "IS_WORKSPACE_CREATION_LIMITED_TO_SERVER_ADMINS=false"
        )
    return f"{supported}; {email} signs in and is server admin"


async def _certificate(connections: Connections, name: str) -> Check:
    """What the last certification said; not being certified is a warning and no fault."""
    system = f"Twenty {name}, certificate"
    try:
        certified = await certificate_of(connections, name)
    except Fault as fault:
        # the line of what is away says so; this one says what it means here
        return Check(system, ok=True, found=f"not compared: {fault.message}", warning=True)
    return Check(system, ok=True, found=certified.sentence, warning=certified.warning)


async def _contract(connections: Connections, name: str) -> str:
    try:
        judged = await judge_server(connections, name)
    except Fault as fault:
        if fault.reason not in _LEDGER_AWAY:
            raise
        # the registry's own line says what is wrong there
        return "contract not compared, for want of the ledger"
    judged.must_be_complete()
    return in_words(judged)
