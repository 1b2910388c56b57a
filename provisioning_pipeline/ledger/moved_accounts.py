"""The ledger's rows about accounts to which we gave another e-mail, written before Twenty is told."""

from collections.abc import Sequence
from dataclasses import astuple

from provisioning_pipeline.ledger.schema import LedgerTables
from provisioning_pipeline.model.people import Move


class MovedAccounts(LedgerTables):
    """A row counts where the account has its e-mail by now: what was begun and never made says nothing."""

    async def moves(self, server: str, user_ids: Sequence[str] | None = None) -> dict[tuple[str, str], Move]:
        """(Twenty user id, e-mail) → how we gave an account there that e-mail, or were about to."""
        rows = await self.tuples_if_made(
            """
            SELECT twenty_user_id::text, email, password_email, clerk_user_id FROM provisioning.moved_account
            WHERE server = %(server)s AND (%(ids)s::uuid[] IS NULL OR twenty_user_id = ANY(%(ids)s::uuid[]))
            """,
            {"server": server, "ids": None if user_ids is None else list(user_ids)},
        )
        return {(user, email): Move(email, password, clerk) for user, email, password, clerk in rows}

    async def begin_move(self, server: str, twenty_user_id: str, move: Move, run_id: str) -> None:
        """Store that this account is about to get another e-mail, before Twenty is told; twice is once."""
        await self.database.execute(
            """
            INSERT INTO provisioning.moved_account
                (server, twenty_user_id, email, password_email, clerk_user_id, run_id)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (server, twenty_user_id, email) DO UPDATE SET
                password_email = excluded.password_email, clerk_user_id = excluded.clerk_user_id,
                begun_at = now(), run_id = excluded.run_id
            """,
            [server, twenty_user_id, *astuple(move), run_id],
        )

    async def give_up_move(self, server: str, twenty_user_id: str, email: str) -> None:
        """Forget a change of e-mail that Twenty refused."""
        await self.database.execute(
            "DELETE FROM provisioning.moved_account WHERE server = %s AND twenty_user_id = %s AND email = %s",
            [server, twenty_user_id, email],
        )
