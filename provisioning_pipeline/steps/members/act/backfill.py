"""The step backfill_members: every Clerk member is the right member of the workspace, and who left is out of it.

Everything goes through Twenty's own calls and without an e-mail. Each change is compared with what is there now, so
that a run that was killed anywhere is simply done again.
"""

from collections.abc import Sequence

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.ledger.members import MemberIntent
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.steps.members.act.at_clerk import store_at_clerk
from provisioning_pipeline.steps.members.act.joining import join_all
from provisioning_pipeline.steps.members.act.last_look import who_may_enter
from provisioning_pipeline.steps.members.act.leaving import forget_left, leave
from provisioning_pipeline.steps.members.act.left_over import put_right
from provisioning_pipeline.steps.members.act.settling import settle
from provisioning_pipeline.steps.members.act.uninviting import withdraw_all
from provisioning_pipeline.steps.members.act.work import Work, finding_about, guarded
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DEMOTE_MEMBER,
    ENTERING,
    LEAVING,
    SET_ROLE,
)
from provisioning_pipeline.steps.members.plan.tenant_members import synced
from provisioning_pipeline.steps.scope import Scope, open_door

_ROLE_CHANGES = frozenset({ADD_MEMBER, SET_ROLE, DEMOTE_MEMBER})


async def backfill_members(scope: Scope) -> None:
    """Withdraw invitations; add, link, name and give roles; then take away what was decided; then settle MembersSynced.

    Raises:
        Fault: when the server, not one person, is the trouble. What one person meets becomes a finding.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    door = scope.door = await open_door(scope, link)
    work = Work(scope, door, await put_right(scope, link, door), list(scope.plan.findings))
    staying = [member for member in scope.plan.members if not LEAVING & set(member.changes)]
    staying = await who_may_enter(work, staying)
    await withdraw_all(work)
    intents = [intent for member in staying if (intent := _intent(work, member))]
    await scope.members.begin(scope.database_name, intents, scope.run_id)
    await join_all(work, staying)
    try:
        await all_of(settle(work, member) for member in staying)
    finally:
        # also when one person's call failed for good: who was settled needs no second look
        await scope.accounts.store(scope.client.name, work.made, scope.run_id)
        await scope.members.store(scope.client.name, scope.database_name, work.links, scope.run_id)
    await _give_up(work, intents)
    await _check_roles(work, staying)
    await store_at_clerk(work, staying)
    for member in scope.plan.members:
        if LEAVING & set(member.changes):
            await guarded(work, member, leave(work, member))
    await forget_left(work)
    scope.set(synced(work.findings))


def _intent(work: Work, member: MemberPlan) -> MemberIntent | None:
    """Who is about to be let in, or raised, without a link: from then on they can be missed, wherever the run ends."""
    if member.clerk_user_id is None or not ENTERING & set(member.changes):
        return None
    entry = work.entry(member)
    return MemberIntent(member.clerk_user_id, entry.user_id if entry else member.twenty_user_id, member.email)


async def _give_up(work: Work, intents: Sequence[MemberIntent]) -> None:
    """Who was refused is outside, and may be let in by somebody else; who was invited may still come by our doing."""
    linked = {link.clerk_user_id for link in work.links}
    invited = {finding.person for finding in work.findings if finding.reason is Reason.INVITED}
    refused = [intent for intent in intents if intent.clerk_user_id not in linked and intent.email not in invited]
    outside = [intent for intent in refused if work.roster.of(intent.twenty_user_id, intent.email) is None]
    await work.scope.members.give_up([(work.scope.database_name, intent.clerk_user_id) for intent in outside])


async def _check_roles(work: Work, members: Sequence[MemberPlan]) -> None:
    """Whoever has another role than they are to have, by what the database says now, is told: nothing is ready then."""
    if not members:
        return
    work.roster = await work.scope.server.database.records.roster(work.door.workspace_id)
    told = {finding.person for finding in work.findings}
    for member in members:
        entry = work.entry(member)
        if entry is None or entry.role == member.role or member.email in told:
            continue
        if member.email not in work.joined and not _ROLE_CHANGES & set(member.changes):
            # who is to keep the role that they have
            continue
        fault = Fault(
            FaultKind.TENANT,
            Reason.ROLE_DIFFERS,
            f"they are to have the role {member.role} and have {entry.role or 'none'}: somebody changed it while the "
            "run was at it. The next run sets it.",
        )
        work.findings.append(finding_about(work.scope, member, fault))
