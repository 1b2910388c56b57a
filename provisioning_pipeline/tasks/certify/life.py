"""The life of one tenant, killed at every call and run again: each time the end must be that of an undisturbed life.

Points up to the activation make a workspace each. Those after it share one, which is set back in between: members are
taken out by Twenty's own calls, rows of the wizard are put back by SQL, registry and ledger from a copy.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString, Protocol

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.model.contract import CrashPoint
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.tasks.certify.clean import delete_workspace
from provisioning_pipeline.tasks.certify.killed import Call, Cut, Ran, run
from provisioning_pipeline.tasks.certify.trial import DISPLAY_NAME, Trial, Unseen, email, subdomain

_ACTIVATION = operations.ACTIVATE_WORKSPACE.name
_CREATION = operations.SIGN_UP_IN_NEW_WORKSPACE.name
_REMOVAL = operations.DELETE_USER_FROM_WORKSPACE.name
_WRITES = frozenset({Effect.WRITE, Effect.CREATE})
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

    def workspace_at_clerk(self) -> str | None:
        """The workspace id in the organization's public metadata."""


class LifeFailed(Exception):
    """Not even an undisturbed run comes to a good end; the text says what it came to."""


@dataclass
class Life:
    """One tenant's life on the server on trial.

    Args:
        trial: the server; its service account takes people out again in between.
        bench: everything around it.
        expected: told how many crash points there will be, at first by estimate; for a progress bar.
        total: how many there are; None: not known yet.
    """

    trial: Trial
    bench: Bench
    expected: Callable[[int], None]
    total: int | None = None
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

    async def crash_points(self) -> AsyncIterator[CrashPoint]:
        """Try every point, one after the other.

        Raises:
            LifeFailed: when an uncut life does not come to a good end.
            NoPlace: when the server has no place for the tenant.
        """
        slug, whole = await self._begin(), await self._uncut()
        ready = await self._state(slug)
        await self._end(slug)
        making, rest = _split(cuts_of(whole.calls))
        last_of_making = making.pop()
        self.expected(len(making) + 1 + len(rest))
        for cut in making:
            begun = time.monotonic()
            slug = await self._begin()
            yield await self._tried(slug, cut, ready, begun)
            await self._end(slug)

        begun = time.monotonic()
        slug = await self._begin()
        killed = await self._ran(slug, last_of_making)
        await asyncio.to_thread(self.bench.save)
        workspace = await self._workspace(slug)
        self._flags = tuple(await self._onboarding(workspace.workspace_id))
        again = await self._ran(slug)
        yield await self._compared(last_of_making, slug, killed, again, ready, begun)

        following = _split(cuts_of(again.calls))[1]
        # looked at before the points that follow, so that a certification that is stopped can say how many there were
        leaving, left = await self._leaving(slug, workspace)
        self.total = len(making) + 1 + len(following) + len(leaving)
        self.expected(self.total)
        for cut in following:
            begun = time.monotonic()
            await self._set_back(workspace)
            yield await self._tried(slug, cut, ready, begun)
        for cut in leaving:
            begun = time.monotonic()
            await self._set_back(workspace)
            await self._uncut(slug)
            await asyncio.to_thread(self.bench.leave, self.people[1].email)
            yield await self._tried(slug, cut, left, begun)

    async def _leaving(self, slug: str, workspace: WorkspaceAddress) -> tuple[list[Cut], State]:
        """Where a run can be cut in which a member leaves, and to what such a run comes when it is not."""
        await self._set_back(workspace)
        await self._uncut(slug)
        await asyncio.to_thread(self.bench.leave, self.people[1].email)
        ran = await self._uncut(slug)
        state = await self._state(slug)
        if len(state["members"]) != 2:
            raise LifeFailed(f"a member who left the organization was not removed: {state['members']}")
        cuts = cuts_of(ran.calls)
        first = next((n for n, cut in enumerate(cuts) if cut.call.name == _REMOVAL), len(cuts))
        # what comes before the removal only reads and signs in
        return cuts[first:], state

    # --- one point

    async def _tried(self, slug: str, cut: Cut, expected: State, begun: float) -> CrashPoint:
        killed, again = await self._ran(slug, cut), await self._ran(slug)
        return await self._compared(cut, slug, killed, again, expected, begun)

    async def _compared(
        self, cut: Cut, slug: str, killed: Ran, again: Ran, expected: State, begun: float
    ) -> CrashPoint:
        if not killed.killed:
            seen = f"the run did not come to that point: {killed.trouble or 'it went through'}"
            return CrashPoint(str(cut), converges=False, seen=seen, seconds=time.monotonic() - begun)
        found = await self._state(slug)
        unlike = [
            f"{name}: {found[name]}, uncut {expected[name]}" for name in expected if found[name] != expected[name]
        ]
        if again.trouble:
            unlike.insert(0, f"the next run ended with {again.trouble}")
        return CrashPoint(str(cut), not unlike, "; ".join(unlike) or "as uncut", time.monotonic() - begun)

    async def _uncut(self, slug: str = "") -> Ran:
        ran = await self._ran(slug or self._slug)
        if ran.trouble:
            raise LifeFailed(f"an undisturbed run ended with {ran.trouble}")
        return ran

    async def _ran(self, slug: str, cut: Cut | None = None) -> Ran:
        ran = await run(self.bench.settings(members_gone="remove"), slug, cut)
        if ran.full:
            await self.trial.must_have_places()
        return ran

    # --- the tenant and its workspace

    @property
    def _slug(self) -> str:
        return subdomain(self.trial.run, f"t{self._lives}")

    async def _begin(self) -> str:
        self._lives += 1
        await asyncio.to_thread(self.bench.begin, self._slug, DISPLAY_NAME, self.people)
        return self._slug

    async def _end(self, slug: str) -> None:
        for row in await self._workspaces(slug):
            await delete_workspace(self.trial, row["id"])

    async def _workspaces(self, slug: str) -> list[Row]:
        return await self.trial.ask(
            'SELECT id::text AS id, "activationStatus"::text AS status FROM core.workspace '
            'WHERE "deletedAt" IS NULL AND starts_with(subdomain, %s) ORDER BY "createdAt", id',
            slug,
        )

    async def _workspace(self, slug: str) -> WorkspaceAddress:
        rows = await self._workspaces(slug)
        if len(rows) != 1:
            raise LifeFailed(f"there are {len(rows)} workspaces of {slug}")
        return await self.trial.client.address(rows[0]["id"])

    async def _onboarding(self, workspace_id: str) -> list[Row]:
        return await self.trial.ask(
            'SELECT key, "userId"::text AS user_id FROM core."keyValuePair" '
            "WHERE \"workspaceId\" = %s AND key LIKE 'ONBOARDING%%PENDING' AND value = 'true'::jsonb",
            workspace_id,
        )

    async def _set_back(self, workspace: WorkspaceAddress) -> None:
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

    async def _state(self, slug: str) -> State:
        """Everything that counts, in a form that is the same for the same end."""
        found = await self._workspaces(slug)
        members: list[Any] = []
        pending: list[Any] = []
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
            **await self._recorded(ids),
        }

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
            ((intents,),) = await _rows(database, "SELECT count(*) FROM provisioning.intent WHERE settled_at IS NULL")
        return {
            "link": (ids.get(link, link), admin, ready),
            "registry": (ids.get(registered, registered), status),
            "linked members": [email for (email,) in linked],
            "open intents": intents,
        }


async def _rows(database: Database, query: LiteralString) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in await database.fetch(query)]


def cuts_of(calls: Sequence[Call]) -> list[Cut]:
    """Where to cut a run that makes these calls: before and after each that changes something.

    A call that changes nothing leaves the same behind whether it was made or not, so a row of such calls is cut once,
    where it begins; those before the first write not at all, since nothing was done yet. The exchange of a login token
    may use that up, so it is cut after it.
    """
    cuts: list[Cut] = []
    after_a_write = False
    for call in calls:
        if call.effect in _WRITES:
            cuts += [Cut(call, "before"), Cut(call, "after")]
        elif call.effect is Effect.EXCHANGE:
            cuts.append(Cut(call, "after"))
        elif after_a_write:
            cuts.append(Cut(call, "before"))
        after_a_write = call.effect in _WRITES
    return cuts


def _split(cuts: Iterable[Cut]) -> tuple[list[Cut], list[Cut]]:
    """Those up to the activation, and those after it; of a run without an activation, none and all."""
    every = list(cuts)
    last = max((n for n, cut in enumerate(every) if cut.call.name == _ACTIVATION), default=-1)
    return every[: last + 1], every[last + 1 :]
