"""Opens every remote system of the settings, once, in the one mode (dry or not) that a run has."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from psycopg import Error
from psycopg.conninfo import make_conninfo

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.concurrency import to_the_end
from provisioning_pipeline.clients.postgres import PATIENCE_SECONDS, Database, with_database
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.clients.twenty.session import KnownServer
from provisioning_pipeline.clients.twenty.wire import TwentyWire
from provisioning_pipeline.ledger.access_locks import AccessLocks
from provisioning_pipeline.ledger.call_budget import CallBudget, budget_of_runs
from provisioning_pipeline.ledger.history import History, Journal
from provisioning_pipeline.ledger.inspections import InsertedWorkspaces, Inspections, RemovedRows
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.members import Accounts, Members
from provisioning_pipeline.ledger.pending import PendingReviews, Turns
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.ledger.servers import Contracts
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.settings import Settings, TwentyServer
from provisioning_pipeline.steps import questions
from provisioning_pipeline.steps.scope import Server

_SHARED, _FOR_READS = 2, 4
_LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL."""


@dataclass(frozen=True)
class Connections:
    """Every remote system. In a dry run none of them can be written to."""

    settings: Settings
    dry_run: bool
    cluster: Database
    ledger: Ledger
    journal: Journal
    history: History
    registry: Registry
    members: Members
    accounts: Accounts
    reviews: PendingReviews
    turns: Turns
    inspections: Inspections
    inserted: InsertedWorkspaces
    removed_rows: RemovedRows
    access_locks: AccessLocks
    contracts: Contracts
    clerk: ClerkClient
    servers: dict[str, Server]
    twenty_calls: CallCounter
    clerk_calls: CallCounter

    @property
    def twenty_databases(self) -> dict[str, TwentyDatabase]:
        """The servers' own databases, by server name."""
        return {name: server.database for name, server in self.servers.items()}


@dataclass(frozen=True, slots=True)
class ConnectionsNeeded:
    """How many connections one run opens at most at the same time, to the server of each database."""

    registry: int
    cluster: int
    twenty: int


def connections_needed(settings: Settings) -> ConnectionsNeeded:
    """What limits on roles, databases and servers must leave for one run."""
    tenants, databases = settings.tenant_concurrency, settings.tenant_database_connections
    limited = any(server.capacity is not None for server in settings.servers)
    return ConnectionsNeeded(
        # those that are shared; Clerk's budget; a lock of the run in Dagster, one for each tenant, for each tenant
        # database that is repaired, and for each place that is claimed on a server whose places are limited
        registry=(tenants + _SHARED) + 2 + tenants + databases + (tenants if limited else 0),
        cluster=_FOR_READS + databases,
        twenty=_FOR_READS + 1,
    )


def server_database(server: TwentyServer, *, read_only: bool, most_connections: int = 1) -> Database:
    """A Twenty server's own database. Opened on first use."""
    return Database(
        server.database_url.get_secret_value(),
        system=f'The database of Twenty server "{server.name}"',
        unreachable=Reason.SERVER_DATABASE_UNREACHABLE,
        read_only=read_only,
        most_connections=most_connections,
        most_of_all=_FOR_READS + 1,
    )


def cluster_url_for(settings: Settings, database_name: str) -> str:
    """The cluster's URL under the user that opens this tenant database. It holds the password, where that does."""
    url = settings.tenant_cluster_url.get_secret_value()
    if settings.tenant_database_user is None:
        return url
    user = settings.tenant_database_user.replace("{database}", database_name)
    # as PostgreSQL cuts the name when the role is made
    return make_conninfo(url, user=user.encode()[:_LONGEST_NAME].decode(errors="ignore"))


@asynccontextmanager
async def clerk_client(settings: Settings, *, dry_run: bool, counter: CallCounter) -> AsyncIterator[ClerkClient]:
    """Clerk, within the budget that runs of all processes share."""
    of_runs = budget_of_runs(settings.sessions, settings.clerk_share)
    async with (
        CallBudget(settings.registry_url.get_secret_value(), of_runs) as budget,
        ClerkClient(
            settings.clerk_base_url,
            settings.clerk_secret_key,
            timeout_seconds=settings.request_timeout_seconds,
            dry_run=dry_run,
            counter=counter,
            requests_per_10_seconds=settings.clerk_requests_per_10_seconds,
            share=settings.clerk_share,
            budget=budget,
        ) as client,
    ):
        yield client


def cluster_database(
    settings: Settings,
    *,
    most_connections: int = 1,
    patience_seconds: float = PATIENCE_SECONDS,
    most_of_all: int | None = None,
) -> Database:
    """The tenant cluster's catalogue, to be read; with what `Database` says of the rest. Opened on first use."""
    return Database(
        settings.tenant_cluster_url.get_secret_value(),
        system="The tenant cluster",
        unreachable=Reason.DATABASE_UNREACHABLE,
        read_only=True,
        most_connections=most_connections,
        patience_seconds=patience_seconds,
        most_of_all=most_of_all,
    )


def tenant_database(settings: Settings, name: str, *, read_only: bool) -> Database:
    """A tenant's own database on the tenant cluster. Opened on first use."""
    return Database(
        with_database(cluster_url_for(settings, name), name),
        system=f"The tenant database {name}",
        unreachable=Reason.DATABASE_UNREACHABLE,
        read_only=read_only,
        most_connections=1,
        most_of_all=connections_needed(settings).cluster,
        owner_is_trusted=False,
    )


KnownServers = dict[str, KnownServer]
"""By server name."""


async def _settle(journal: Journal) -> None:
    with suppress(Fault, Error):
        await to_the_end(journal.settle())


_RARE = (50_000, 20, 100)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Hundreds of thousands of rows are made here and none is a cycle: looking for cycles among them took seconds."""
    before = gc.get_threshold()
    if before == _RARE:
        # others of this process are connected, and the first of them puts back what was before
        yield
        return
    gc.set_threshold(*_RARE)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@asynccontextmanager
async def connect(
    settings: Settings, *, dry_run: bool, logins: bool = False, known: KnownServers | None = None
) -> AsyncIterator[Connections]:
    """Open all systems lazily and close them at the end. Opening reaches none of them yet.

    With `logins`, a dry run may sign in to Twenty: that proves a password and changes nothing that anyone sees. With
    `known`, which is added to, what was learnt of the servers holds from one connection to the next.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_rare_garbage_collection())
        cluster = await stack.enter_async_context(
            cluster_database(settings, most_connections=_FOR_READS, most_of_all=connections_needed(settings).cluster)
        )
        twenty_calls, clerk_calls = CallCounter(), CallCounter()
        clerk = await stack.enter_async_context(clerk_client(settings, dry_run=dry_run, counter=clerk_calls))
        servers: dict[str, Server] = {}
        for server in settings.servers:
            wire = TwentyWire(
                server,
                timeout_seconds=settings.request_timeout_seconds,
                dry_run=dry_run,
                logins=logins,
                counter=twenty_calls,
                concurrency=settings.twenty_concurrency,
            )
            client = await stack.enter_async_context(
                TwentyClient(
                    server,
                    wire,
                    activation_timeout_seconds=settings.activation_timeout_seconds,
                    known=None if known is None else known.setdefault(server.name, KnownServer()),
                )
            )
            database = await stack.enter_async_context(
                server_database(server, read_only=True, most_connections=_FOR_READS)
            )
            repairs = await stack.enter_async_context(server_database(server, read_only=dry_run, most_connections=1))
            servers[server.name] = Server(client, TwentyDatabase(database, repairs), server.capacity)
        # one for each tenant that is worked on, and two for everything else
        registry_database = await stack.enter_async_context(
            ledger_database(
                settings,
                read_only=dry_run,
                most_connections=settings.tenant_concurrency + _SHARED,
                most_of_all=connections_needed(settings).registry,
            )
        )
        ledger = Ledger(registry_database, questions, tuple(settings.webhook_endpoints))
        history = History(registry_database)
        journal = Journal(history)
        # before the connections end, whatever ends them; what the ledger does not take then is lost
        stack.push_async_callback(_settle, journal)
        yield Connections(
            settings=settings,
            dry_run=dry_run,
            cluster=cluster,
            ledger=ledger,
            journal=journal,
            history=history,
            registry=Registry(registry_database, settings.registry_table),
            members=Members(registry_database),
            accounts=Accounts(registry_database),
            reviews=PendingReviews(registry_database),
            turns=Turns(registry_database),
            inspections=Inspections(registry_database),
            inserted=InsertedWorkspaces(registry_database),
            removed_rows=RemovedRows(registry_database),
            access_locks=AccessLocks(registry_database),
            contracts=Contracts(registry_database),
            clerk=clerk,
            servers=servers,
            twenty_calls=twenty_calls,
            clerk_calls=clerk_calls,
        )
