"""The API calls of a backfill and nothing else: no ledger, no SQL, no locks, no retries, no decisions.

Left out on purpose are the contract probes, and the reads of Twenty's database from which the pipeline knows who is
there: here whoever calls knows it. They belong to the pipeline's cost.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.calls import Clerk, Person, Twenty
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.settings import Settings


@dataclass(frozen=True)
class Place:
    """A workspace that is ready, with its admin and nobody else."""

    organization: str
    workspace_id: str
    origin: str
    admin_email: str


async def backfill(settings: Settings, places: Sequence[Place]) -> None:
    """Send every call that makes everybody at Clerk a member of their organization's workspace."""
    async with Clerk(settings) as clerk, Twenty(settings) as twenty:
        people = await clerk.people()
        await twenty.sign_in()
        gate = asyncio.Semaphore(settings.tenant_concurrency)

        async def one(place: Place) -> None:
            missing = [person for person in people[place.organization] if person.email != place.admin_email]
            async with gate:
                await _fill(twenty, place, missing)

        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(one(place))


async def _fill(twenty: Twenty, place: Place, missing: Sequence[Person]) -> None:
    service = await twenty.log_in(twenty.service, place.origin)
    workspace = await twenty.call(operations.CURRENT_WORKSPACE, {}, service)
    tokens = await twenty.add_members(missing, service, workspace["inviteHash"], place.origin)
    # the admin's login is proved anew, the others' is the one that they joined with
    admin = await twenty.log_in(twenty.account(place.admin_email), place.origin)
    await asyncio.gather(*(twenty.must_be_completed(token, place.workspace_id) for token in (admin, *tokens)))
