"""The role that a workspace gives to whoever joins, lent another one while people join who are to have less or else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from provisioning_pipeline.clients.twenty.accounts import Door
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.steps.members.changes import RESTORE_DEFAULT_ROLE
from provisioning_pipeline.steps.scope import Scope


@asynccontextmanager
async def joining_as(scope: Scope, door: Door, role: str) -> AsyncIterator[None]:
    """Whoever joins meanwhile gets this role at once, or less where it is Admin: a promotion comes after the join.

    Twenty gives a new member the workspace's default role, whatever its customer made of it. Another is lent only
    where they differ, and written down first, so that a crash leaves it lent for no longer than until the next run.

    Raises:
        Fault: ROLE_UNKNOWN when the workspace has no such role; nobody joins then.
    """
    default = await scope.server.database.default_role(door.workspace_id)
    if default is None or default.label == role:
        yield
        return
    wanted = await scope.client.role_id(door, role)
    if role == ADMIN_ROLE:
        yield
        return
    own = await scope.members.lend_default_role(scope.database_name, default.id)
    await scope.client.set_default_role(door, wanted)
    try:
        yield
    finally:
        await give_back(scope, door, own, lent=wanted)


async def give_back(scope: Scope, door: Door, own: str, *, lent: str | None = None) -> None:
    """Make the workspace's own default role its default again, and forget that another was lent.

    Left alone is a default that somebody else has set since, where it is known which one was `lent`, and one that
    would be a role which is no longer there.
    """
    now = await scope.server.database.default_role(door.workspace_id)
    theirs = lent is not None and (now is None or now.id != lent)
    labels = {role_id: label for label, role_id in (await scope.client.roles(door)).items()}
    if (now is None or now.id != own) and not theirs and own in labels:
        async with scope.change(RESTORE_DEFAULT_ROLE, f"{labels[own]}, of workspace {door.workspace_id}"):
            await scope.client.set_default_role(door, own)
    await scope.members.default_role_is_back(scope.database_name)
