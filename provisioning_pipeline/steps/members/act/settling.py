"""Role, name and link of people who are in the workspace, each compared with what is there now."""

from provisioning_pipeline.clients.twenty.roster import RosterEntry
from provisioning_pipeline.ledger.members import MemberLink
from provisioning_pipeline.model.people import ADMIN_ROLE, Origin
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.steps.account_ownership import refused, unproved
from provisioning_pipeline.steps.members.act.last_look import must_still_be_gone, must_still_be_lowered
from provisioning_pipeline.steps.members.act.leaving import must_leave_an_admin
from provisioning_pipeline.steps.members.act.work import Work, guarded
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, DEMOTE_MEMBER, LINK_MEMBER, SET_NAME, SET_ROLE


async def settle(work: Work, member: MemberPlan) -> None:
    """Give one person their role and name, and keep their link in `work.links`, where the plan says so.

    Who is not wholly inside is left to the next run. What this person meets becomes a finding.

    Raises:
        Fault: when the server, not this person, is the trouble.
    """
    entry = work.entry(member)
    if entry is None or entry.workspace_member_id is None:
        # the finding of the failed join says why
        return
    await guarded(work, member, _settle_entry(work, member, entry, entry.workspace_member_id))


async def _settle_entry(work: Work, member: MemberPlan, entry: RosterEntry, record_id: str) -> None:
    scope = work.scope
    if member.email in work.joined:
        # joining takes our password and no other
        work.made.append((entry.user_id, Origin(entry.email, ours=True, clerk_user_id=member.clerk_user_id)))
    if member.email in work.joined or {SET_ROLE, DEMOTE_MEMBER} & set(member.changes):
        await _set_role(work, member, entry, record_id)
    # a name that they changed in Twenty stays until Clerk's changes
    named = member.email in work.joined or SET_NAME in member.changes
    if (
        named
        and (member.first_name or member.last_name)
        and (entry.first_name, entry.last_name) != (member.first_name, member.last_name)
    ):
        async with scope.change(SET_NAME, f"{member.email}: {member.first_name} {member.last_name}".strip()):
            await scope.client.set_name(work.door, record_id, member.first_name, member.last_name)
    if LINK_MEMBER in member.changes:
        async with scope.change(LINK_MEMBER, f"{member.email} to {entry.user_id}"):
            pass
    if member.clerk_user_id is None:
        if ADD_MEMBER in member.changes:
            await scope.members.store_taken_over(scope.database_name, entry.user_id, entry.email, scope.run_id)
        return
    if not {ADD_MEMBER, LINK_MEMBER, SET_NAME} & set(member.changes):
        # also somebody gone who was only lowered: the account may be linked to another by now
        return
    work.links.append(MemberLink(member.clerk_user_id, entry.user_id, entry.email, member.first_name, member.last_name))


async def _set_role(work: Work, member: MemberPlan, entry: RosterEntry, record_id: str) -> None:
    if entry.role == member.role:
        return
    if entry.role != ADMIN_ROLE and member.email not in work.joined and await _is_unproved(work, member, entry):
        return
    lowering = entry.role == ADMIN_ROLE
    if lowering and DEMOTE_MEMBER not in member.changes and member.email not in work.joined:
        # became admin since the plan was made: taking that away is for a plan that has weighed it
        return
    if lowering and member.email not in work.joined:
        must_leave_an_admin(work, member)
        await (must_still_be_gone if member.departed else must_still_be_lowered)(work.scope, member)
    scope = work.scope
    change = DEMOTE_MEMBER if DEMOTE_MEMBER in member.changes else SET_ROLE
    why = f", since {member.why}" if lowering and member.why else ""
    role = await scope.client.role_id(work.door, member.role)
    async with scope.change(change, f"{member.email}: {entry.role or 'no role'} → {member.role}{why}"):
        await scope.client.set_role(work.door, record_id, role)


async def _is_unproved(work: Work, member: MemberPlan, entry: RosterEntry) -> bool:
    """Whether they keep the role that they have, and are reported: their account need not be theirs."""
    evidence = await unproved(work.scope, entry.user_id, member.clerk_user_id)
    if evidence is None:
        return False
    has = f"the role {entry.role}" if entry.role else "no role"
    fault = refused(work.scope, evidence, f"They keep {has}, although Clerk's makes them {member.role}.")
    work.findings.append(Finding(fault.reason, evidence.email, fault.message, blocks=False))
    return True
