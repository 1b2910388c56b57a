"""Contracts and certificates of Twenty servers."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from provisioning_pipeline.ledger.schema import LedgerTables
from provisioning_pipeline.model.contract import Certificate, Contract, certificate_from, contract_from


@dataclass(frozen=True, slots=True)
class SeenContract:
    """A contract that one server had or has.

    Args:
        fingerprint, contract: what was seen.
        first_seen, checked_at: when for the first and for the last time, by the clock of the ledger's database.
        proved_at: when a tenant's login was proved under it; None: never.
        canary: database name of that tenant.
        tried: database names of those whose login was not proved under it, as long as no tenant's was.
    """

    fingerprint: str
    contract: Contract
    first_seen: datetime
    checked_at: datetime
    proved_at: datetime | None
    canary: str | None
    tried: tuple[str, ...]


class Contracts(LedgerTables):
    """The contracts of all servers."""

    async def see(self, server: str, contract: Contract) -> None:
        """Store that this server has this contract now."""
        await self.database.execute(
            """
            INSERT INTO provisioning.server_contract AS known (server, fingerprint, contract) VALUES (%s, %s, %s)
            ON CONFLICT (server, fingerprint) DO UPDATE SET checked_at = now()
            """,
            [server, contract.fingerprint, Jsonb(contract.as_json())],
        )

    async def of(self, server: str) -> list[SeenContract]:
        """The contracts of a server, the one that was seen last first; empty when there is no ledger yet."""
        rows = await self.fetch_if_made(
            """
            SELECT fingerprint, contract, first_seen, checked_at, proved_at, canary
            FROM provisioning.server_contract WHERE server = %s ORDER BY checked_at DESC, fingerprint
            """,
            [server],
        )
        return [
            SeenContract(
                fingerprint=row["fingerprint"],
                contract=contract_from(row["contract"]),
                first_seen=row["first_seen"],
                checked_at=row["checked_at"],
                proved_at=row["proved_at"],
                canary=row["canary"] if row["proved_at"] else None,
                tried=tuple(json.loads(row["canary"])) if row["canary"] and not row["proved_at"] else (),
            )
            for row in rows
        ]

    async def a_workspace_on(self, server: str, preferred: Collection[str]) -> tuple[str, str] | None:
        """Id and URL of a tenant's workspace on that server, of one of the `preferred` databases where it can be."""
        rows = await self.tuples_if_made(
            """
            SELECT workspace_id::text, workspace_url FROM provisioning.tenant_link
            WHERE server = %s AND workspace_id IS NOT NULL AND workspace_url IS NOT NULL
            ORDER BY database_name = ANY(%s) DESC, ready DESC, database_name LIMIT 1
            """,
            [server, list(preferred)],
        )
        return (rows[0][0], rows[0][1]) if rows else None

    async def prove(self, server: str, fingerprint: str, canary: str) -> None:
        """Store that under this contract the login of the tenant with this database was proved."""
        await self.database.execute(
            """
            UPDATE provisioning.server_contract SET proved_at = now(), canary = %s
            WHERE server = %s AND fingerprint = %s AND proved_at IS NULL
            """,
            [canary, server, fingerprint],
        )

    async def store_tried(self, server: str, fingerprint: str, tried: Collection[str]) -> None:
        """Store whose login was not proved under this contract, so that others are tried before them."""
        await self.database.execute(
            """
            UPDATE provisioning.server_contract SET canary = %s
            WHERE server = %s AND fingerprint = %s AND proved_at IS NULL
            """,
            [json.dumps(sorted(tried)), server, fingerprint],
        )


class Certificates(LedgerTables):
    """The certificates of all servers."""

    async def store(self, certificate: Certificate) -> None:
        """Store a certificate, also one that does not hold.

        Without a contract there would be nothing to compare with. Of a certification that ended early nothing is stored
        either: the certificate before it stays the last.
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
        """The newest certificate of a server; None when there is none, or no ledger yet."""
        rows = await self.tuples_if_made(
            "SELECT report FROM provisioning.certificate WHERE server = %s ORDER BY certified_at DESC, id DESC LIMIT 1",
            [server],
        )
        return certificate_from(rows[0][0]) if rows else None
