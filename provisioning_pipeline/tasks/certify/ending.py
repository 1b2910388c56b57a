"""The later life of a tenant: suspended, locked, back, and at last deleted, killed on the way.

Locks and their ends need no other workspace, so they follow one another. At these we cut by sample: a deletion takes a
workspace each time, and there are two of them, one of them killed several times.
"""

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.model.contract import CrashPoint
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.tasks.certify.keys import make_key
from provisioning_pipeline.tasks.certify.killed import WRITES, Call, Cut, cuts_of
from provisioning_pipeline.tasks.certify.tenant import LifeFailed, State, TriedTenant
from provisioning_pipeline.tasks.certify.trial import Blocked

DELETIONS: Final = 1
"""Crash points that `deletion` is."""
_SUSPENDED: Final = "suspended"
_GONE: Final = "deleted"


@dataclass(frozen=True, slots=True)
class Suspended:
    """Where runs are cut that lock a workspace and that unlock it, and to what such runs come when they are not.

    Args:
        status: what the registry says of a tenant that is not suspended.
    """

    locking: tuple[Cut, ...]
    unlocking: tuple[Cut, ...]
    locked: State
    back: State
    status: str

    @property
    def points(self) -> int:
        """How many there are."""
        return len(self.locking) + len(self.unlocking)


async def suspend_and_resume(tenant: TriedTenant, slug: str, workspace: WorkspaceAddress) -> Suspended:
    """Lock a workspace that is ready, with an API key in it, and unlock it, undisturbed.

    Raises:
        LifeFailed: when it does not end locked, or is not afterwards as it was before.
    """
    try:
        await make_key(tenant.trial, await tenant.trial.place(workspace))
    except Blocked as blocked:
        raise LifeFailed(str(blocked)) from None
    tenant.has_key = True
    await _remember_records(tenant, workspace)
    before = await tenant.state(slug)
    status = before["registry"][1]
    await tenant.become(_SUSPENDED)
    lock = await tenant.uncut(slug)
    locked = await tenant.state(slug)
    if locked["locks"] != [{"proved": True, "ends": False}]:
        raise LifeFailed(f"a suspended tenant was not locked: {locked['locks']}")
    await tenant.become(status)
    unlock = await tenant.uncut(slug)
    back = await tenant.state(slug)
    unlike = [f"{name}: {back[name]}, before {before[name]}" for name in before if back[name] != before[name]]
    if unlike:
        raise LifeFailed(f"after a lock the workspace is not as it was: {'; '.join(unlike)}")
    tenant.records = None
    return Suspended(sampled(lock.calls), sampled(unlock.calls), locked, back, status)


async def suspensions(
    tenant: TriedTenant, slug: str, workspace: WorkspaceAddress, suspended: Suspended
) -> AsyncIterator[CrashPoint]:
    """Suspend a tenant that is ready and take it back, time and again, each run killed at another point."""
    await _remember_records(tenant, workspace)
    for lock, unlock in zip_longest(suspended.locking, suspended.unlocking):
        for cut, status, expected in (
            (lock, _SUSPENDED, suspended.locked),
            (unlock, suspended.status, suspended.back),
        ):
            begun = time.monotonic()
            await tenant.become(status)
            if cut is None:
                await tenant.uncut(slug)
            else:
                yield await tenant.tried(slug, cut, expected, begun)
    tenant.records = None


async def deletion(tenant: TriedTenant, slug: str) -> CrashPoint:
    """Delete the workspace of a ready tenant undisturbed; then another, whose deletion is killed time and again.

    Raises:
        LifeFailed: when the undisturbed one does not end with a workspace that is deleted.
    """
    await _archive(tenant, slug)
    whole = await tenant.uncut(slug, Order.DELETE)
    gone = await tenant.state(slug)
    if gone["workspaces"] or not all(gone["offboarding"][0].values()):
        raise LifeFailed(f"a workspace that was to be deleted is not: {gone['workspaces']}, {gone['offboarding']}")

    begun = time.monotonic()
    slug = await tenant.begin()
    await tenant.uncut(slug)
    await _archive(tenant, slug)
    cuts = [Cut(calls[0], "after") for calls in _by_name(whole.calls)]
    killed = [await tenant.ran(slug, cut, Order.DELETE) for cut in cuts]
    # what was begun goes on without being asked for
    again = await tenant.ran(slug)
    moment = ", then ".join(str(cut) for cut in cuts)
    first_missed = next((ran for ran in killed if not ran.killed), killed[-1])
    return await tenant.compared(moment, slug, first_missed, again, gone, begun)


async def _archive(tenant: TriedTenant, slug: str) -> None:
    await tenant.become(_GONE)
    await tenant.uncut(slug, Order.ARCHIVE)
    archived = await tenant.state(slug)
    if not archived["workspaces"] or archived["locks"] != [{"proved": True, "ends": False}]:
        raise LifeFailed(f"a workspace that was to be archived is not: {archived['workspaces']}, {archived['locks']}")


async def _remember_records(tenant: TriedTenant, workspace: WorkspaceAddress) -> None:
    roster = await tenant.trial.database.records.roster(workspace.workspace_id)
    tenant.records = {record.user_id: record.id for record in roster.records}


def sampled(calls: Sequence[Call]) -> tuple[Cut, ...]:
    """Where to cut such a run by sample: after the middle one of all writes of a name, and at the last cut of all."""
    middle = [Cut(of_one[(len(of_one) - 1) // 2], "after") for of_one in _by_name(calls)]
    return tuple(dict.fromkeys([*middle, *cuts_of(calls)[-1:]]))


def _by_name(calls: Iterable[Call]) -> list[list[Call]]:
    """The writes among these calls, those of a name together, in their order."""
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.effect in WRITES:
            found.setdefault(call.name, []).append(call)
    return list(found.values())
