"""Taking out who left at Clerk, and the proof that Twenty refuses them."""

import time
from datetime import UTC, datetime

from provisioning_pipeline.clients.twenty.accounts import Account, Renewal, Token, WorkspaceAddress
from provisioning_pipeline.clients.twenty.members import RosterEntry
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.people import ADMIN_ROLE, Departure
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.steps.members.act.joining import Work
from provisioning_pipeline.steps.members.changes import (
    DEMOTE_MEMBER,
    DROP_LINK,
    REMOVE_MEMBER,
    REVOKE_API_KEY,
)
from provisioning_pipeline.steps.scope import Scope

_MOST_NAMED = 5


async def _see_to_api_keys(work: Work, member: MemberPlan, entry: RosterEntry) -> str:
    """Report the keys that this person may have made, or revoke them where policy says so; told as a clause.

    It begins with what is certain: `revoked`, `none`, or `cannot be told`, which is a finding, too.

    These are the workspace's living keys that were made since they became a member, if they have or had another role
    than the default one: with no more than that a member makes no keys. They may be another member's.

    It comes before the removal, so that a run that is killed in between does it again.
    """
    scope, address = work.scope, work.address
    if entry.role in (None, member.role) and not await scope.members.was_demoted(
        DEMOTE_MEMBER, scope.database_name, entry.email
    ):
        return "API keys: none can be theirs by their role"
    since = await scope.server.database.member_since(address.workspace_id, entry.user_id)
    keys = [key for key in await scope.client.api_keys(address) if since is None or key.created_at >= since]
    if not keys:
        return "API keys: none that works was made since they became a member"
    count = "1 API key" if len(keys) == 1 else f"{len(keys)} API keys"
    made = f"{count} made since they became a member (Twenty does not record by which member)"
    named = first_few([f"{key.name} ({key.created_at:%Y-%m-%d})" for key in keys], _MOST_NAMED)
    if scope.settings.members_gone_api_keys != "revoke":
        told = f"cannot be told: {made} still {'work' if len(keys) > 1 else 'works'}: {named}"
        advice = "Revoke them in Twenty (Settings > APIs & Webhooks), or set PROVISIONING_MEMBERS_GONE_API_KEYS=revoke."
        message = f"Whether {member.email}, who was removed, still comes in by an API key {told}. {advice}"
        work.findings.append(Finding(Reason.API_KEYS_UNCERTAIN, member.email, message, blocks=False))
        return f"API keys: {told}"
    for key in keys:
        async with scope.change(REVOKE_API_KEY, f"{key.name}, made {key.created_at:%Y-%m-%d %H:%M} UTC"):
            await scope.client.revoke_api_key(address, key.id)
    return f"API keys: revoked: {made}: {named}"


async def leave(work: Work, member: MemberPlan) -> None:
    """Take one person out of the workspace, as their plan says; `backfill_members` forgets our link to them.

    Raises:
        Fault: classified; among others LAST_ADMIN_KEPT, HALF_MEMBER, and REMOVAL_NOT_PROVED when Twenty still lets
            them in. The link stays then, so that the next run sees to it.
    """
    scope = work.scope
    entry = work.entry(member)
    if REMOVE_MEMBER in member.changes and entry is not None:
        must_leave_an_admin(work, member)
        await _remove(work, member, entry)
    if DROP_LINK in member.changes:
        if member.why:
            await must_still_be_gone(scope, member)
        async with scope.change(DROP_LINK, member.why or member.email) as learnt:
            if member.why:
                account = await scope.account(member.email, member.twenty_user_id)
                await prove_out(scope, account, work.address, None)
                learnt.append(
                    "a new login is refused; sessions and API keys from before: cannot be told, since they were "
                    "removed in Twenty"
                )
    work.left.append(member)


async def _remove(work: Work, member: MemberPlan, entry: RosterEntry) -> None:
    """Remove them and prove it: their token from before and a new login are both refused."""
    scope, address = work.scope, work.address
    account = await scope.account(entry.email, entry.user_id)
    if entry.workspace_member_id is None:
        await must_still_be_gone(scope, member)
        keys = await _keys_in_words(work, member, entry)
        # Twenty does not remove a member without a record; we end the membership as Twenty ends it itself
        async with scope.change(REMOVE_MEMBER, member.why) as learnt:
            await scope.client.withdraw_invitations(address, entry.email)
            await scope.server.database.records.retire_membership(address.workspace_id, entry.user_id)
            await prove_out(scope, account, address, None)
            learnt += [
                "they had no member record: their membership was ended by SQL, and a new login is refused",
                "sessions: cannot be told, since no login of theirs could be opened before",
                keys,
            ]
        return
    token = await token_before(scope, account, address)
    await must_still_be_gone(scope, member)
    keys = await _keys_in_words(work, member, entry)
    async with scope.change(REMOVE_MEMBER, member.why) as learnt:
        # an open invitation would let them in again at their next login
        await scope.client.withdraw_invitations(address, entry.email)
        if entry.role is None:
            # Twenty does not remove a member without a role
            await scope.client.set_role(
                address, entry.workspace_member_id, await scope.client.role_id(address, member.role)
            )
        begun = time.perf_counter()
        async with scope.server.joining(entry.email):
            # who joins another workspace meanwhile keeps their account
            await scope.client.remove_member(address, entry.workspace_member_id)
        renewal = await prove_out(scope, account, address, token)
        proof = f"{_sessions_in_words(token, renewal)} {time.perf_counter() - begun:.1f} s after the removal"
        if member.changed_at is not None:
            proof += f", {datetime.now(UTC).timestamp() - member.changed_at / 1000:.1f} s after the change at Clerk"
        learnt += [proof, keys]


async def _keys_in_words(work: Work, member: MemberPlan, entry: RosterEntry) -> str:
    """The clause of `_see_to_api_keys`: what Twenty refuses about keys keeps no member in the workspace."""
    try:
        return await _see_to_api_keys(work, member, entry)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        told = f"cannot be told: {fault.message}"
        message = f"Whether {member.email}, who was removed, still comes in by an API key {told}"
        work.findings.append(Finding(Reason.API_KEYS_UNCERTAIN, member.email, message, blocks=False))
        return f"API keys: {told}"


def _sessions_in_words(token: Token | None, renewal: Renewal) -> str:
    """What was refused, and what cannot be told, as a clause to go before a time."""
    if token is None:
        return f"proved for logins; sessions: cannot be told, since {renewal.why}; new login refused"
    if renewal.refused:
        return "proved for sessions and logins: access token and refresh token from before, and new login, refused"
    return (
        "proved for access tokens and logins; whether an open session can be renewed: cannot be told, since "
        f"{renewal.why}; access token from before and new login refused"
    )


async def prove_out(scope: Scope, account: Account, address: WorkspaceAddress, token: Token | None) -> Renewal:
    """Prove that Twenty refuses this account's token from before, if there is one, a new login, and a renewal.

    Raises:
        Fault: REMOVAL_NOT_PROVED.
    """
    still = await scope.client.lets_in(account, address, token)
    scope.client.forget(account, address)
    renewal = await scope.client.renewal(token)
    if still is None and renewal.refused is False:
        still = renewal.why
    if still is not None:
        raise Fault(
            FaultKind.TENANT,
            Reason.REMOVAL_NOT_PROVED,
            f"{account.email} is no member of workspace {address.workspace_id} any more, but {still}. Look at it now.",
        )
    return renewal


async def token_before(scope: Scope, account: Account, address: WorkspaceAddress) -> Token | None:
    """A token of theirs from before the removal; None when they cannot sign in anyway."""
    try:
        return await scope.client.member_token(account, address)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        return None


def must_leave_an_admin(work: Work, member: MemberPlan) -> None:
    """The last check before something is taken away; deciding has seen to it already."""
    leaving = {other.twenty_user_id for other in work.scope.plan.members if other.harmful_changes}
    others = [
        entry
        for entry in work.roster.members
        if entry.role == ADMIN_ROLE
        and entry.user_id not in leaving
        and entry.email != work.scope.client.service_account.email
    ]
    entry = work.entry(member)
    if not others and entry is not None and entry.role == ADMIN_ROLE:
        raise Fault(
            FaultKind.TENANT,
            Reason.LAST_ADMIN_KEPT,
            f"{member.email} keeps the role Admin, since no other admin is left in {work.address.workspace_id}. "
            "Make another member admin at Clerk; the next run goes on.",
        )


# --- asking Clerk right before ---------------------------------------------------------------------------------------


async def must_still_be_gone(scope: Scope, member: MemberPlan) -> None:
    """Raise unless Clerk says at this moment that they are no active member.

    Raises:
        Fault: of kind TENANT, with why they keep what they have.
    """
    organization = scope.plan.tenant.clerk_org_id
    if organization is None or member.clerk_user_id is None:
        return
    try:
        found = await scope.clerk.standing(organization, member.clerk_user_id)
    except Fault as fault:
        raise _keeps(member, fault.reason, f"Clerk cannot be asked again about them: {fault.message}") from None
    if isinstance(found, Departure):
        return
    why = (
        f"they are an active member of {organization} again" if found else "Clerk does not say for certain who they are"
    )
    raise _keeps(member, Reason.WAITING, f"{why}.")


async def must_still_be_lowered(scope: Scope, member: MemberPlan) -> None:
    """Raise when their role at Clerk makes them Admin by now, or Clerk does not say which it is.

    Raises:
        Fault: of kind TENANT, with why they keep what they have.
    """
    organization = scope.plan.tenant.clerk_org_id
    if organization is None or member.clerk_user_id is None:
        return
    try:
        walk = await scope.clerk.organization_memberships(organization)
    except Fault as fault:
        raise _keeps(member, fault.reason, f"Clerk cannot be asked again about them: {fault.message}") from None
    if walk.doubt:
        raise _keeps(member, Reason.CLERK_READ_INCOMPLETE, walk.doubt)
    role = next((role for _, user, role, _ in walk.rows if user == member.clerk_user_id), None)
    if role is not None and scope.role_of(role) == ADMIN_ROLE:
        raise _keeps(member, Reason.WAITING, f"their role at Clerk is {role} by now.")


def _keeps(member: MemberPlan, reason: Reason, why: str) -> Fault:
    told = f"{member.email} keeps what was to be taken from them: {why} The next run plans anew."
    return Fault(FaultKind.TENANT, reason, told)
