"""The step repair_onboarding: no step of the wizard is left pending for the service account, the admin and the members.

Twenty's own calls come first, only for steps that are pending. What no call clears (rows at a wider level, steps of
another version) is removed by SQL, exactly those rows, and kept so that it can be put back.
"""

from collections.abc import Awaitable, Mapping, Sequence

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.accounts import Account, WorkspaceAddress
from provisioning_pipeline.ledger.ledger import Link
from provisioning_pipeline.model.condition import ConditionType, Reason, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.onboarding import (
    CREATE_PROFILE,
    INVITE_TEAM,
    Flag,
    Level,
    pending_for,
    rows_in_the_way,
)
from provisioning_pipeline.model.tenant import Admin, MemberPlan
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, REMOVE_ROWS, STORE_LINK
from provisioning_pipeline.steps.scope import Scope, workspace_address, written_down

_MOST_NAMED = 5


async def repair_onboarding(scope: Scope) -> None:
    """Clear what is pending, store the link in the registry, and settle OnboardingComplete.

    Raises:
        Fault: STEPS_PENDING when something is left that may not be removed.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    address = await workspace_address(scope, link)
    people = await _people(scope, link, address)
    flags = await scope.server.database.flags(address.workspace_id)
    if flags:
        await all_of(
            _clear_for(scope, address, account, pending_for(user_id, address.workspace_id, flags))
            for user_id, account in people.items()
        )
        await _remove_the_rest(scope, address, people)
    scope.set(
        is_true(
            ConditionType.ONBOARDING_COMPLETE,
            Reason.STEPS_CLEARED,
            "No onboarding step was pending when a run last looked.",
        )
    )
    changed = await scope.registry.store(
        scope.database_name, address.workspace_id, link.admin_user_id, ready_status=None, pending_statuses=()
    )
    if changed:
        async with scope.change(STORE_LINK, f"workspace {address.workspace_id} in {scope.registry.table}"):
            pass


async def _people(scope: Scope, link: Link, address: WorkspaceAddress) -> dict[str, Account]:
    """Twenty user id → account, of everyone that we put into the workspace or linked; by policy of all its members."""
    service = scope.client.service_account
    people = dict.fromkeys(await scope.server.service_user_ids(), service)
    if link.admin_user_id and link.admin_email:
        people.setdefault(link.admin_user_id, await scope.account(link.admin_email, link.admin_user_id))
    for row in await scope.members.of_tenant(scope.database_name):
        people.setdefault(row["twenty_user_id"], await scope.account(row["email"], row["twenty_user_id"]))
    if scope.settings.onboarding_people == "everyone":
        for entry in (await scope.server.database.records.roster(address.workspace_id)).members:
            people.setdefault(entry.user_id, await scope.account(entry.email, entry.user_id))
    return people


async def _clear_for(scope: Scope, address: WorkspaceAddress, account: Account, pending: Mapping[str, Level]) -> None:
    """Make the calls for one person. What they cannot do for this one is left to SQL; a server's fault is raised."""
    for key, level in pending.items():
        try:
            await _clear(scope, address, account, key, level)
        except Fault as fault:
            if fault.kind is not FaultKind.TENANT:
                raise


async def _remove_the_rest(scope: Scope, address: WorkspaceAddress, people: Mapping[str, Account]) -> None:
    """Remove by SQL what Twenty's calls have left, and make sure that then nothing is."""
    left = rows_in_the_way(people, address.workspace_id, await scope.server.database.flags(address.workspace_id))
    if not left:
        return
    async with (
        scope.change(REMOVE_ROWS, _in_words(left)),
        written_down(scope.removed_rows, scope.run_id, scope.database_name, scope.client.name) as write_down,
    ):
        await scope.server.database.remove_rows(left, write_down)
    still = rows_in_the_way(people, address.workspace_id, await scope.server.database.flags(address.workspace_id))
    if still:
        raise Fault(
            FaultKind.BUSY,
            Reason.STEPS_PENDING,
            f'Rows of core."keyValuePair" change while they are being removed: {_in_words(still)}. The next run looks '
            "again.",
        )


def _in_words(rows: Sequence[Flag]) -> str:
    return first_few([f"{row.key} ({row.level} level)" for row in rows], _MOST_NAMED)


async def _clear(scope: Scope, address: WorkspaceAddress, account: Account, key: str, level: Level) -> None:
    """Make the call that clears this step; where Twenty has none, nothing is done and nothing is recorded."""
    own = level is Level.USER_AND_WORKSPACE
    call: Awaitable[None]
    if key == INVITE_TEAM and level is Level.WORKSPACE:
        if account.email != scope.client.service_account.email:
            return
        call = scope.client.skip_team_invitations(address)
    elif key == CREATE_PROFILE and own:
        call = _name(scope, address, account)
    elif own and (operation := await scope.client.step_call(key)):
        call = scope.client.clear_step(account, address, operation)
    else:
        return
    async with scope.change(CLEAR_ONBOARDING, f"{key} of {account.email}"):
        await call


async def _name(scope: Scope, address: WorkspaceAddress, account: Account) -> None:
    """Set a name: the one they have, else the one planned, else the e-mail's; an empty one clears nothing."""
    seen = await scope.client.current_user(account, address)
    if seen.workspace_member_id is None:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_INCOMPLETE,
            f"{account.email} has no member record in workspace {address.workspace_id}, so no name can be set.",
        )
    name = seen.first_name, seen.last_name
    await scope.client.set_name(
        address, seen.workspace_member_id, *(name if any(name) else _planned_name(scope, account.email))
    )


def _planned_name(scope: Scope, email: str) -> tuple[str, str]:
    if email == scope.client.service_account.email:
        first, _, last = scope.settings.service_member_name.partition(" ")
        return first, last
    planned: list[Admin | MemberPlan] = [scope.plan.admin] if isinstance(scope.plan.admin, Admin) else []
    for person in (*planned, *scope.plan.members):
        if person.email == email and (person.first_name or person.last_name):
            return person.first_name, person.last_name
    return email.partition("@")[0], ""
