"""The step verify_logins: real logins read COMPLETED in the right workspace. Nothing else is ready.

The admin signs in anew; who joined or was linked in this run uses the login that they joined with, or a new one.
"""

from provisioning_pipeline.act.scope import Scope, open_door
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.client import Account, Door, SeenUser
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import AdminUnknown, Change

COMPLETED = "COMPLETED"


async def verify_login(scope: Scope) -> None:
    """Sign in as the admin and as those whom this run changed, and settle LoginProved.

    Raises:
        Fault: when the login is refused, lands in another workspace, or would show the wizard.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    door = await open_door(scope, link)
    if not (link.admin_email and link.admin_user_id):
        unknown = scope.plan.admin
        if isinstance(unknown, AdminUnknown):
            scope.set(is_false(ConditionType.LOGIN_PROVED, unknown.reason, unknown.message))
        return
    admin = scope.account(link.admin_email, link.admin_user_id)
    changed = await _changed(scope, link.admin_user_id)
    await all_of(
        [
            _prove(scope, admin, door, by_new_login=True),
            *(_prove(scope, account, door, by_new_login=False) for account in changed),
        ]
    )
    others = f" So do those of {len(changed)} others." if changed else ""
    scope.set(
        is_true(
            ConditionType.LOGIN_PROVED,
            Reason.LOGIN_COMPLETED,
            f"A login of {link.admin_email} reads {COMPLETED} in workspace {door.workspace_id}.{others}",
        )
    )
    await scope.registry.store(
        scope.database_name,
        door.workspace_id,
        link.admin_user_id,
        ready_status=scope.ready_status,
        pending_statuses=scope.pending_statuses,
    )


async def _changed(scope: Scope, admin_user_id: str) -> list[Account]:
    """Those who joined or were linked in this run and are linked members now."""
    touched = {
        member.clerk_user_id
        for member in scope.plan.members
        if {Change.ADD_MEMBER, Change.LINK_MEMBER} & set(member.changes)
    }
    if not touched:
        return []
    return [
        scope.account(row["email"], row["twenty_user_id"])
        for row in await scope.members.of_tenant(scope.database_name)
        if row["clerk_user_id"] in touched and row["twenty_user_id"] != admin_user_id
    ]


async def _prove(scope: Scope, account: Account, door: Door, *, by_new_login: bool) -> None:
    async with scope.change(Change.PROVE_LOGIN, account.email):
        seen = await _login(scope, account, door, by_new_login=by_new_login)
        scope.client.forget(account, door)
        if seen.workspace_id != door.workspace_id:
            raise Fault(
                FaultKind.TENANT,
                Reason.WRONG_WORKSPACE,
                f"The login of {account.email} lands in workspace {seen.workspace_id}, not in {door.workspace_id}.",
            )
        if seen.onboarding_status != COMPLETED:
            raise Fault(
                FaultKind.TENANT,
                Reason.WIZARD_SHOWS,
                f"{account.email} would see the onboarding step {seen.onboarding_status}.",
            )


async def _login(scope: Scope, account: Account, door: Door, *, by_new_login: bool) -> SeenUser:
    try:
        return await scope.client.current_user(account, door, by_new_login=by_new_login)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        raise Fault(
            FaultKind.TENANT,
            Reason.LOGIN_REFUSED,
            f"The login of {account.email} is refused: {fault.message} If they were removed from the workspace in "
            "Twenty, invite them again there.",
        ) from None
