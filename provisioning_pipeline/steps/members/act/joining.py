"""Bringing people in without an e-mail: by the invite link and a password that we derive."""

from collections.abc import Sequence

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.steps.account_ownership import refused, unproved
from provisioning_pipeline.steps.members.act.default_role import joining_as
from provisioning_pipeline.steps.members.act.entering import Newcomer, enter, restorable, restore
from provisioning_pipeline.steps.members.act.invite_links import opened
from provisioning_pipeline.steps.members.act.work import Work, finding_about, guarded
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, DEMOTE_MEMBER, INVITE_MEMBER, LINK_MEMBER
from provisioning_pipeline.steps.scope import Scope


async def join_all(work: Work, members: Sequence[MemberPlan]) -> None:
    """Bring in who is not inside, and who is only half inside: with a membership but without a member record."""
    joining = [member for member in members if _is_to_join(work, member)]
    if not joining:
        return
    scope, records = work.scope, work.scope.server.database.records
    marked = [member for member in joining if restorable(work.roster, work.entry(member))]
    if marked:
        await all_of(guarded(work, member, _restore(work, member)) for member in marked)
        work.roster = await records.roster(work.door.workspace_id)
    outside = [member for member in joining if member not in marked]
    if outside:
        async with opened(scope, work.door) as invite_hash:
            for role in sorted({member.role for member in outside}):
                group = [member for member in outside if member.role == role]
                await _join_as(work, group, role, invite_hash)
        work.roster = await records.roster(work.door.workspace_id)


async def _join_as(work: Work, members: Sequence[MemberPlan], role: str, invite_hash: str) -> None:
    """Bring in those who are to have this role, none of whom holds another for a moment that gives more."""
    begun = False
    try:
        async with joining_as(work.scope, work.door, role):
            begun = True
            await all_of(guarded(work, member, _join(work, member, invite_hash)) for member in members)
    except Fault as fault:
        if begun or fault.kind is not FaultKind.TENANT:
            raise
        work.findings += [finding_about(work.scope, member, fault) for member in members]


def _is_to_join(work: Work, member: MemberPlan) -> bool:
    entry = work.entry(member)
    if entry is None:
        # also the admin whom the step before could not bring in: they may be invited here
        return bool({ADD_MEMBER, LINK_MEMBER} & set(member.changes))
    # who is only to be lowered may have left: making them whole would let them in
    return entry.workspace_member_id is None and set(member.changes) != {DEMOTE_MEMBER}


async def _restore(work: Work, member: MemberPlan) -> None:
    record = restorable(work.roster, work.entry(member))
    if record is not None:
        await restore(work.scope, work.door, member.email, record)


async def _join(work: Work, member: MemberPlan, invite_hash: str) -> None:
    newcomer = Newcomer(
        member.email,
        member.twenty_user_id,
        member.first_name,
        member.last_name,
        ADD_MEMBER,
        f"{member.email} as {member.role}",
    )
    try:
        if await enter(work.scope, work.door, work.roster, newcomer, invite_hash):
            work.joined.add(member.email)
    except Fault as fault:
        if fault.reason is not Reason.FOREIGN_PASSWORD:
            raise
        await _has_own_password(work, member)


async def _has_own_password(work: Work, member: MemberPlan) -> None:
    """An account that we did not make: only an invitation by e-mail can bring them in, if it is theirs at all.

    Twenty lets whoever has an account and an open invitation join by signing in, with the invitation's role: so it
    gives the least, and the role that is theirs comes once they are in and linked.
    """
    scope = work.scope
    for user_id in await scope.server.database.user_ids(member.email):
        evidence = await unproved(scope, user_id, member.clerk_user_id, is_ours=False)
        if evidence is not None:
            raise refused(scope, evidence, f"So they are neither added as {member.role} nor invited.")
    if not scope.invites:
        raise Fault(
            FaultKind.TENANT,
            Reason.FOREIGN_PASSWORD,
            f"{member.email} already has an account on {scope.client.system} with a password of their own, so they "
            "cannot be added without an e-mail. Invite them once in Twenty (Settings > Members), or set "
            "PROVISIONING_MEMBERS_FOREIGN_PASSWORD=invite; the next run links them.",
        )
    if not await scope.server.database.has_invitation(work.door.workspace_id, member.email):
        role = await scope.client.role_id(work.door, _role_of_invitations(scope, member))
        async with scope.change(INVITE_MEMBER, f"{member.email} as {scope.default_role}"):
            await scope.client.invite(work.door, member.email, role)
    raise Fault(
        FaultKind.TENANT,
        Reason.INVITED,
        f"{member.email} has a password of their own and was invited by e-mail; they are linked once they accept.",
    )


def _role_of_invitations(scope: Scope, member: MemberPlan) -> str:
    if scope.default_role == ADMIN_ROLE:
        raise Fault(
            FaultKind.TENANT,
            Reason.FOREIGN_PASSWORD,
            f"{member.email} already has an account on {scope.client.system} with a password of their own, and nobody "
            f"is invited as {ADMIN_ROLE}, which PROVISIONING_MEMBER_DEFAULT_ROLE says. Set another there, or invite "
            "them once in Twenty (Settings > Members); the next run links them.",
        )
    return scope.default_role
