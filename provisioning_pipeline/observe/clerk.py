"""Clerk: organizations, their members, and users; of the whole instance or of named organizations."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.clerk.walk import Walk
from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.frames import (
    CLERK_USERS,
    MEMBERSHIPS,
    ORGANIZATIONS,
    ClerkSnapshot,
    frame,
    frame_with_shared_values,
)
from provisioning_pipeline.model.people import Departure

_AT_ONCE = 8
S = TypeVar("S")
T = TypeVar("T")


async def whole_instance(clerk: ClerkClient) -> ClerkSnapshot:
    """Every organization, membership and user.

    Raises:
        Fault: of kind SERVER, when Clerk refuses the key or is not Clerk at all.
    """
    try:
        organizations, memberships, users = await all_of([clerk.organizations(), clerk.memberships(), clerk.users()])
    except Fault as fault:
        return _nothing(fault, asked=None)
    doubts = [organizations.doubt, memberships.doubt, users.doubt]
    for name, walk in (("organization", organizations), ("membership", memberships)):
        if not walk.rows:
            doubts.append(f"Clerk answers without a single {name}, which removes no one.")
    return ClerkSnapshot(
        frame(ORGANIZATIONS, organizations.rows),
        frame_with_shared_values(MEMBERSHIPS, memberships.rows),
        frame(CLERK_USERS, users.rows),
        asked=None,
        doubt=_together(doubts),
    )


async def some_organizations(
    clerk: ClerkClient, organization_ids: Iterable[str], slugs: Iterable[str] = ()
) -> ClerkSnapshot:
    """These organizations and those with these slugs, their members, and the users among them.

    A failure of one never affects another.

    Raises:
        Fault: of kind SERVER, when Clerk refuses the key or is not Clerk at all.
    """
    asked = sorted(set(organization_ids))
    try:
        proposed = await _few_at_once(clerk.organization_by_slug, sorted(set(slugs)))
        asked = sorted({*asked, *(str(row[0]) for row in proposed if row)})
        read, organizations = await both(_few_at_once(partial(_members, clerk), asked), clerk.some_organizations(asked))
        walks = [found for found in read if isinstance(found, Walk)]
        rows = [row for walk in walks for row in walk.rows]
        users = await clerk.some_users(sorted({user_id for _, user_id, *_ in rows}))
    except Fault as fault:
        return _nothing(fault, asked=frozenset(asked))
    return ClerkSnapshot(
        frame(ORGANIZATIONS, organizations.rows),
        frame(MEMBERSHIPS, rows),
        frame(CLERK_USERS, users.rows),
        asked=frozenset(asked),
        unread={
            organization: found for organization, found in zip(asked, read, strict=True) if isinstance(found, Fault)
        },
        doubt=_together([organizations.doubt, *(walk.doubt for walk in walks), users.doubt]),
    )


async def departures(clerk: ClerkClient, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Departure]:
    """The second witness: which of these (organization id, user id) are gone, by a member check of each.

    A pair is missing when that member is still there, and also when Clerk could not be asked.

    Raises:
        Fault: of kind SERVER, when Clerk refuses the key or is not Clerk at all.
    """

    async def check(pair: tuple[str, str]) -> Departure | bool | None:
        try:
            return await clerk.standing(*pair)
        except Fault as fault:
            if fault.kind is FaultKind.SERVER:
                raise
            return None

    wanted = list(dict.fromkeys(pairs))
    seen = await _few_at_once(check, wanted)
    return {pair: found for pair, found in zip(wanted, seen, strict=True) if isinstance(found, Departure)}


async def _members(clerk: ClerkClient, organization_id: str) -> Walk | Fault:
    try:
        return await clerk.organization_memberships(organization_id)
    except Fault as fault:
        if fault.kind is FaultKind.SERVER:
            raise
        return fault


async def _few_at_once(ask: Callable[[S], Awaitable[T]], about: Iterable[S]) -> list[T]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def gated(one: S) -> T:
        async with gate:
            return await ask(one)

    return await all_of(gated(one) for one in about)


def _nothing(fault: Fault, asked: frozenset[str] | None) -> ClerkSnapshot:
    if fault.kind is FaultKind.SERVER:
        raise fault
    return ClerkSnapshot(
        frame(ORGANIZATIONS, ()),
        frame(MEMBERSHIPS, ()),
        frame(CLERK_USERS, ()),
        asked=asked,
        fault=fault,
        doubt=fault.message,
    )


def _together(doubts: Iterable[str | None]) -> str | None:
    return " ".join(filter(None, doubts)) or None
