"""Which tenants are marked: what the sensor of marks asks."""

from provisioning_pipeline.ledger.pending import Mark, Marks
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.settings import Settings


async def marked_tenants(settings: Settings) -> dict[str, Mark]:
    """Database name → mark, for every tenant with a pending review.

    Raises:
        Fault: when the ledger cannot be read; a failed read is never an empty answer.
    """
    async with ledger_database(settings, read_only=True) as database:
        return await Marks(database).marked()
