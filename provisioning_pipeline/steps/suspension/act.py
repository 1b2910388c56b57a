"""The step lock_workspaces: access to a workspace ends and is proved to have ended, or comes back as it was."""

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.steps.scope import Scope
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE
from provisioning_pipeline.steps.suspension.locking import lock
from provisioning_pipeline.steps.suspension.unlocking import unlock


async def end_or_give_back_access(scope: Scope) -> None:
    """Lock or unlock the workspace, as its plan says, and settle AccessLocked.

    Raises:
        Fault: as `lock` and `unlock`.
    """
    wanted: tuple[Change, ...] = scope.plan.changes
    await (lock if LOCK_WORKSPACE in wanted else unlock)(scope)
