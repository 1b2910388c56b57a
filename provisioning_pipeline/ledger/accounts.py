"""The ledger's rows about accounts at Twenty: who made them, and which of them an operator vouched for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.people import Origin


@dataclass(frozen=True, slots=True)
class Vouched:
    """An account that an operator says belongs to the person with that address."""

    server: str
    twenty_user_id: str
    email: str
    vouched_by: str
    why: str
    vouched_at: datetime


class Accounts:
    """Origins and vouches, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def origins(self, server: str, user_ids: Sequence[str]) -> dict[str, Origin]:
        """Twenty user id → what we know of who made the account, for those of these accounts that we know."""
        if not user_ids or not await has_ledger(self.database):
            return {}
        rows = await self.database.fetch_tuples(
            """
            SELECT twenty_user_id::text, email, ours, clerk_user_id FROM provisioning.account_origin
            WHERE server = %s AND twenty_user_id = ANY(%s::uuid[])
            """,
            [server, list(user_ids)],
        )
        return {user: Origin(email, ours, clerk) for user, email, ours, clerk in rows}

    async def made_by_others(self) -> list[tuple[str, str]]:
        """(server, Twenty user id) of every account that is known to have a password that is not ours."""
        if not await has_ledger(self.database):
            return []
        rows = await self.database.fetch_tuples(
            "SELECT server, twenty_user_id::text FROM provisioning.account_origin WHERE NOT ours"
        )
        return [(server, user) for server, user in rows]

    async def members_of_others_accounts(self, tenant: str | None = None) -> list[Row]:
        """Members of one tenant (slug or database name), or of all, whose account is not, or was not always, ours.

        slug, database_name, server, clerk_user_id, twenty_user_id, first_name, last_name; of the account's origin
        origin_email, ours, made_for.
        """
        if not await has_ledger(self.database):
            return []
        return await self.database.fetch(
            """
            SELECT l.slug, l.database_name, l.server, m.clerk_user_id, m.twenty_user_id::text AS twenty_user_id,
                   m.first_name, m.last_name, o.email AS origin_email, o.ours, o.clerk_user_id AS made_for
            FROM provisioning.tenant_link l
            JOIN provisioning.member_link m USING (database_name)
            JOIN provisioning.account_origin o ON o.server = l.server AND o.twenty_user_id = m.twenty_user_id
            WHERE (%s::text IS NULL OR %s IN (l.slug, l.database_name))
              AND (NOT o.ours OR o.clerk_user_id IS DISTINCT FROM m.clerk_user_id)
            ORDER BY l.slug, l.database_name, m.clerk_user_id
            """,
            [tenant, tenant],
        )

    async def store(self, server: str, found: Sequence[tuple[str, Origin]], run_id: str) -> None:
        """Remember who made these accounts. One that we made stays ours: its owner may have changed the password."""
        rows = dict(found)
        if not rows:
            return
        users = sorted(rows)
        await self.database.execute(
            """
            INSERT INTO provisioning.account_origin AS known
                (server, twenty_user_id, email, clerk_user_id, ours, run_id)
            SELECT %s, u, e, c, o, %s FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bool[]) AS f(u, e, c, o)
            ON CONFLICT (server, twenty_user_id) DO UPDATE SET
                email = excluded.email, ours = excluded.ours, run_id = excluded.run_id, seen_at = now(),
                clerk_user_id = COALESCE(excluded.clerk_user_id, known.clerk_user_id)
            WHERE (excluded.ours OR NOT known.ours) AND (excluded.email, excluded.ours) <> (known.email, known.ours)
            """,
            [
                server,
                run_id,
                users,
                [rows[user].email for user in users],
                [rows[user].clerk_user_id for user in users],
                [rows[user].ours for user in users],
            ],
        )

    # --- what an operator says ----------------------------------------------------------------------------------

    async def vouched(self, server: str | None = None, user_ids: Sequence[str] | None = None) -> list[Vouched]:
        """The accounts for which an operator vouched: all, or those of these on one server; oldest first."""
        if not await has_ledger(self.database):
            return []
        ids = None if user_ids is None else list(user_ids)
        rows = await self.database.fetch(
            """
            SELECT server, twenty_user_id::text AS twenty_user_id, email, vouched_by, why, vouched_at
            FROM provisioning.vouched_account
            WHERE (%s::text IS NULL OR server = %s) AND (%s::uuid[] IS NULL OR twenty_user_id = ANY(%s::uuid[]))
            ORDER BY vouched_at, server, twenty_user_id
            """,
            [server, server, ids, ids],
        )
        return [Vouched(**row) for row in rows]

    async def vouch(self, server: str, twenty_user_id: str, email: str, *, by: str, why: str) -> None:
        """Take an operator's word for it that this account is the person's with that address; the last word counts."""
        await self.database.execute(
            """
            INSERT INTO provisioning.vouched_account (server, twenty_user_id, email, vouched_by, why)
            VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (server, twenty_user_id) DO UPDATE SET
                email = excluded.email, vouched_by = excluded.vouched_by, why = excluded.why, vouched_at = now()
            """,
            [server, twenty_user_id, email, by, why],
        )

    async def take_back(self, email: str, server: str | None = None) -> list[Vouched]:
        """Forget what was vouched for this address, on one server or on all; what was forgotten."""
        rows = await self.database.fetch(
            """
            DELETE FROM provisioning.vouched_account WHERE email = %s AND (%s::text IS NULL OR server = %s)
            RETURNING server, twenty_user_id::text AS twenty_user_id, email, vouched_by, why, vouched_at
            """,
            [email, server, server],
        )
        return [Vouched(**row) for row in rows]
