"""The ledger's rows about people: which Clerk user is which Twenty account, and member of which tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from provisioning_pipeline.clients.postgres import Database, Row, anew_if_lost
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import SET_ASIDE
from provisioning_pipeline.model.frames import MEMBER_INTENTS, MEMBER_LINKS, USER_LINKS, frame, frame_with_shared_values


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
    """A Clerk member who is about to get into a workspace. `twenty_user_id` is None: the account with this e-mail."""

    clerk_user_id: str
    twenty_user_id: str | None
    email: str


class Members:
    """User links, member links, member intents and members taken over, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def member_links(self, database_names: Sequence[str] | None = None) -> pd.DataFrame:
        """Member links, all or those of some tenants; columns of `MEMBER_LINKS`."""
        if not await has_ledger(self.database):
            return frame(MEMBER_LINKS, [])
        names = None if database_names is None else list(database_names)
        rows = await self.database.fetch_tuples(
            """
            SELECT database_name, clerk_user_id, twenty_user_id::text, email, first_name, last_name,
                   (extract(epoch FROM created_at) * 1000)::bigint
            FROM provisioning.member_link WHERE %s::text[] IS NULL OR database_name = ANY(%s)
            """,
            [names, names],
        )
        return frame_with_shared_values(MEMBER_LINKS, rows)

    async def intents(self, database_names: Sequence[str] | None = None) -> pd.DataFrame:
        """People that we began to let in and have not linked, in all or some tenants; columns of `MEMBER_INTENTS`."""
        if not await has_ledger(self.database):
            return frame(MEMBER_INTENTS, [])
        names = None if database_names is None else list(database_names)
        rows = await self.database.fetch_tuples(
            """
            SELECT database_name, clerk_user_id, twenty_user_id::text, email,
                   (extract(epoch FROM begun_at) * 1000)::bigint
            FROM provisioning.member_intent WHERE %s::text[] IS NULL OR database_name = ANY(%s)
            ORDER BY begun_at, database_name, clerk_user_id
            """,
            [names, names],
        )
        return frame(MEMBER_INTENTS, rows)

    async def begin(self, database_name: str, intents: Sequence[MemberIntent], run_id: str) -> None:
        """Write down who is about to be let in, before anything lets them in. Linking them settles it."""
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
            [
                database_name,
                run_id,
                [intent.clerk_user_id for intent in intents],
                [intent.twenty_user_id for intent in intents],
                [intent.email for intent in intents],
            ],
        )

    async def give_up(self, people: Sequence[tuple[str, str]]) -> None:
        """These (database name, Clerk user) did not get in after all."""
        if not people:
            return
        names, users = [list(column) for column in zip(*people, strict=True)]
        await self.database.execute(
            """
            DELETE FROM provisioning.member_intent i USING unnest(%s::text[], %s::text[]) AS gone(name, person)
            WHERE i.database_name = gone.name AND i.clerk_user_id = gone.person
            """,
            [names, users],
        )

    async def user_links(
        self, clerk_user_ids: Sequence[str] | None = None, twenty_user_ids: Sequence[str] = ()
    ) -> pd.DataFrame:
        """User links, all or those of these people on either side; columns of `USER_LINKS`."""
        if not await has_ledger(self.database):
            return frame(USER_LINKS, [])
        clerk = None if clerk_user_ids is None else list(clerk_user_ids)
        rows = await self.database.fetch_tuples(
            """
            SELECT server, clerk_user_id, twenty_user_id::text FROM provisioning.user_link
            WHERE %s::text[] IS NULL OR clerk_user_id = ANY(%s) OR twenty_user_id = ANY(%s::uuid[])
            """,
            [clerk, clerk, list(twenty_user_ids)],
        )
        return frame(USER_LINKS, rows)

    async def of_tenant(self, database_name: str) -> list[Row]:
        """The members of one tenant, each once: clerk_user_id, twenty_user_id, email.

        Those taken over from a hand-made workspace are among them, without a clerk_user_id unless they are linked.
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
        """Who came from a hand-made workspace, in these tenants or in all: database_name, twenty_user_id, email, left.

        With `also_left` those who are members no more are among them.
        """
        if not await has_ledger(self.database):
            return []
        names = None if database_names is None else list(database_names)
        return await self.database.fetch(
            """
            SELECT database_name, twenty_user_id::text AS twenty_user_id, email, left_at IS NOT NULL AS left
            FROM provisioning.taken_over_member
            WHERE (%s::text[] IS NULL OR database_name = ANY(%s)) AND (%s OR left_at IS NULL)
            ORDER BY database_name, twenty_user_id
            """,
            [names, names, also_left],
        )

    async def mark_left(self, people: Sequence[tuple[str, str]]) -> None:
        """These (database name, Twenty user id) came from hand-made workspaces and are members no more."""
        if not people:
            return
        names, users = [list(column) for column in zip(*people, strict=True)]
        await self.database.execute(
            """
            UPDATE provisioning.taken_over_member t SET left_at = now()
            FROM unnest(%s::text[], %s::uuid[]) AS gone(name, person)
            WHERE t.database_name = gone.name AND t.twenty_user_id = gone.person AND t.left_at IS NULL
            """,
            [names, users],
        )

    async def store_taken_over(self, database_name: str, twenty_user_id: str, email: str, run_id: str) -> None:
        """Remember a person who came from the tenant's hand-made workspace; twice is once, with the last e-mail."""
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
        """Remember who these members are, in one transaction. An account that was another member's is theirs now.

        Deciding has made sure that no other active person claims one of these accounts.
        """
        if not links:
            return
        clerk, twenty = [link.clerk_user_id for link in links], [link.twenty_user_id for link in links]
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
                [
                    database_name,
                    run_id,
                    clerk,
                    twenty,
                    [link.email for link in links],
                    [link.first_name for link in links],
                    [link.last_name for link in links],
                ],
            )
            await connection.execute(
                """
                DELETE FROM provisioning.member_intent i
                USING unnest(%s::text[], %s::uuid[], %s::text[]) AS found(c, t, e)
                WHERE i.database_name = %s AND (i.clerk_user_id = c OR i.twenty_user_id = t OR i.email = e)
                """,
                [clerk, twenty, [link.email for link in links], database_name],
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
        if not wanted or not await has_ledger(self.database):
            return set()
        names, emails, roles = [list(column) for column in zip(*wanted, strict=True)]
        rows = await self.database.fetch_tuples(
            """
            SELECT DISTINCT w.name, w.email FROM unnest(%s::text[], %s::text[], %s::text[]) AS w(name, email, role)
            JOIN provisioning.outcome o ON o.database_name = w.name AND o.change = %s AND o.status = 'done'
                AND o.detail = w.email || ' as ' || w.role
            """,
            [names, emails, roles, by],
        )
        return {(name, email) for name, email in rows}

    async def invited(self, by: Change, ended_by: Change, wanted: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these (database name, e-mail) that a run of ours invited, and none uninvited since."""
        if not wanted or not await has_ledger(self.database):
            return set()
        names, emails = [list(column) for column in zip(*wanted, strict=True)]
        rows = await self.database.fetch_tuples(
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
            [names, emails, by, ended_by, by],
        )
        return {(name, email) for name, email in rows}

    async def was_demoted(self, by: Change, database_name: str, email: str) -> bool:
        """Whether a run that we still remember took this person's role `by` this in the tenant's workspace."""
        rows = await self.database.fetch(
            """
            SELECT EXISTS (
                SELECT FROM provisioning.outcome WHERE database_name = %s AND change = %s AND status = 'done'
                    AND starts_with(detail, %s)
            ) AS found
            """,
            [database_name, by, f"{email}: "],
        )
        return bool(rows[0]["found"])

    async def counts(self) -> Row:
        """How many user links and member links there are, and in how many tenants: users, members, tenants."""
        if not await has_ledger(self.database):
            return {"users": 0, "members": 0, "tenants": 0}
        (row,) = await self.database.fetch(
            """
            SELECT (SELECT count(*) FROM provisioning.user_link) AS users, count(*) AS members,
                   count(DISTINCT database_name) AS tenants
            FROM provisioning.member_link
            """
        )
        return row

    async def unsynced(self) -> list[Row]:
        """Tenants some of whose members need a person: slug, reason, message. Not those that are excluded."""
        if not await has_ledger(self.database):
            return []
        return await self.database.fetch(
            """
            SELECT l.slug, c.reason, c.message
            FROM provisioning.condition c JOIN provisioning.tenant_link l USING (database_name)
            WHERE c.type = 'MembersSynced' AND c.status <> 'True' AND NOT EXISTS (
                SELECT 1 FROM provisioning.condition r WHERE r.database_name = c.database_name
                AND r.type = 'Ready' AND r.reason = ANY(%s))
            ORDER BY l.slug
            """,
            [sorted(SET_ASIDE)],
        )

    async def account_of(self, server: str, clerk_user_id: str) -> str | None:
        """The Twenty account that a Clerk user is linked to on this server."""
        rows = await self.database.fetch(
            """
            SELECT twenty_user_id::text AS account FROM provisioning.user_link
            WHERE server = %s AND clerk_user_id = %s
            """,
            [server, clerk_user_id],
        )
        return rows[0]["account"] if rows else None

    async def set_invite_link_opened(self, database_name: str, *, opened: bool) -> None:
        """Write down that the public invite link is open because of us, before it is; or that it no longer is."""
        await self.database.execute(
            "UPDATE provisioning.tenant_link SET invite_link_opened = %s WHERE database_name = %s",
            [opened, database_name],
        )

    async def lend_default_role(self, database_name: str, own: str) -> str:
        """Write down the workspace's own default role before another takes its place; the one that is to come back.

        After a crash that is the one written down then, not the one that was lent.
        """
        rows = await self.database.fetch(
            """
            UPDATE provisioning.tenant_link SET default_role_before = COALESCE(default_role_before, %s)
            WHERE database_name = %s RETURNING default_role_before::text AS own
            """,
            [own, database_name],
        )
        return str(rows[0]["own"])

    async def default_role_is_back(self, database_name: str) -> None:
        """The workspace has its own default role again."""
        await self.database.execute(
            "UPDATE provisioning.tenant_link SET default_role_before = NULL WHERE database_name = %s", [database_name]
        )


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
