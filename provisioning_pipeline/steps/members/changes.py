"""What the step backfill_members changes; the first declared of a person's changes comes first, and says why."""

from typing import Final

from provisioning_pipeline.model.change import Cause, Change
from provisioning_pipeline.model.history import Actor, Before, DriftCause, Source
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.drift import listed

_AT_CLERK = Cause(DriftCause.CLERK, Source.MEMBERS, Actor.CLERK)
_IN_TWENTY = Cause(DriftCause.TWENTY, Source.MEMBERS, Actor.TWENTY)
_EITHER = Cause(DriftCause.UNKNOWN, Source.MEMBERS, Actor.UNKNOWN)
_JOIN_CALLS: Final = 3
"""signUpInWorkspace, the exchange of its login token, and one more: a known account proves its password first, a new
one has the step INSTALL_APPS to clear."""


def _withdrawn(plan: TenantPlan, _: Before) -> Cause | None:
    """The plan says why an invitation is to end; who brought it to that we cannot know."""
    ended = [f"withdraw invitation {withdrawal.email}" for withdrawal in plan.withdrawals]
    return Cause(DriftCause.UNKNOWN, Source.MEMBERS, Actor.UNKNOWN, f"{listed(ended)}.") if ended else None


REMOVE_MEMBER: Final = Change(
    "remove member",
    sign="-",
    of_person="remove {person}: {why}",
    seconds=1.0,
    # a token from before (2), their invitations (1), deleteUserFromWorkspace (1), the old token is refused (1), their
    # invitations again (1), a new login is refused by password and, the account being gone, by impersonation (2), the
    # refresh token from before is refused (1)
    calls=9,
    by_our_account=True,
    harmful=True,
    drift=_AT_CLERK,
)
DEMOTE_MEMBER: Final = Change(
    "demote member",
    sign="-",
    of_person="demote {person} to {role}: {why}",
    seconds=0.08,
    calls=1,
    by_our_account=True,
    harmful=True,
    drift=_AT_CLERK,
)
DROP_LINK: Final = Change(
    "drop link",
    of_person="forget the link of {person}, who is no longer in the workspace",
    seconds=0.3,
    # their invitations (1), and a new login is refused both ways (2)
    calls=3,
    by_our_account=True,
    drift=_IN_TWENTY,
)
MEND_MEMBER: Final = Change(
    "mend half member",
    of_person="mend {person}, whose member record is missing or marked as deleted",
    seconds=0.4,
    # at most: whose record is only marked as deleted needs no call
    calls=_JOIN_CALLS,
    by_our_account=True,
    proves_everybody=True,
    drift=_IN_TWENTY,
)
ADD_MEMBER: Final = Change(
    "add member",
    sign="+",
    of_person="add {person} as {role}{because}",
    # who is added is linked and named, too
    covers=True,
    seconds=0.4,
    calls=_JOIN_CALLS,
    by_our_account=True,
    proves_everybody=True,
    drift=_AT_CLERK,
)
LINK_MEMBER: Final = Change("link member", of_person="link {person}{because}", proves_everybody=True, drift=_IN_TWENTY)
SET_ROLE: Final = Change(
    "set role",
    of_person="role of {person}: {role}{because}",
    seconds=0.08,
    # updateWorkspaceMemberRole
    calls=1,
    by_our_account=True,
    # a role differs when it was changed on either side, and neither says which
    drift=_EITHER,
)
SET_NAME: Final = Change(
    "set name",
    of_person="name {person}: {name}",
    seconds=0.08,
    # updateWorkspaceMemberSettings
    calls=1,
    by_our_account=True,
    drift=_AT_CLERK,
)
FOLLOW_EMAIL: Final = Change(
    "follow e-mail",
    of_person="change the e-mail of {person} to {email}, as at Clerk",
    seconds=0.3,
    # they sign in (2), updateUserEmail (1)
    calls=3,
    proves_everybody=True,
    drift=_AT_CLERK,
)
STORE_AT_CLERK: Final = Change(
    "store at Clerk",
    lines=lambda plan: (
        (f"store the workspace id at Clerk organization {plan.store_organization}",) if plan.store_organization else ()
    ),
    of_person="store the user id of {person} at Clerk",
    seconds=0.05,
)
INVITE_MEMBER: Final = Change("invite member", sends_email=True)
WITHDRAW_INVITATION: Final = Change(
    "withdraw invitation",
    sign="-",
    lines=lambda plan: (f"withdraw our invitation of {ended.email}: {ended.why}" for ended in plan.withdrawals),
    by_our_account=True,
    drift=_withdrawn,
)
CLOSE_INVITE_LINK: Final = Change(
    "close invite link",
    # updateWorkspace
    calls=1,
    by_our_account=True,
)
RENEW_INVITE_LINK: Final = Change(
    "renew invite link",
    lines=lambda _: ("renew invite link: no one joins by the old one any more",),
    # updateWorkspace
    calls=1,
    by_our_account=True,
)
RESTORE_DEFAULT_ROLE: Final = Change(
    "restore default role",
    # updateWorkspace
    calls=1,
    by_our_account=True,
)
REVOKE_API_KEY: Final = Change("revoke API key")

GIVING: Final = frozenset({ADD_MEMBER, LINK_MEMBER, MEND_MEMBER, SET_ROLE, FOLLOW_EMAIL})
"""Who gets one of these gets something, so that Clerk is asked about them once more in the step."""
ENTERING: Final = GIVING - {SET_ROLE, FOLLOW_EMAIL}
"""By these a person is a member of the workspace who was none, or was none of ours."""
LEAVING: Final = frozenset({REMOVE_MEMBER, DROP_LINK})

CHANGES: Final = (
    REMOVE_MEMBER,
    DEMOTE_MEMBER,
    DROP_LINK,
    MEND_MEMBER,
    ADD_MEMBER,
    LINK_MEMBER,
    SET_ROLE,
    SET_NAME,
    FOLLOW_EMAIL,
    STORE_AT_CLERK,
    INVITE_MEMBER,
    WITHDRAW_INVITATION,
    CLOSE_INVITE_LINK,
    RENEW_INVITE_LINK,
    RESTORE_DEFAULT_ROLE,
    REVOKE_API_KEY,
)
