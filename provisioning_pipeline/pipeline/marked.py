"""Which tenants are marked: what the sensor of Clerk's changes asks, and where the ledger is that keeps the marks."""

from datetime import datetime

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.marks import Marks
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.settings import Settings


def ledger_database(settings: Settings, *, read_only: bool, most_connections: int = 1) -> Database:
    """The database of registry and ledger alone, for those who need no other system. Opened on first use."""
    return Database(
        settings.registry_url.get_secret_value(),
        system="The tenant registry",
        unreachable=Reason.REGISTRY_UNREACHABLE,
        read_only=read_only,
        most_connections=most_connections,
    )


async def marked_tenants(settings: Settings) -> dict[str, datetime]:
    """Database name → mark, for every tenant that somebody asked to be looked at again.

    Raises:
        Fault: when the ledger cannot be read; a failed read is never an empty answer.
    """
    async with ledger_database(settings, read_only=True) as database:
        return await Marks(database).marked()
