"""One writer per tenant at a time, across processes and machines, by PostgreSQL advisory locks.

A lock lives as long as its connection: a killed process lets go at once, without a lease to wait for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import errors

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_NAMESPACE = 730_155
"""First key of the two-part lock, so that nobody else's advisory locks meet ours."""


@asynccontextmanager
async def tenant_lock(database: Database, database_name: str, *, wait_seconds: float) -> AsyncIterator[None]:
    """Hold the tenant's lock, waiting for another holder.

    Raises:
        Fault: BUSY when it is still held after `wait_seconds`.
    """
    async with database.connection() as connection:
        await connection.execute(
            "SELECT set_config('lock_timeout', %s, false)", [f"{max(1, int(wait_seconds * 1000))}ms"]
        )
        try:
            await connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [_NAMESPACE, database_name])
        except errors.LockNotAvailable:
            raise Fault(
                FaultKind.BUSY,
                Reason.TENANT_BUSY,
                f"Another run has been working on this tenant for over {wait_seconds:g} s; the next run looks again.",
            ) from None
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [_NAMESPACE, database_name])
            await connection.execute("SELECT set_config('lock_timeout', '0', false)")
