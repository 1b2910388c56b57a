"""What an earlier run left in a workspace or somebody broke there, and all other work needs: done before it."""

from provisioning_pipeline.clients.twenty.accounts import Door
from provisioning_pipeline.clients.twenty.roster import Roster
from provisioning_pipeline.ledger.ledger import Link
from provisioning_pipeline.steps.members.act.default_role import give_back
from provisioning_pipeline.steps.members.act.entering import restorable, restore
from provisioning_pipeline.steps.members.act.invite_links import close
from provisioning_pipeline.steps.members.changes import MEND_MEMBER
from provisioning_pipeline.steps.scope import Scope


async def put_right(scope: Scope, link: Link, door: Door) -> Roster:
    """Mend our own account's record, give a lent default role back, turn an invite link off; who belongs there then.

    Raises:
        Fault: when that cannot be done; nothing else can be done in the workspace then.
    """
    roster = await _with_our_account(scope, door)
    if link.default_role_before:
        await give_back(scope, door, link.default_role_before)
    if link.invite_link_opened:
        await close(scope, door)
    return roster


async def _with_our_account(scope: Scope, door: Door) -> Roster:
    """Without a record our account comes in nowhere, and nobody else could give it its role back after a join."""
    records = scope.server.database.records
    roster = await records.roster(door.workspace_id)
    entries = [roster.of(user_id, "") for user_id in await scope.server.service_user_ids()]
    half = [entry for entry in entries if entry is not None and entry.workspace_member_id is None]
    for entry in half:
        record = restorable(roster, entry)
        if record is not None:
            await restore(scope, door, entry.email, record)
            continue
        first, _, last = scope.service_member_name.partition(" ")
        async with scope.change(MEND_MEMBER, f"{entry.email}: its missing member record made by SQL"):
            await records.insert(door.workspace_id, entry, first, last)
    return await records.roster(door.workspace_id) if half else roster
