"""The workspace's invite link while people join by it, and a new one once it may be in the wrong hands."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from provisioning_pipeline.clients.twenty.accounts import Door
from provisioning_pipeline.steps.members.changes import CLOSE_INVITE_LINK, RENEW_INVITE_LINK
from provisioning_pipeline.steps.scope import Scope


@asynccontextmanager
async def opened(scope: Scope, door: Door) -> AsyncIterator[str]:
    """What lets people join meanwhile. A link that is off is on for that moment alone, and another one in it and after.

    Whoever kept the link of a workspace that has it off gets in neither then nor later. That it is on because of us is
    written down first, so that a crash leaves it on for no longer than until the next run.
    """
    links = scope.client.invite_links
    link = await links.read(door)
    if link.enabled:
        shared = await scope.server.database.shares_invite_link(door.workspace_id)
        yield (await renew(scope, door, "another workspace has the same one") if shared else None) or link.hash
        return
    await scope.members.set_invite_link_opened(scope.database_name, opened=True)
    invite_hash = await links.renew(door) if await links.can_be_renewed() else link.hash
    await links.turn_on(door)
    try:
        yield invite_hash
    finally:
        await close(scope, door)


async def close(scope: Scope, door: Door) -> None:
    """Turn the invite link off again, renew it, and forget that it was on because of us."""
    async with scope.change(CLOSE_INVITE_LINK, door.workspace_id):
        await scope.client.invite_links.turn_off(door)
    await renew(scope, door, "every member could read it while it was on")
    await scope.members.set_invite_link_opened(scope.database_name, opened=False)


async def renew(scope: Scope, door: Door, why: str) -> str | None:
    """Give the workspace another invite link: its hash; None where the server has no call for that.

    It cannot be undone: a link that the customer has given to anyone is dead from then on.
    """
    if not await scope.client.invite_links.can_be_renewed():
        return None
    async with scope.change(RENEW_INVITE_LINK, f"of workspace {door.workspace_id}, since {why}"):
        return await scope.client.invite_links.renew(door)
