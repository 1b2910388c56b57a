"""The step backfill_members: every Clerk member is the right member of the workspace, and who left is out of it.

Everything goes through Twenty's own calls and without an e-mail. Each change is compared with what is there now, so
that a run that was killed anywhere is simply done again.
"""

from provisioning_pipeline.act.members.at_clerk import store_at_clerk
from provisioning_pipeline.act.members.joining import close_invite_link, join_all
from provisioning_pipeline.act.members.leaving import LEAVING, leave
from provisioning_pipeline.act.members.settling import settle
from provisioning_pipeline.act.members.work import Work, guarded
from provisioning_pipeline.act.scope import Scope, open_door
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.decide.plan_members import synced


async def backfill_members(scope: Scope) -> None:
    """Add, link, name and give roles; then take away what was decided; then settle MembersSynced.

    Raises:
        Fault: when the server, not one person, is the trouble. What one person meets becomes a finding.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    door = scope.door = await open_door(scope, link)
    if link.invite_link_opened:
        await close_invite_link(scope, door)
    work = Work(scope, door, await scope.server.database.roster(door.workspace_id), list(scope.plan.findings))
    staying = [member for member in scope.plan.members if not LEAVING & set(member.changes)]
    await join_all(work, staying)
    try:
        await all_of(settle(work, member) for member in staying)
    finally:
        # also when one person's call failed for good: who was settled needs no second look
        await scope.members.store(scope.client.name, scope.database_name, work.links, scope.run_id)
    await store_at_clerk(work, staying)
    for member in scope.plan.members:
        if LEAVING & set(member.changes):
            await guarded(work, member, leave(work, member))
    scope.set(synced(work.findings))
