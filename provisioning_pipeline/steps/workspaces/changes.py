"""What the step provision_workspaces changes."""

from collections.abc import Iterable
from typing import Final

from provisioning_pipeline.model.change import Cause, Change
from provisioning_pipeline.model.history import Actor, DriftCause, Source
from provisioning_pipeline.model.tenant import Admin, TenantPlan

_STILL_TO_DO = Cause(DriftCause.UNFINISHED, Source.WORKSPACE, Actor.UNKNOWN, "Still to do: {changes}.")


def _created(plan: TenantPlan) -> Iterable[str]:
    if not plan.subdomains:
        return ("create workspace",)
    called = f', called "{plan.tenant.name}": {plan.name_note}' if plan.name_note else ""
    return (f"create workspace {plan.subdomains[0]} on {plan.server}{called}",)


CREATE_WORKSPACE: Final = Change(
    "create workspace",
    sign="+",
    lines=_created,
    seconds=0.2,
    # signUpInNewWorkspace, and the exchange of its login token
    calls=2,
    takes_room=True,
    proves_everybody=True,
    drift=_STILL_TO_DO,
)
# adopting takes no call: the server told all our workspaces before
ADOPT_WORKSPACE: Final = Change("adopt workspace", proves_everybody=True, drift=_STILL_TO_DO)
ACTIVATE_WORKSPACE: Final = Change(
    "activate workspace",
    seconds=4.5,
    # activateWorkspace; then our account's own steps: connect, apps, invite nobody, and a name (two calls)
    calls=6,
    by_our_account=True,
    proves_everybody=True,
    drift=_STILL_TO_DO,
)
REJOIN_WORKSPACE: Final = Change("rejoin workspace", drift=_STILL_TO_DO)
ADD_ADMIN: Final = Change(
    "add admin",
    sign="+",
    lines=lambda plan: (f"add admin {plan.admin.email}" if isinstance(plan.admin, Admin) else "add admin",),
    seconds=0.5,
    proves_everybody=True,
    drift=_STILL_TO_DO,
)

MAKING: Final = frozenset({CREATE_WORKSPACE, ADOPT_WORKSPACE, ACTIVATE_WORKSPACE})
"""A tenant with one of these has no workspace yet that a member could come into."""

CHANGES: Final = (CREATE_WORKSPACE, ADOPT_WORKSPACE, ACTIVATE_WORKSPACE, REJOIN_WORKSPACE, ADD_ADMIN)
