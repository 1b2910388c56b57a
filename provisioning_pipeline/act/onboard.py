"""The step repair_onboarding: no step of the wizard is left pending for the service account, the admin and the members.

Only Twenty's own calls are used, and only for steps that are pending.
"""

from collections.abc import Awaitable, Iterable, Mapping

from provisioning_pipeline.act.scope import Scope, open_door
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.client import Account, Door
from provisioning_pipeline.ledger.ledger import Link
from provisioning_pipeline.model.condition import ConditionType, Reason, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import (
    CONNECT_ACCOUNT,
    CREATE_PROFILE,
    INSTALL_APPS,
    INVITE_TEAM,
    Flag,
    Level,
    pending_for,
)
from provisioning_pipeline.model.tenant import Admin, Change

_MOST_NAMED = 5


async def repair_onboarding(scope: Scope) -> None:
    """Clear what is pending, store the link in the registry, and settle OnboardingComplete.

    Raises:
        Fault: STEPS_PENDING when something is left that no call of Twenty's clears.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    door = await open_door(scope, link)
    people = await _people(scope, link)
    flags = await scope.server.database.flags(door.workspace_id)
    if flags:
        # what belongs to the whole workspace first, once; then each person on their own
        service = {user: people[user] for user in await scope.server.service_user_ids()}
        await _clear_all(scope, door, service, flags)
        members = {user: account for user, account in people.items() if user not in service}
        await _clear_all(scope, door, members, await scope.server.database.flags(door.workspace_id))
        _nothing_left(door, people, await scope.server.database.flags(door.workspace_id))
    scope.set(is_true(ConditionType.ONBOARDING_COMPLETE, Reason.STEPS_CLEARED, "No onboarding step is pending."))
    await _store_link(scope, door, link.admin_user_id)


async def _people(scope: Scope, link: Link) -> dict[str, Account]:
    """Twenty user id → account, of everybody whom we put into the workspace or linked."""
    service = scope.client.service_account
    people = dict.fromkeys(await scope.server.service_user_ids(), service)
    if link.admin_user_id and link.admin_email:
        people.setdefault(link.admin_user_id, scope.account(link.admin_email, link.admin_user_id))
    for row in await scope.members.of_tenant(scope.database_name):
        people.setdefault(row["twenty_user_id"], scope.account(row["email"], row["twenty_user_id"]))
    return people


async def _clear_all(scope: Scope, door: Door, people: Mapping[str, Account], flags: Iterable[Flag]) -> None:
    rows = tuple(flags)
    await all_of(
        _clear_for(scope, door, account, pending_for(user_id, door.workspace_id, rows))
        for user_id, account in people.items()
    )


async def _clear_for(scope: Scope, door: Door, account: Account, pending: Mapping[str, Level]) -> None:
    for key, level in pending.items():
        await _clear(scope, door, account, key, level)


def _nothing_left(door: Door, people: Mapping[str, Account], flags: Iterable[Flag]) -> None:
    rows = tuple(flags)
    left = sorted(
        f"{key} ({level} level) for {account.email}"
        for user_id, account in people.items()
        for key, level in pending_for(user_id, door.workspace_id, rows).items()
    )
    if left:
        more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        raise Fault(
            FaultKind.TENANT,
            Reason.STEPS_PENDING,
            f'No call of Twenty\'s clears {", ".join(left[:_MOST_NAMED])}{more}. These rows of core."keyValuePair" '
            "were written by hand, or this Twenty has a step that is not known here.",
        )


async def _clear(scope: Scope, door: Door, account: Account, key: str, level: Level) -> None:
    """Make the call that clears this step; where Twenty has none, nothing is done and nothing is recorded."""
    own = level is Level.USER_AND_WORKSPACE
    call: Awaitable[None]
    if key == INVITE_TEAM and level is Level.WORKSPACE:
        if account.email != scope.client.service_account.email:
            return
        call = scope.client.invite_nobody(door)
    elif key == CONNECT_ACCOUNT and own:
        call = scope.client.skip_sync_email(account, door)
    elif key == INSTALL_APPS and own:
        call = scope.client.skip_install_apps(account, door)
    elif key == CREATE_PROFILE and own:
        call = _name(scope, door, account)
    else:
        return
    async with scope.change(Change.CLEAR_ONBOARDING, f"{key} of {account.email}"):
        await call


async def _name(scope: Scope, door: Door, account: Account) -> None:
    """Set a name: the one they have, else the one planned, else the e-mail's; an empty one clears nothing."""
    seen = await scope.client.current_user(account, door)
    if seen.workspace_member_id is None:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_INCOMPLETE,
            f"{account.email} has no member record in workspace {door.workspace_id}, so no name can be set.",
        )
    first, last = seen.first_name, seen.last_name
    if not (first or last):
        first, last = _planned_name(scope, account.email)
    await scope.client.set_name(door, seen.workspace_member_id, first, last)


def _planned_name(scope: Scope, email: str) -> tuple[str, str]:
    if email == scope.client.service_account.email:
        first, _, last = scope.service_member_name.partition(" ")
        return first, last
    admin = scope.plan.admin
    if isinstance(admin, Admin) and admin.email == email and (admin.first_name or admin.last_name):
        return admin.first_name, admin.last_name
    for member in scope.plan.members:
        if member.email == email and (member.first_name or member.last_name):
            return member.first_name, member.last_name
    return email.partition("@")[0], ""


async def _store_link(scope: Scope, door: Door, admin_user_id: str | None) -> None:
    changed = await scope.registry.store(
        scope.database_name, door.workspace_id, admin_user_id, ready_status=None, pending_statuses=()
    )
    if changed:
        async with scope.change(Change.STORE_LINK, f"workspace {door.workspace_id} in {scope.registry.table}"):
            pass
