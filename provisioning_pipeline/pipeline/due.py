"""Which tenants want a look now: what a sensor asks, as cheaply as it can be asked."""

from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.observe.cluster import database_names
from provisioning_pipeline.pipeline.connections import connect
from provisioning_pipeline.settings import Settings


async def due_tenants(settings: Settings) -> tuple[int, dict[str, int]]:
    """How many tenant databases there are, and those due for a look with the tries that each has had.

    Raises:
        Fault: when cluster or ledger cannot be read; a failed read is never an empty list.
    """
    async with connect(settings, dry_run=True) as connections:
        names = await database_names(
            connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded
        )
        ledger = connections.ledger
        if not await has_ledger(ledger.database):
            return len(names), dict.fromkeys(names, 0)
        return len(names), {row["database_name"]: row["attempts"] for row in await ledger.due(names)}
