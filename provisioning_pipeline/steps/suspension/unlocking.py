"""Giving access to a workspace back, exactly as it was before the lock."""

from collections.abc import Mapping, Sequence

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.model.access_lock import (
    DEFAULT_ROLE,
    EMPTY_ROLE,
    INVITE_LINK,
    AccessLock,
    ItemKind,
    LockedItem,
)
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false
from provisioning_pipeline.steps.members.act.backfill import put_right
from provisioning_pipeline.steps.scope import Scope, workspace_address
from provisioning_pipeline.steps.suspension.changes import UNLOCK_WORKSPACE
from provisioning_pipeline.steps.suspension.plan import (
    default_role_again,
    member_role_again,
    of_kind,
    setting,
    told,
)
from provisioning_pipeline.steps.suspension.workspace import members_of


async def unlock(scope: Scope) -> None:
    """Give back all that a lock took, and settle AccessLocked; nothing where nothing is locked.

    Raises:
        Fault: what Twenty refused; what is given back stays so, and the next run goes on.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    known = await scope.access_locks.of(scope.database_name)
    if known is not None:
        address = scope.address = await workspace_address(scope, link)
        await put_right(scope, link, address)
        await _give_back(scope, address, known)
    scope.set(
        is_false(
            ConditionType.ACCESS_LOCKED,
            Reason.ACCESS_OPEN,
            "The members have access to their workspace as their roles give it.",
        )
    )


async def _give_back(scope: Scope, address: WorkspaceAddress, known: AccessLock) -> None:
    items = await scope.access_locks.items(scope.database_name)
    async with scope.change(UNLOCK_WORKSPACE, f"locked since {known.begun_at:%Y-%m-%d %H:%M} UTC") as learnt:
        await scope.access_locks.begin_release(scope.database_name, scope.run_id)
        roles = {role.label: role.id for role in await scope.client.access.roles(address)}
        notes = [
            *await _default_role(scope, address, items, roles),
            *await _members(scope, address, items, roles),
            *await _keys(scope, address, of_kind(items, ItemKind.API_KEY)),
        ]
        # last, so that those who join by it find everything as it was
        if setting(items, INVITE_LINK) is not None:
            await scope.client.invite_links.turn_on(address)
        await _without_empty_role(scope, address, roles.get(EMPTY_ROLE))
        await scope.access_locks.release(scope.database_name)
        learnt += [f"given back: {told(items)}", *notes]


async def _default_role(
    scope: Scope, address: WorkspaceAddress, items: Sequence[LockedItem], roles: Mapping[str, str]
) -> list[str]:
    item = setting(items, DEFAULT_ROLE)
    if item is None:
        return []
    again = default_role_again(item, roles, scope.settings.member_default_role)
    if again.id is not None:
        await scope.client.set_default_role(address, again.id)
    return [again.note] if again.note else []


async def _members(
    scope: Scope, address: WorkspaceAddress, items: Sequence[LockedItem], roles: Mapping[str, str]
) -> list[str]:
    """Records first, without which Twenty gives no role; the role of the lock gives nothing meanwhile."""
    default = await scope.server.database.default_role(address.workspace_id)
    labels = {entry.user_id: entry.role for entry in await members_of(scope.server, address)}

    async def back(item: LockedItem) -> str | None:
        if not await scope.client.access.let_back(address, item.id):
            return f"{item.name} has no member record any more: they were removed while it was locked"
        again = member_role_again(item, roles, default.id if default else None)
        # another role than that of the lock was given by an admin since
        if again.id is not None and labels.get(item.user_id or "") == EMPTY_ROLE:
            await scope.client.set_role(address, item.id, again.id)
        return again.note

    members = of_kind(items, ItemKind.MEMBER)
    notes = await all_of(back(item) for item in members)
    await scope.access_locks.note_given_back(scope.database_name, members)
    return [note for note in notes if note]


async def _keys(scope: Scope, address: WorkspaceAddress, items: Sequence[LockedItem]) -> list[str]:
    found = await all_of(scope.client.access.restore_api_key(address, item.id) for item in items)
    await scope.access_locks.note_given_back(scope.database_name, items)
    return [f"API key {item.name} is not there any more" for item, there in zip(items, found, strict=True) if not there]


async def _without_empty_role(scope: Scope, address: WorkspaceAddress, role_id: str | None) -> None:
    """Delete the role of the lock; it stays where someone has it: Twenty would give them the default role instead."""
    if role_id is None or await scope.server.database.holds_role(role_id):
        return
    default = await scope.server.database.default_role(address.workspace_id)
    if default is None or default.id != role_id:
        await scope.client.access.delete_role(address, role_id)
