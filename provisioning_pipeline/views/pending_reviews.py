"""Which tenants have a pending review: what the sensor of reviews asks."""

from provisioning_pipeline.ledger.pending import PendingReview, PendingReviews
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.settings import Settings


async def marked_tenants(settings: Settings) -> dict[str, PendingReview]:
    """Database name → its pending review.

    Raises:
        Fault: when the ledger cannot be read; a failed read is never an empty answer.
    """
    async with ledger_database(settings, read_only=True) as database:
        return await PendingReviews(database).pending()
