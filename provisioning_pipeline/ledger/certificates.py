"""The certificates of Twenty servers: what `provisioning certify` saw there, the last one of each server first."""

from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.certificate import Certificate, certificate_from


class Certificates:
    """The certificates of all servers, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def store(self, certificate: Certificate) -> None:
        """Keep a certificate, one that does not hold too.

        Nothing is kept without a contract, which there would be nothing to compare with, nor of a certification that
        ended early: the certificate before it stays the last.
        """
        if certificate.contract is None or certificate.stopped:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.certificate (server, version, fingerprint, holds, report, certified_at)
            VALUES (%s, %s, %s, %s, %s, %s)
            """,
            [
                certificate.server,
                certificate.version,
                certificate.contract.fingerprint,
                certificate.holds,
                Jsonb(certificate.as_json()),
                certificate.began_at,
            ],
        )

    async def last_of(self, server: str) -> Certificate | None:
        """The newest certificate of a server; None when there is none, or no ledger with room for one yet."""
        if not await has_ledger(self.database):
            return None
        found = await self.database.fetch("SELECT to_regclass('provisioning.certificate') IS NOT NULL AS there")
        if not found[0]["there"]:
            return None
        rows = await self.database.fetch(
            "SELECT report FROM provisioning.certificate WHERE server = %s ORDER BY certified_at DESC, id DESC LIMIT 1",
            [server],
        )
        return certificate_from(rows[0]["report"]) if rows else None
