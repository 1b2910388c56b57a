"""The life of one tenant, killed at every call and run again: each time the end must be that of an undisturbed life.

Points up to the activation make a workspace each. Those after it share one, which is set back in between: members are
taken out by Twenty's own calls, rows of the wizard are put back by SQL, registry and ledger from a copy. In the same
one it is suspended and comes back, time and again, and then it ends (`ending`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.model.contract import CrashPoint
from provisioning_pipeline.tasks.certify import ending
from provisioning_pipeline.tasks.certify.killed import Cut, cuts_of
from provisioning_pipeline.tasks.certify.tenant import LifeFailed, State, TriedTenant

_ACTIVATION = operations.ACTIVATE_WORKSPACE.name
_REMOVAL = operations.DELETE_USER_FROM_WORKSPACE.name


@dataclass
class Life:
    """One tenant's life on the server on trial.

    Args:
        tenant: whose life it is.
        expected: told how many crash points there will be, at first by estimate; for a progress bar.
        total: how many there are; None: not known yet.
    """

    tenant: TriedTenant
    expected: Callable[[int], None]
    total: int | None = None

    async def crash_points(self) -> AsyncIterator[CrashPoint]:
        """Try every point, one after the other.

        Raises:
            LifeFailed: when an uncut life does not come to a good end.
            NoPlace: when the server has no place for the tenant.
        """
        slug, whole = await self.tenant.begin(), await self.tenant.uncut()
        ready = await self.tenant.state(slug)
        await self.tenant.end(slug)
        making, rest = _split(cuts_of(whole.calls))
        last_of_making = making.pop()
        self.expected(len(making) + 1 + len(rest))
        for cut in making:
            begun = time.monotonic()
            slug = await self.tenant.begin()
            yield await self.tenant.tried(slug, cut, ready, begun)
            await self.tenant.end(slug)

        begun = time.monotonic()
        slug = await self.tenant.begin()
        killed = await self.tenant.ran(slug, last_of_making)
        workspace = await self.tenant.keep(slug)
        again = await self.tenant.ran(slug)
        yield await self.tenant.compared(str(last_of_making), slug, killed, again, ready, begun)

        following = _split(cuts_of(again.calls))[1]
        # looked at before the points that follow, so that a certification that is stopped can say how many there were
        await self.tenant.set_back(workspace)
        await self.tenant.uncut(slug)
        suspended = await ending.suspend_and_resume(self.tenant, slug, workspace)
        leaving, left = await self._leaving(slug)
        self.total = len(making) + 1 + len(following) + len(leaving) + suspended.points + ending.DELETIONS
        self.expected(self.total)
        for cut in following:
            begun = time.monotonic()
            await self.tenant.set_back(workspace)
            yield await self.tenant.tried(slug, cut, ready, begun)
        for cut in leaving:
            begun = time.monotonic()
            await self.tenant.set_back(workspace)
            await self.tenant.uncut(slug)
            await asyncio.to_thread(self.tenant.bench.leave, self.tenant.people[1].email)
            yield await self.tenant.tried(slug, cut, left, begun)

        await self.tenant.set_back(workspace)
        await self.tenant.uncut(slug)
        async for point in ending.suspensions(self.tenant, slug, workspace, suspended):
            yield point
        yield await ending.deletion(self.tenant, slug)

    async def _leaving(self, slug: str) -> tuple[list[Cut], State]:
        """Where a run can be cut in which a member leaves, and to what such a run comes when it is not."""
        await asyncio.to_thread(self.tenant.bench.leave, self.tenant.people[1].email)
        ran = await self.tenant.uncut(slug)
        state = await self.tenant.state(slug)
        if len(state["members"]) != 2:
            raise LifeFailed(f"a member who left the organization was not removed: {state['members']}")
        cuts = cuts_of(ran.calls)
        first = next((n for n, cut in enumerate(cuts) if cut.call.name == _REMOVAL), len(cuts))
        # what comes before the removal only reads and signs in
        return cuts[first:], state


def _split(cuts: Iterable[Cut]) -> tuple[list[Cut], list[Cut]]:
    """Those up to the activation, and those after it; of a run without an activation, none and all."""
    every = list(cuts)
    last = max((n for n, cut in enumerate(every) if cut.call.name == _ACTIVATION), default=-1)
    return every[: last + 1], every[last + 1 :]
