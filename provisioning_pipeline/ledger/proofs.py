"""The ledger's rows about logins: what the last real login of each member saw, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.schema import has_ledger

COMPLETED = "COMPLETED"
"""The onboarding status of a person who sees no wizard."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one member's last real login saw.

    Args:
        database_name: the tenant.
        twenty_user_id, email: who logged in.
        status: the onboarding status that was read in the right workspace, else the `Reason` why it was not.
        proved_at: when, by the clock of the ledger's database; None as long as it is not stored.
    """

    database_name: str
    twenty_user_id: str
    email: str
    status: str
    proved_at: datetime | None = None

    @property
    def completed(self) -> bool:
        """Whether that person comes in and sees no wizard."""
        return self.status == COMPLETED


class Proofs:
    """Proofs of logins, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def store(self, proofs: Sequence[Proof], run_id: str) -> list[Proof]:
        """Remember these in place of earlier ones of the same members; the same proofs with their time, in order.

        A proof without a time is of now. Each member once.
        """
        if not proofs:
            return []
        rows = await self.database.fetch_tuples(
            """
            INSERT INTO provisioning.login_proof AS known
                (database_name, twenty_user_id, email, status, proved_at, run_id)
            SELECT d, u, e, s, COALESCE(p, now()), %s
            FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::timestamptz[]) AS found(d, u, e, s, p)
            ORDER BY d, u
            ON CONFLICT (database_name, twenty_user_id) DO UPDATE SET
                email = excluded.email, status = excluded.status, proved_at = excluded.proved_at,
                run_id = excluded.run_id
            RETURNING database_name, twenty_user_id::text, email, status, proved_at
            """,
            [
                run_id,
                [proof.database_name for proof in proofs],
                [proof.twenty_user_id for proof in proofs],
                [proof.email for proof in proofs],
                [proof.status for proof in proofs],
                [proof.proved_at for proof in proofs],
            ],
        )
        stored = {(proof.database_name, proof.twenty_user_id): proof for proof in (Proof(*row) for row in rows)}
        return [stored[(proof.database_name, proof.twenty_user_id)] for proof in proofs]

    async def of(self, database_names: Sequence[str] | None = None) -> list[Proof]:
        """The proofs of these tenants, or of all, by tenant and user id."""
        if not await has_ledger(self.database):
            return []
        names = None if database_names is None else list(database_names)
        rows = await self.database.fetch_tuples(
            """
            SELECT database_name, twenty_user_id::text, email, status, proved_at FROM provisioning.login_proof
            WHERE %s::text[] IS NULL OR database_name = ANY(%s) ORDER BY database_name, twenty_user_id
            """,
            [names, names],
        )
        return [Proof(*row) for row in rows]

    async def forget_strangers(self, database_names: Sequence[str] | None = None) -> int:
        """Forget the proofs of people who are neither admin nor members of ours any more; how many those were."""
        names = None if database_names is None else list(database_names)
        return await self.database.execute(
            """
            DELETE FROM provisioning.login_proof p
            WHERE (%s::text[] IS NULL OR p.database_name = ANY(%s))
            AND NOT EXISTS (SELECT 1 FROM provisioning.tenant_link l
                WHERE l.database_name = p.database_name AND l.admin_user_id = p.twenty_user_id)
            AND NOT EXISTS (SELECT 1 FROM provisioning.member_link m
                WHERE m.database_name = p.database_name AND m.twenty_user_id = p.twenty_user_id)
            AND NOT EXISTS (SELECT 1 FROM provisioning.taken_over_member t
                WHERE t.database_name = p.database_name AND t.twenty_user_id = p.twenty_user_id
                AND t.left_at IS NULL)
            """,
            [names, names],
        )
