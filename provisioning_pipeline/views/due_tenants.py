"""Which tenants want a look now: what a sensor asks, as cheaply as it can be asked."""

from provisioning_pipeline.clients.concurrency import both
from provisioning_pipeline.ledger.fleet import known_and_due
from provisioning_pipeline.observe.tenant_databases import database_names
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.settings import Settings


async def due_tenants(settings: Settings) -> tuple[int, dict[str, int]]:
    """How many tenant databases there are, and those due for a look with the tries that each has had.

    Raises:
        Fault: when cluster or ledger cannot be read; a failed read is never an empty list.
    """
    async with connect(settings, dry_run=True) as connections:
        names, (known, due) = await both(
            database_names(connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded),
            known_and_due(connections.ledger.database),
        )
    return len(names), {name: due.get(name, 0) for name in names if name in due or name not in known}
