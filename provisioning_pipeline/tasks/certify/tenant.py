"""One tenant on the server on trial, with registry, ledger and Clerk of its own, and what it came to."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString, Protocol

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.model.contract import CrashPoint
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.tasks.certify.clean import delete_workspace
from provisioning_pipeline.tasks.certify.killed import Cut, Ran, run
from provisioning_pipeline.tasks.certify.trial import DISPLAY_NAME, Trial, Unseen, email, subdomain

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """A person in the organization of the tenant."""

    email: str
    first_name: str
    last_name: str
    admin: bool


class Bench(Protocol):
    """Where a tenant's life is tried: registry, ledger, tenant database and Clerk to throw away, on this machine.

    The command line hands in one: only it may use the sandbox. Each method returns once its effect is there.
    """

    def settings(self, *, members_gone: str) -> Settings:
        """Settings that lead to these systems and to the server on trial alone; everything else as by default."""

    def begin(self, slug: str, name: str, people: tuple[Person, ...]) -> None:
        """One new tenant with its organization, and an empty ledger: nothing is left of what was before."""

    def save(self) -> None:
        """Remember registry, ledger and organization as they are now."""

    def restore(self) -> None:
        """Put back what was remembered."""

    def leave(self, email: str) -> None:
        """A person leaves the organization."""

    def become(self, status: str) -> None:
        """The registry has this status of the tenant from now on."""

    def workspace_at_clerk(self) -> str | None:
        """The workspace id in the organization's public metadata."""


class LifeFailed(Exception):
    """Not even an undisturbed run comes to a good end; the text says what it came to."""


@dataclass
class TriedTenant:
    """One tenant after the other, of the same people.

    Args:
        trial: the server; its service account takes people out again in between.
        bench: everything around it.
        records: user id → id of the member record, of those who must have the same again; None: any will do.
        has_key: an API key was made in the workspace, and counts.
    """

    trial: Trial
    bench: Bench
    records: Mapping[str | None, str] | None = None
    has_key: bool = False
    _flags: tuple[Row, ...] = ()
    _lives: int = 0

    @property
    def people(self) -> tuple[Person, ...]:
        """Who is in the organization: an admin and a member."""
        run_mark = self.trial.run
        return (
            Person(email(run_mark, "admin"), "Ada", "Certified", admin=True),
            Person(email(run_mark, "member"), "Max", "Certified", admin=False),
        )

    # --- one point

    async def tried(self, slug: str, cut: Cut, expected: State, begun: float) -> CrashPoint:
        """Kill a run there, run again, and see what it came to."""
        killed, again = await self.ran(slug, cut), await self.ran(slug)
        return await self.compared(str(cut), slug, killed, again, expected, begun)

    async def compared(
        self, moment: str, slug: str, killed: Ran, again: Ran, expected: State, begun: float
    ) -> CrashPoint:
        """What it came to, beside what it comes to uncut."""
        if not killed.killed:
            seen = f"the run did not come to that point: {killed.trouble or 'it went through'}"
            return CrashPoint(moment, converges=False, seen=seen, seconds=time.monotonic() - begun)
        found = await self.state(slug)
        unlike = [
            f"{name}: {found[name]}, uncut {expected[name]}" for name in expected if found[name] != expected[name]
        ]
        if again.trouble:
            unlike.insert(0, f"the next run ended with {again.trouble}")
        return CrashPoint(moment, not unlike, "; ".join(unlike) or "as uncut", time.monotonic() - begun)

    async def uncut(self, slug: str = "", order: Order | None = None) -> Ran:
        """An undisturbed run.

        Raises:
            LifeFailed: when it does not come to a good end.
        """
        ran = await self.ran(slug or self.slug, order=order)
        if ran.trouble:
            raise LifeFailed(f"an undisturbed run ended with {ran.trouble}")
        return ran

    async def ran(self, slug: str, cut: Cut | None = None, order: Order | None = None) -> Ran:
        """A run, killed at `cut` where one is given.

        Raises:
            NoPlace: when the server has no place for the tenant.
        """
        ran = await run(self.bench.settings(members_gone="remove"), slug, cut, order)
        if ran.full:
            await self.trial.must_have_places()
        return ran

    # --- the tenant and its workspace

    @property
    def slug(self) -> str:
        """The slug of the present tenant."""
        return subdomain(self.trial.run, f"t{self._lives}")

    async def begin(self) -> str:
        """A new tenant; its slug."""
        self._lives += 1
        await asyncio.to_thread(self.bench.begin, self.slug, DISPLAY_NAME, self.people)
        return self.slug

    async def end(self, slug: str) -> None:
        """Throw its workspace away."""
        for row in await self._workspaces(slug):
            await delete_workspace(self.trial, row["id"])

    async def _workspaces(self, slug: str) -> list[Row]:
        return await self.trial.ask(
            'SELECT id::text AS id, "activationStatus"::text AS status FROM core.workspace '
            'WHERE "deletedAt" IS NULL AND starts_with(subdomain, %s) ORDER BY "createdAt", id',
            slug,
        )

    async def keep(self, slug: str) -> WorkspaceAddress:
        """Remember how the tenant is now, for `set_back`; its workspace.

        Raises:
            LifeFailed: when it has none, or several.
        """
        await asyncio.to_thread(self.bench.save)
        rows = await self._workspaces(slug)
        if len(rows) != 1:
            raise LifeFailed(f"there are {len(rows)} workspaces of {slug}")
        self._flags = tuple(await self._onboarding(rows[0]["id"]))
        return await self.trial.client.address(rows[0]["id"])

    async def become(self, status: str) -> None:
        """The registry says this of the tenant from now on."""
        await asyncio.to_thread(self.bench.become, status)

    async def _onboarding(self, workspace_id: str) -> list[Row]:
        return await self.trial.ask(
            'SELECT key, "userId"::text AS user_id FROM core."keyValuePair" '
            "WHERE \"workspaceId\" = %s AND key LIKE 'ONBOARDING%%PENDING' AND value = 'true'::jsonb",
            workspace_id,
        )

    async def set_back(self, workspace: WorkspaceAddress) -> None:
        """The workspace as it was when it had just been activated, registry and ledger with it."""
        roster = await self.trial.database.records.roster(workspace.workspace_id)
        for entry in roster.members:
            if entry.email != self.trial.service.email and entry.workspace_member_id:
                await self.trial.client.remove_member(workspace, entry.workspace_member_id)
        # without the right to write, steps that are cleared already stay so, and those points are not come to
        with suppress(Unseen):
            await self.trial.write(
                'DELETE FROM core."keyValuePair" WHERE "workspaceId" = %s AND key LIKE \'ONBOARDING%%\'',
                workspace.workspace_id,
            )
            for row in self._flags:
                await self.trial.set_flag(row["key"], row["user_id"], workspace.workspace_id)
        await asyncio.to_thread(self.bench.restore)

    # --- what it came to

    async def state(self, slug: str) -> State:
        """Everything that counts, in a form that is the same for the same end."""
        found = await self._workspaces(slug)
        members: list[Any] = []
        pending: list[Any] = []
        more: State = {}
        for row in found:
            roster = await self.trial.database.records.roster(row["id"])
            names = {entry.user_id: entry.email for entry in roster.members}
            members += [
                (entry.email, entry.role, entry.first_name, entry.last_name, entry.workspace_member_id is not None)
                for entry in roster.members
            ]
            members += [
                ("record without a membership", record.email)
                for record in roster.records
                if record.user_id not in names
            ]
            pending += [
                (flag["key"], names.get(flag["user_id"], "the workspace"))
                for flag in await self._onboarding(row["id"])
                if flag["user_id"] is None or flag["user_id"] in names
            ]
            if self.records is not None:
                same = {record.user_id: record.id for record in roster.records} == self.records
                more["member records"] = "those of before" if same else "others than before"
            if self.has_key:
                more["API keys"] = await self._keys(row["id"])
        accounts = await self.trial.ask(
            'SELECT email::text AS email FROM core."user" WHERE "deletedAt" IS NULL AND email::text = ANY(%s)',
            [person.email for person in self.people],
        )
        invitations = await self.trial.ask(
            """
            SELECT count(*) AS n FROM core."appToken"
            WHERE type::text IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN') AND "workspaceId"::text = ANY(%s)
            """,
            [row["id"] for row in found],
        )
        ids = {row["id"]: number for number, row in enumerate(found)}
        at_clerk = await asyncio.to_thread(self.bench.workspace_at_clerk)
        return {
            "workspaces": [row["status"] for row in found],
            "members": sorted(members, key=str),
            "pending": sorted(pending),
            "accounts": sorted(row["email"] for row in accounts),
            "invitations": invitations[0]["n"],
            "workspace at Clerk": ids.get(at_clerk or "", at_clerk),
            "doors": [await self._doors(row["id"]) for row in found],
            **more,
            **await self._recorded(ids),
        }

    async def _doors(self, workspace_id: str) -> tuple[Any, ...]:
        """What there is by which people come in: whether the invite link is on, the default role, and all roles."""
        ((link, default),) = await _rows(
            self.trial.reads,
            'SELECT w."isPublicInviteLinkEnabled", r.label FROM core.workspace w '
            'LEFT JOIN core.role r ON r.id = w."defaultRoleId" WHERE w.id = %s',
            workspace_id,
        )
        roles = await _rows(
            self.trial.reads, 'SELECT label FROM core.role WHERE "workspaceId" = %s ORDER BY 1', workspace_id
        )
        return link, default, [label for (label,) in roles]

    async def _keys(self, workspace_id: str) -> list[Any]:
        return await _rows(
            self.trial.reads,
            "SELECT name, CASE WHEN \"revokedAt\" IS NULL THEN 'works' ELSE 'revoked' END "
            'FROM core."apiKey" WHERE "workspaceId" = %s ORDER BY 1',
            workspace_id,
        )

    async def _recorded(self, ids: dict[str, int]) -> State:
        """What registry and ledger say; workspaces by their number."""
        settings = self.bench.settings(members_gone="remove")
        async with ledger_database(settings, read_only=True) as database:
            ((link, admin, ready),) = await _rows(
                database, "SELECT workspace_id::text, admin_email, ready FROM provisioning.tenant_link"
            )
            ((registered, status),) = await _rows(
                database, "SELECT twenty_workspace_id::text, status FROM public.tenant_registry"
            )
            linked = await _rows(database, "SELECT email FROM provisioning.member_link ORDER BY 1")
            locks = await database.fetch(
                "SELECT locked_at IS NOT NULL AS proved, release_begun_at IS NOT NULL AS ends "
                "FROM provisioning.access_lock WHERE released_at IS NULL"
            )
            stages = await database.fetch(
                """
                SELECT archived_at IS NOT NULL AS archived, exported_at IS NOT NULL AS exported,
                       members_removed_at IS NOT NULL AS emptied, workspace_deleted_at IS NOT NULL AS deleted,
                       organization_cleared_at IS NOT NULL AS cleared, gone_at IS NOT NULL AS gone
                FROM provisioning.offboarding
                """
            )
            ((intents,),) = await _rows(database, "SELECT count(*) FROM provisioning.intent WHERE settled_at IS NULL")
        return {
            "link": (ids.get(link, link), admin, ready),
            "registry": (ids.get(registered, registered), status),
            "linked members": [email for (email,) in linked],
            "open intents": intents,
            "locks": [dict(row) for row in locks],
            "offboarding": [dict(row) for row in stages],
        }


async def _rows(database: Database, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in await database.fetch(query, parameters)]
