"""The ledger's rows about people: who is member of which tenant, who made their accounts, and what logins proved."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

import pandas as pd

from provisioning_pipeline.clients.postgres import Row, anew_if_lost
from provisioning_pipeline.ledger.moved_accounts import MovedAccounts
from provisioning_pipeline.ledger.schema import LedgerTables, columns
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.frames import MEMBER_INTENTS, MEMBER_LINKS, USER_LINKS, frame, frame_with_shared_values
from provisioning_pipeline.model.people import Origin


@dataclass(frozen=True, slots=True)
class MemberLink:
    """One member as we left them in Twenty. `email` is that of their account there."""

    clerk_user_id: str
    twenty_user_id: str
    email: str
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class MemberIntent:
    """A Clerk member before we let them in. `twenty_user_id` None means the account with this e-mail."""

    clerk_user_id: str
    twenty_user_id: str | None
    email: str


class Members(LedgerTables):
    """User links, member links, member intents and members taken over."""

    async def member_links(self, database_names: Sequence[str] | None = None) -> pd.DataFrame:
        """Member links, all or those of some tenants; columns of `MEMBER_LINKS`."""
        rows = await self.tuples_if_made(
            """
            SELECT database_name, clerk_user_id, twenty_user_id::text, email, first_name, last_name,
                   (extract(epoch FROM created_at) * 1000)::bigint
            FROM provisioning.member_link WHERE %(names)s::text[] IS NULL OR database_name = ANY(%(names)s)
            """,
            {"names": None if database_names is None else list(database_names)},
        )
        return frame_with_shared_values(MEMBER_LINKS, rows)

    async def intents(self, database_names: Sequence[str] | None = None) -> pd.DataFrame:
        """People that we began to let in and have not linked, in all or some tenants; columns of `MEMBER_INTENTS`."""
        rows = await self.tuples_if_made(
            """
            SELECT database_name, clerk_user_id, twenty_user_id::text, email,
                   (extract(epoch FROM begun_at) * 1000)::bigint
            FROM provisioning.member_intent WHERE %(names)s::text[] IS NULL OR database_name = ANY(%(names)s)
            ORDER BY begun_at, database_name, clerk_user_id
            """,
            {"names": None if database_names is None else list(database_names)},
        )
        return frame(MEMBER_INTENTS, rows)

    async def begin(self, database_name: str, intents: Sequence[MemberIntent], run_id: str) -> None:
        """Store who is about to be let in, before anything lets them in. Linking them settles it."""
        if not intents:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.member_intent AS known
                (database_name, clerk_user_id, twenty_user_id, email, run_id)
            SELECT %s, c, t, e, %s FROM unnest(%s::text[], %s::uuid[], %s::text[]) AS found(c, t, e) ORDER BY c
            ON CONFLICT (database_name, clerk_user_id) DO UPDATE SET
                twenty_user_id = excluded.twenty_user_id, email = excluded.email, begun_at = now(),
                run_id = excluded.run_id
            """,
            [database_name, run_id, *columns([astuple(intent) for intent in intents])],
        )

    async def give_up(self, people: Sequence[tuple[str, str]]) -> None:
        """Record that these (database name, Clerk user) did not get in after all."""
        if not people:
            return
        await self.database.execute(
            """
            DELETE FROM provisioning.member_intent i USING unnest(%s::text[], %s::text[]) AS gone(name, person)
            WHERE i.database_name = gone.name AND i.clerk_user_id = gone.person
            """,
            columns(people),
        )

    async def user_links(
        self, clerk_user_ids: Sequence[str] | None = None, twenty_user_ids: Sequence[str] = ()
    ) -> pd.DataFrame:
        """User links, all or those of these people on either side; columns of `USER_LINKS`."""
        rows = await self.tuples_if_made(
            """
            SELECT server, clerk_user_id, twenty_user_id::text FROM provisioning.user_link
            WHERE %(clerk)s::text[] IS NULL OR clerk_user_id = ANY(%(clerk)s)
               OR twenty_user_id = ANY(%(twenty)s::uuid[])
            """,
            {"clerk": None if clerk_user_ids is None else list(clerk_user_ids), "twenty": list(twenty_user_ids)},
        )
        return frame(USER_LINKS, rows)

    async def of_tenant(self, database_name: str) -> list[Row]:
        """The members of one tenant, each once: clerk_user_id, twenty_user_id, email.

        Members taken over from a workspace inserted by SQL have a clerk_user_id only if they are linked.
        """
        return await self.database.fetch(
            """
            SELECT clerk_user_id, twenty_user_id::text AS twenty_user_id, email FROM provisioning.member_link
            WHERE database_name = %s
            UNION ALL
            SELECT NULL, t.twenty_user_id::text, t.email FROM provisioning.taken_over_member t
            WHERE t.database_name = %s AND t.left_at IS NULL AND NOT EXISTS (SELECT 1 FROM provisioning.member_link l
                WHERE l.database_name = t.database_name AND l.twenty_user_id = t.twenty_user_id)
            ORDER BY clerk_user_id, twenty_user_id
            """,
            [database_name, database_name],
        )

    async def taken_over(self, database_names: Sequence[str] | None = None, *, also_left: bool = False) -> list[Row]:
        """Members taken over from workspaces inserted by SQL: database_name, twenty_user_id, email, left."""
        return await self.fetch_if_made(
            """
            SELECT database_name, twenty_user_id::text AS twenty_user_id, email, left_at IS NOT NULL AS left
            FROM provisioning.taken_over_member
            WHERE (%(names)s::text[] IS NULL OR database_name = ANY(%(names)s)) AND (%(left)s OR left_at IS NULL)
            ORDER BY database_name, twenty_user_id
            """,
            {"names": None if database_names is None else list(database_names), "left": also_left},
        )

    async def mark_left(self, people: Sequence[tuple[str, str]]) -> None:
        """Record that these (database name, Twenty user id), who were taken over, are no longer members."""
        if not people:
            return
        await self.database.execute(
            """
            UPDATE provisioning.taken_over_member t SET left_at = now()
            FROM unnest(%s::text[], %s::uuid[]) AS gone(name, person)
            WHERE t.database_name = gone.name AND t.twenty_user_id = gone.person AND t.left_at IS NULL
            """,
            columns(people),
        )

    async def store_taken_over(self, database_name: str, twenty_user_id: str, email: str, run_id: str) -> None:
        """Store a person who came from the tenant's workspace inserted by SQL; twice is once, with the last e-mail."""
        await self.database.execute(
            """
            INSERT INTO provisioning.taken_over_member AS known (database_name, twenty_user_id, email, run_id)
            VALUES (%s, %s, %s, %s)
            ON CONFLICT (database_name, twenty_user_id) DO UPDATE SET email = excluded.email, left_at = NULL
            WHERE known.email <> excluded.email OR known.left_at IS NOT NULL
            """,
            [database_name, twenty_user_id, email, run_id],
        )

    @anew_if_lost
    async def store(self, server: str, database_name: str, links: Sequence[MemberLink], run_id: str) -> None:
        """Store who these members are, in one transaction. An account that was another member's is theirs now.

        Deciding has made sure that no other active person claims one of these accounts.
        """
        if not links:
            return
        clerk, twenty, emails, *names = columns([astuple(link) for link in links])
        async with self.database.transaction() as connection:
            await connection.execute(
                """
                DELETE FROM provisioning.user_link old USING unnest(%s::text[], %s::uuid[]) AS new(clerk, twenty)
                WHERE old.server = %s AND old.twenty_user_id = new.twenty AND old.clerk_user_id <> new.clerk
                """,
                [clerk, twenty, server],
            )
            await connection.execute(
                """
                INSERT INTO provisioning.user_link AS known (server, clerk_user_id, twenty_user_id, run_id)
                SELECT %s, c, t, %s FROM unnest(%s::text[], %s::uuid[]) AS found(c, t) ORDER BY c
                ON CONFLICT (server, clerk_user_id) DO UPDATE SET twenty_user_id = excluded.twenty_user_id
                WHERE known.twenty_user_id <> excluded.twenty_user_id
                """,
                [server, run_id, clerk, twenty],
            )
            await connection.execute(
                """
                DELETE FROM provisioning.member_link old USING unnest(%s::text[], %s::uuid[]) AS new(clerk, twenty)
                WHERE old.database_name = %s AND old.twenty_user_id = new.twenty AND old.clerk_user_id <> new.clerk
                """,
                [clerk, twenty, database_name],
            )
            await connection.execute(
                """
                INSERT INTO provisioning.member_link AS known
                    (database_name, clerk_user_id, twenty_user_id, email, first_name, last_name, run_id)
                SELECT %s, c, t, e, f, l, %s
                FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[]) AS found(c, t, e, f, l)
                ORDER BY c
                ON CONFLICT (database_name, clerk_user_id) DO UPDATE SET
                    twenty_user_id = excluded.twenty_user_id, email = excluded.email,
                    first_name = excluded.first_name, last_name = excluded.last_name
                """,
                [database_name, run_id, clerk, twenty, emails, *names],
            )
            await connection.execute(
                """
                DELETE FROM provisioning.member_intent i
                USING unnest(%s::text[], %s::uuid[], %s::text[]) AS found(c, t, e)
                WHERE i.database_name = %s AND (i.clerk_user_id = c OR i.twenty_user_id = t OR i.email = e)
                """,
                [clerk, twenty, emails, database_name],
            )

    async def drop(self, database_name: str, clerk_user_ids: Sequence[str]) -> None:
        """Forget that these people are members of the tenant, but not that Clerk knew them."""
        users = list(clerk_user_ids)
        await self.database.execute(
            """
            WITH linked AS (
                DELETE FROM provisioning.member_link WHERE database_name = %s AND clerk_user_id = ANY(%s)
                RETURNING database_name, email
            ), begun AS (
                DELETE FROM provisioning.member_intent WHERE database_name = %s AND clerk_user_id = ANY(%s)
                RETURNING database_name, email
            )
            INSERT INTO provisioning.known_at_clerk (database_name, email)
            SELECT * FROM linked UNION SELECT * FROM begun ON CONFLICT DO NOTHING
            """,
            [database_name, users, database_name, users],
        )

    async def added(self, by: Change, wanted: Sequence[tuple[str, str, str]]) -> set[tuple[str, str]]:
        """(database name, e-mail) of those of these (…, …, role) that a run in the ledger added `by` this change."""
        if not wanted:
            return set()
        rows = await self.tuples_if_made(
            """
            SELECT DISTINCT w.name, w.email FROM unnest(%s::text[], %s::text[], %s::text[]) AS w(name, email, role)
            JOIN provisioning.outcome o ON o.database_name = w.name AND o.change = %s AND o.status = 'done'
                AND o.detail = w.email || ' as ' || w.role
            """,
            [*columns(wanted), by],
        )
        return {(name, email) for name, email in rows}

    async def invited(self, by: Change, ended_by: Change, wanted: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these (database name, e-mail) that a run of ours invited, and none uninvited since."""
        if not wanted:
            return set()
        rows = await self.tuples_if_made(
            """
            SELECT w.name, w.email FROM unnest(%s::text[], %s::text[]) AS w(name, email)
            CROSS JOIN LATERAL (
                SELECT o.change FROM provisioning.outcome o
                WHERE o.database_name = w.name AND o.status = 'done' AND (
                    o.change = %s AND starts_with(o.detail, w.email || ' as ')
                    OR o.change = %s AND starts_with(o.detail, w.email || ': '))
                ORDER BY o.id DESC LIMIT 1
            ) AS last WHERE last.change = %s
            """,
            [*columns(wanted), by, ended_by, by],
        )
        return {(name, email) for name, email in rows}

    async def was_demoted(self, by: Change, database_name: str, email: str) -> bool:
        """Whether a run in the ledger took this person's role `by` this change in the tenant's workspace."""
        rows = await self.database.fetch(
            """
            SELECT 1 FROM provisioning.outcome
            WHERE database_name = %s AND change = %s AND status = 'done' AND starts_with(detail, %s) LIMIT 1
            """,
            [database_name, by, f"{email}: "],
        )
        return bool(rows)

    async def account_of(self, server: str, clerk_user_id: str) -> str | None:
        """The Twenty account that a Clerk user is linked to on this server."""
        rows = await self.database.fetch_tuples(
            "SELECT twenty_user_id::text FROM provisioning.user_link WHERE server = %s AND clerk_user_id = %s",
            [server, clerk_user_id],
        )
        return rows[0][0] if rows else None

    async def set_invite_link_opened(self, database_name: str, *, opened: bool) -> None:
        """Record that the public invite link is open because of us, before it is; or that it no longer is."""
        await self.database.execute(
            "UPDATE provisioning.tenant_link SET invite_link_opened = %s WHERE database_name = %s",
            [opened, database_name],
        )

    async def lend_default_role(self, database_name: str, own: str) -> str:
        """Record the workspace's own default role before another takes its place; the one that is to come back.

        After a crash that is the one recorded then, not the one that was lent.
        """
        rows = await self.database.fetch_tuples(
            """
            UPDATE provisioning.tenant_link SET default_role_before = COALESCE(default_role_before, %s)
            WHERE database_name = %s RETURNING default_role_before::text
            """,
            [own, database_name],
        )
        return str(rows[0][0])

    async def default_role_is_back(self, database_name: str) -> None:
        """Record that the workspace has its own default role again."""
        await self.database.execute(
            "UPDATE provisioning.tenant_link SET default_role_before = NULL WHERE database_name = %s", [database_name]
        )


@dataclass(frozen=True, slots=True)
class Vouched:
    """An account that an operator says belongs to the person with that address."""

    server: str
    twenty_user_id: str
    email: str
    vouched_by: str
    why: str
    vouched_at: datetime


class Accounts(MovedAccounts):
    """Who made accounts at Twenty, and which of them an operator vouched for."""

    async def origins(self, server: str, user_ids: Sequence[str]) -> dict[str, Origin]:
        """Twenty user id → what we know of who made the account, for those of these accounts that we know."""
        if not user_ids:
            return {}
        rows = await self.tuples_if_made(
            """
            SELECT twenty_user_id::text, email, ours, clerk_user_id FROM provisioning.account_origin
            WHERE server = %s AND twenty_user_id = ANY(%s::uuid[])
            """,
            [server, list(user_ids)],
        )
        return {user: Origin(email, ours, clerk) for user, email, ours, clerk in rows}

    async def made_by_others(self) -> list[tuple[str, str]]:
        """(server, Twenty user id) of every account that is known to have a password that is not ours."""
        rows = await self.tuples_if_made(
            "SELECT server, twenty_user_id::text FROM provisioning.account_origin WHERE NOT ours"
        )
        return [(server, user) for server, user in rows]

    async def members_of_others_accounts(self, tenant: str | None = None) -> list[Row]:
        """Members of one tenant (slug or database name), or of all, whose account is not, or was not always, ours."""
        return await self.fetch_if_made(
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
        """Store who made these accounts. One that we made stays ours: its owner may have changed the password."""
        if not found:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.account_origin AS known
                (server, twenty_user_id, email, clerk_user_id, ours, run_id)
            SELECT %s, u, e, c, o, %s FROM unnest(%s::uuid[], %s::text[], %s::bool[], %s::text[]) AS f(u, e, o, c)
            ON CONFLICT (server, twenty_user_id) DO UPDATE SET
                email = excluded.email, ours = excluded.ours, run_id = excluded.run_id, seen_at = now(),
                clerk_user_id = COALESCE(excluded.clerk_user_id, known.clerk_user_id)
            WHERE (excluded.ours OR NOT known.ours) AND (excluded.email, excluded.ours) <> (known.email, known.ours)
            """,
            [server, run_id, *columns([(user, *astuple(origin)) for user, origin in sorted(dict(found).items())])],
        )

    async def vouched(self, server: str | None = None, user_ids: Sequence[str] | None = None) -> list[Vouched]:
        """The accounts for which an operator vouched: all, or those of these on one server; oldest first."""
        rows = await self.tuples_if_made(
            """
            SELECT server, twenty_user_id::text, email, vouched_by, why, vouched_at FROM provisioning.vouched_account
            WHERE (%(server)s::text IS NULL OR server = %(server)s)
              AND (%(ids)s::uuid[] IS NULL OR twenty_user_id = ANY(%(ids)s::uuid[]))
            ORDER BY vouched_at, server, twenty_user_id
            """,
            {"server": server, "ids": None if user_ids is None else list(user_ids)},
        )
        return [Vouched(*row) for row in rows]

    async def vouch(self, server: str, twenty_user_id: str, email: str, *, by: str, why: str) -> None:
        """Store that an operator says this account is the person's with that address; the last word counts."""
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
        rows = await self.database.fetch_tuples(
            """
            DELETE FROM provisioning.vouched_account WHERE email = %s AND (%s::text IS NULL OR server = %s)
            RETURNING server, twenty_user_id::text, email, vouched_by, why, vouched_at
            """,
            [email, server, server],
        )
        return [Vouched(*row) for row in rows]


COMPLETED = "COMPLETED"
"""The onboarding status of a person who sees no wizard."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one member's last real login saw.

    Args:
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
        """That person comes in and sees no wizard."""
        return self.status == COMPLETED


class Proofs(LedgerTables):
    """Proofs of logins."""

    async def store(self, proofs: Sequence[Proof], run_id: str) -> list[Proof]:
        """Store these in place of earlier ones of the same members; the same proofs with their time, in order.

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
            [run_id, *columns([astuple(proof) for proof in proofs])],
        )
        stored = {(proof.database_name, proof.twenty_user_id): proof for proof in (Proof(*row) for row in rows)}
        return [stored[(proof.database_name, proof.twenty_user_id)] for proof in proofs]

    async def of(self, database_names: Sequence[str] | None = None) -> list[Proof]:
        """The proofs of these tenants, or of all, by tenant and user id."""
        rows = await self.tuples_if_made(
            """
            SELECT database_name, twenty_user_id::text, email, status, proved_at FROM provisioning.login_proof
            WHERE %(names)s::text[] IS NULL OR database_name = ANY(%(names)s) ORDER BY database_name, twenty_user_id
            """,
            {"names": None if database_names is None else list(database_names)},
        )
        return [Proof(*row) for row in rows]

    async def forget_strangers(self, database_names: Sequence[str] | None = None) -> int:
        """Forget the proofs of people who are no longer admin or members; how many those were."""
        return await self.database.execute(
            """
            DELETE FROM provisioning.login_proof p
            WHERE (%(names)s::text[] IS NULL OR p.database_name = ANY(%(names)s))
            AND NOT EXISTS (SELECT 1 FROM provisioning.tenant_link l
                WHERE l.database_name = p.database_name AND l.admin_user_id = p.twenty_user_id)
            AND NOT EXISTS (SELECT 1 FROM provisioning.member_link m
                WHERE m.database_name = p.database_name AND m.twenty_user_id = p.twenty_user_id)
            AND NOT EXISTS (SELECT 1 FROM provisioning.taken_over_member t
                WHERE t.database_name = p.database_name AND t.twenty_user_id = p.twenty_user_id
                AND t.left_at IS NULL)
            """,
            {"names": None if database_names is None else list(database_names)},
        )
