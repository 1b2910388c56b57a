"""PostgreSQL's advisory locks: one at a time per tenant, server of which a place is claimed, request, certification.

Each lock has a connection of its own and lives as long as that: a killed process, a cancelled task and a broken
connection let go at once, without a lease to wait for and without anything to clean up.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from psycopg import errors

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_TENANTS = 730_155
_SERVERS = 730_156
_REQUESTS = 730_157
_CERTIFICATIONS = 730_158
"""First keys of the two-part locks, so that nobody else's advisory locks meet ours."""


def tenant_lock(database: Database, database_name: str, *, wait_seconds: float) -> AbstractAsyncContextManager[None]:
    """Hold the tenant's lock, waiting for another holder.

    Raises:
        Fault: BUSY when it is still held after `wait_seconds`.
    """
    busy = f"Another run has been working on this tenant for over {wait_seconds:g} s; the next run looks again."
    return _lock(database, _TENANTS, database_name, wait_seconds, busy)


def server_lock(database: Database, server: str, *, wait_seconds: float) -> AbstractAsyncContextManager[None]:
    """Hold a server's lock while one of its last places is claimed.

    Raises:
        Fault: BUSY when it is still held after `wait_seconds`.
    """
    busy = f"Another run has been claiming a place on {server} for over {wait_seconds:g} s; the next run looks again."
    return _lock(database, _SERVERS, server, wait_seconds, busy)


def request_lock(database: Database, name: str, *, wait_seconds: float) -> AbstractAsyncContextManager[None]:
    """Hold a request's lock while it is looked for, carried out and kept.

    Raises:
        Fault: BUSY when it is still held after `wait_seconds`.
    """
    busy = f"The same request has been at work for over {wait_seconds:g} s; send it again."
    return _lock(database, _REQUESTS, name, wait_seconds, busy)


def certification_lock(database: Database, server: str) -> AbstractAsyncContextManager[None]:
    """Hold the lock of a server's certification, which removes what another one has made.

    Raises:
        Fault: BUSY at once when another one is under way.
    """
    busy = f"A certification of {server} is under way already. Start again when it has ended."
    return _lock(database, _CERTIFICATIONS, server, 0.0, busy)


@asynccontextmanager
async def _lock(database: Database, kind: int, name: str, wait_seconds: float, busy: str) -> AsyncIterator[None]:
    async with database.own_connection() as connection:
        milliseconds = max(1, int(wait_seconds * 1000))
        await connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{milliseconds}ms"])
        try:
            await connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [kind, name])
        except errors.LockNotAvailable:
            raise Fault(FaultKind.BUSY, Reason.TENANT_BUSY, busy) from None
        yield
