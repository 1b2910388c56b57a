"""One writer at a time per tenant, per server while a place on it is claimed, and per request under one key.

They are PostgreSQL's advisory locks.

Each lock has a connection of its own and lives as long as that: a killed process, a cancelled task and a broken
connection let go at once, without a lease to wait for and without anything to clean up.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import errors

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_TENANTS = 730_155
_SERVERS = 730_156
_REQUESTS = 730_157
"""First keys of the two-part locks, so that nobody else's advisory locks meet ours."""


@asynccontextmanager
async def tenant_lock(database: Database, database_name: str, *, wait_seconds: float) -> AsyncIterator[None]:
    """Hold the tenant's lock, waiting for another holder.

    Raises:
        Fault: BUSY when it is still held after `wait_seconds`.
    """
    busy = Fault(
        FaultKind.BUSY,
        Reason.TENANT_BUSY,
        f"Another run has been working on this tenant for over {wait_seconds:g} s; the next run looks again.",
    )
    async with _lock(database, _TENANTS, database_name, wait_seconds, busy):
        yield


@asynccontextmanager
async def server_lock(database: Database, server: str, *, wait_seconds: float) -> AsyncIterator[None]:
    """Hold a server's lock while one of its last places is claimed.

    Raises:
        Fault: BUSY when it is still held after `wait_seconds`.
    """
    busy = Fault(
        FaultKind.BUSY,
        Reason.TENANT_BUSY,
        f"Another run has been claiming a place on {server} for over {wait_seconds:g} s; the next run looks again.",
    )
    async with _lock(database, _SERVERS, server, wait_seconds, busy):
        yield


@asynccontextmanager
async def request_lock(database: Database, name: str, *, wait_seconds: float) -> AsyncIterator[None]:
    """Hold a request's lock while it is looked for, carried out and kept.

    Raises:
        Fault: BUSY when it is still held after `wait_seconds`.
    """
    busy = Fault(
        FaultKind.BUSY,
        Reason.TENANT_BUSY,
        f"The same request has been at work for over {wait_seconds:g} s; send it again.",
    )
    async with _lock(database, _REQUESTS, name, wait_seconds, busy):
        yield


@asynccontextmanager
async def _lock(database: Database, kind: int, name: str, wait_seconds: float, busy: Fault) -> AsyncIterator[None]:
    async with database.own_connection() as connection:
        milliseconds = max(1, int(wait_seconds * 1000))
        await connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{milliseconds}ms"])
        try:
            await connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [kind, name])
        except errors.LockNotAvailable:
            raise busy from None
        yield
