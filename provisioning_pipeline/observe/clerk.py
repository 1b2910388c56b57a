"""Clerk: the members of tenants' organizations. Asked only for tenants that need an admin."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Membership, User
from provisioning_pipeline.model.tenant import AdminUnknown

_AT_ONCE = 8


@dataclass(frozen=True)
class ClerkSnapshot:
    """Organizations at one time.

    Args:
        holders: organization id → holders of the admin role, or why they could not be read.
        users: the users among them, by id.
    """

    holders: Mapping[str, tuple[Membership, ...] | AdminUnknown] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)


async def organization_admins(clerk: ClerkClient, organizations: Sequence[str], admin_role: str) -> ClerkSnapshot:
    """Read the holders of `admin_role`. One organization's trouble is never another's.

    Raises:
        Fault: of kind SERVER, when Clerk refuses the key or is not Clerk at all.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def holders(organization: str) -> tuple[Membership, ...] | AdminUnknown:
        async with gate:
            return await _holders(clerk, organization, admin_role)

    read = await all_of(holders(organization) for organization in organizations)
    held = dict(zip(organizations, read, strict=True))
    wanted = sorted({member.user_id for members in read if isinstance(members, tuple) for member in members})
    try:
        return ClerkSnapshot(held, await clerk.users(wanted))
    except Fault as fault:
        if fault.kind is FaultKind.SERVER:
            raise
        unreadable = AdminUnknown(fault.reason, fault.message)
        return ClerkSnapshot(
            {
                organization: unreadable if isinstance(members, tuple) and members else members
                for organization, members in held.items()
            }
        )


async def _holders(clerk: ClerkClient, organization: str, admin_role: str) -> tuple[Membership, ...] | AdminUnknown:
    try:
        members, complete = await clerk.memberships(organization)
    except Fault as fault:
        if fault.kind is FaultKind.SERVER:
            raise
        return AdminUnknown(fault.reason, fault.message)
    held = tuple(member for member in members if member.role == admin_role)
    if not held and not complete:
        return AdminUnknown(
            Reason.CLERK_UNREACHABLE,
            f"Clerk's member list of {organization} could not be proved whole; the next run reads it again.",
        )
    return held
