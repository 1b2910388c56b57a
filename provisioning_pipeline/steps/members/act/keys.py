"""API keys that somebody who is removed may have made. An API key outlives its maker, and Twenty does not record who
that was: neither its table nor its API says so (2.21 to 2.43)."""

from provisioning_pipeline.clients.twenty.accounts import ApiKey
from provisioning_pipeline.clients.twenty.roster import RosterEntry
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.steps.members.act.work import Work
from provisioning_pipeline.steps.members.changes import DEMOTE_MEMBER, REVOKE_API_KEY

_MOST_NAMED = 5


async def see_to_api_keys(work: Work, member: MemberPlan, entry: RosterEntry) -> str:
    """The same as `_see_to`; what Twenty refuses about keys keeps nobody in the workspace."""
    try:
        return await _see_to(work, member, entry)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        return f"its API keys were not seen to: {fault.message}"


async def _see_to(work: Work, member: MemberPlan, entry: RosterEntry) -> str:
    """Report the keys that this person may have made, or revoke them where policy says so; told as a clause.

    These are the workspace's living keys that were made since they became a member, if they have or had another role
    than the default one: whoever has no more than that makes no keys. They may be somebody else's.

    It comes before the removal, so that a run that is killed in between does it again.
    """
    scope, door = work.scope, work.door
    if entry.role in (None, member.role) and not await scope.members.was_demoted(
        DEMOTE_MEMBER, scope.database_name, entry.email
    ):
        return "no API key can be theirs by their role"
    since = await scope.server.database.member_since(door.workspace_id, entry.user_id)
    keys = [key for key in await scope.client.api_keys(door) if since is None or key.created_at >= since]
    if not keys:
        return "no living API key was made since they became a member"
    if not scope.revokes_api_keys:
        return (
            f"{_counted(keys)} made since they became a member, by whom Twenty does not record, still "
            f"{'work' if len(keys) > 1 else 'works'}: {_named(keys)}"
        )
    for key in keys:
        async with scope.change(REVOKE_API_KEY, f"{key.name}, made {key.created_at:%Y-%m-%d %H:%M} UTC"):
            await scope.client.revoke_api_key(door, key.id)
    return f"{_counted(keys)} made since they became a member, by whom Twenty does not record, revoked: {_named(keys)}"


def _counted(keys: list[ApiKey]) -> str:
    return "1 API key" if len(keys) == 1 else f"{len(keys)} API keys"


def _named(keys: list[ApiKey]) -> str:
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return ", ".join(f"{key.name} ({key.created_at:%Y-%m-%d})" for key in keys[:_MOST_NAMED]) + more
