"""The step verify_logins: a real login of the admin reads COMPLETED in the right workspace. Nothing else is ready."""

from provisioning_pipeline.act.scope import Scope, open_door
from provisioning_pipeline.clients.twenty.client import Account, Door, SeenUser
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import AdminUnknown, Change

COMPLETED = "COMPLETED"


async def verify_login(scope: Scope) -> None:
    """Sign in as the admin with a new login and settle LoginProved.

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
    account = scope.account(link.admin_email, link.admin_user_id)
    async with scope.change(Change.PROVE_LOGIN, link.admin_email):
        seen = await _login(scope, account, door)
        if seen.workspace_id != door.workspace_id:
            raise Fault(
                FaultKind.TENANT,
                Reason.WRONG_WORKSPACE,
                f"The login of {link.admin_email} lands in workspace {seen.workspace_id}, not in {door.workspace_id}.",
            )
        if seen.onboarding_status != COMPLETED:
            raise Fault(
                FaultKind.TENANT,
                Reason.WIZARD_SHOWS,
                f"{link.admin_email} would see the onboarding step {seen.onboarding_status}.",
            )
    scope.set(
        is_true(
            ConditionType.LOGIN_PROVED,
            Reason.LOGIN_COMPLETED,
            f"A login of {link.admin_email} reads {COMPLETED} in workspace {door.workspace_id}.",
        )
    )
    await scope.registry.store(
        scope.database_name,
        door.workspace_id,
        link.admin_user_id,
        ready_status=scope.ready_status,
        pending_statuses=scope.pending_statuses,
    )


async def _login(scope: Scope, account: Account, door: Door) -> SeenUser:
    try:
        return await scope.client.current_user(account, door, by_new_login=True)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        raise Fault(
            FaultKind.TENANT,
            Reason.LOGIN_REFUSED,
            f"The login of {account.email} is refused: {fault.message} If they were removed from the workspace in "
            "Twenty, invite them again there.",
        ) from None
