"""The last look into each tenant database, as the ledger keeps it."""

from collections.abc import Collection, Mapping

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.tenant_database import LastLook


class Looks:
    """Looks in the ledger's database.

    Args:
        database: the ledger's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def last(self) -> dict[str, LastLook]:
        """Database name → the last look into it; empty where there is no ledger yet.

        Raises:
            Fault: when the ledger cannot be reached, or is that of an earlier version.
        """
        if not await has_ledger(self.database):
            return {}
        rows = await self.database.fetch_tuples(
            "SELECT database_name, evidence, looked_at, settled FROM provisioning.tenant_database_look"
        )
        return {name: LastLook(evidence, looked_at, settled) for name, evidence, looked_at, settled in rows}

    async def store(self, looks: Mapping[str, LastLook]) -> None:
        """Keep these looks, by database name, all or none. One that is older than what is there changes nothing.

        Raises:
            Fault: when the ledger cannot be reached.
        """
        if not looks:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.tenant_database_look AS known (database_name, evidence, looked_at, settled)
            SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::boolean[]) AS new
            -- the same order in every process, so that two of them cannot deadlock
            ORDER BY 1
            ON CONFLICT (database_name) DO UPDATE
            SET evidence = EXCLUDED.evidence, looked_at = EXCLUDED.looked_at, settled = EXCLUDED.settled
            WHERE known.looked_at <= EXCLUDED.looked_at
            """,
            [
                list(looks),
                [look.evidence for look in looks.values()],
                [look.looked_at for look in looks.values()],
                [look.settled for look in looks.values()],
            ],
        )

    async def forget(self, names: Collection[str]) -> None:
        """Forget the looks into databases that are no more; where one is there after all, it is looked into again.

        Raises:
            Fault: when the ledger cannot be reached.
        """
        if not names:
            return
        await self.database.execute(
            "DELETE FROM provisioning.tenant_database_look WHERE database_name = ANY(%s)", [sorted(names)]
        )
