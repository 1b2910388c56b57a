"""Role, name and link of people who are in the workspace, each compared with what is there now."""

from provisioning_pipeline.act.members.leaving import must_leave_an_admin
from provisioning_pipeline.act.members.work import Work, guarded
from provisioning_pipeline.clients.twenty.database import RosterEntry
from provisioning_pipeline.ledger.members import MemberLink
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import Change, MemberPlan


async def settle(work: Work, member: MemberPlan) -> None:
    entry = work.entry(member)
    if entry is None:
        # the finding of the failed join says why
        return
    await guarded(work, member, _settle_entry(work, member, entry))


async def _settle_entry(work: Work, member: MemberPlan, entry: RosterEntry) -> None:
    scope = work.scope
    if entry.workspace_member_id is None:
        raise Fault(
            FaultKind.TENANT,
            Reason.HALF_MEMBER,
            f"{member.email} belongs to workspace {work.door.workspace_id} but has no member record there, so they "
            'cannot open it. Delete their row of core."userWorkspace"; the next run adds them anew.',
        )
    if member.clerk_user_id in work.joined or {Change.SET_ROLE, Change.DEMOTE_MEMBER} & set(member.changes):
        await _set_role(work, member, entry)
    # a name that they changed in Twenty stays until Clerk's changes
    named = member.clerk_user_id in work.joined or Change.SET_NAME in member.changes
    if (
        named
        and (member.first_name or member.last_name)
        and (entry.first_name, entry.last_name) != (member.first_name, member.last_name)
    ):
        async with scope.change(Change.SET_NAME, f"{member.email}: {member.first_name} {member.last_name}".strip()):
            await scope.client.set_name(work.door, entry.workspace_member_id, member.first_name, member.last_name)
    if Change.LINK_MEMBER in member.changes:
        async with scope.change(Change.LINK_MEMBER, f"{member.email} to {entry.user_id}"):
            pass
    if not {Change.ADD_MEMBER, Change.LINK_MEMBER, Change.SET_NAME} & set(member.changes):
        # also somebody gone who was only lowered: the account may be linked to another by now
        return
    work.links.append(MemberLink(member.clerk_user_id, entry.user_id, entry.email, member.first_name, member.last_name))


async def _set_role(work: Work, member: MemberPlan, entry: RosterEntry) -> None:
    assert entry.workspace_member_id is not None
    if entry.role == member.role:
        return
    lowering = entry.role == ADMIN_ROLE
    if lowering and Change.DEMOTE_MEMBER not in member.changes:
        # became admin since the plan was made: taking that away is for a plan that has weighed it
        return
    if lowering:
        must_leave_an_admin(work, member)
    scope = work.scope
    change = Change.DEMOTE_MEMBER if Change.DEMOTE_MEMBER in member.changes else Change.SET_ROLE
    why = f", since {member.why}" if lowering and member.why else ""
    role = await scope.client.role_id(work.door, member.role)
    async with scope.change(change, f"{member.email}: {entry.role or 'no role'} → {member.role}{why}"):
        await scope.client.set_role(work.door, entry.workspace_member_id, role)
