"""The step backfill_members: every Clerk member is the right member of the workspace, and who left is out of it."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.clients.twenty.members import Roster, RosterEntry
from provisioning_pipeline.ledger.ledger import Link
from provisioning_pipeline.ledger.members import MemberIntent, MemberLink
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import ADMIN_ROLE, Origin
from provisioning_pipeline.model.tenant import Admin, Finding, MemberPlan, Withdrawal
from provisioning_pipeline.steps.account_ownership import refused, unproved
from provisioning_pipeline.steps.members.act.following import follow_email
from provisioning_pipeline.steps.members.act.joining import (
    Work,
    about_person,
    close,
    finding_about,
    give_back,
    guarded,
    join_all,
    renew,
    restorable,
    restore,
)
from provisioning_pipeline.steps.members.act.leaving import (
    leave,
    must_leave_an_admin,
    must_still_be_gone,
    must_still_be_lowered,
)
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DEMOTE_MEMBER,
    ENTERING,
    FOLLOW_EMAIL,
    GIVING,
    LEAVING,
    LINK_MEMBER,
    MEND_MEMBER,
    SET_NAME,
    SET_ROLE,
    STORE_AT_CLERK,
    WITHDRAW_INVITATION,
)
from provisioning_pipeline.steps.members.plan.tenant_members import synced
from provisioning_pipeline.steps.scope import AtClerk, Scope, workspace_address


async def put_right(scope: Scope, link: Link, address: WorkspaceAddress) -> Roster:
    """Mend our own account's record, give a lent default role back, turn an invite link off; who belongs there then.

    Raises:
        Fault: when that cannot be done; nothing else can be done in the workspace then.
    """
    roster = await _with_our_account(scope, address)
    if link.default_role_before:
        await give_back(scope, address, link.default_role_before)
    if link.invite_link_opened:
        await close(scope, address)
    return roster


async def _with_our_account(scope: Scope, address: WorkspaceAddress) -> Roster:
    """Without a record our account comes in nowhere, and no one else could give it its role back after a join."""
    records = scope.server.database.records
    roster = await records.roster(address.workspace_id)
    entries = [roster.of(user_id, "") for user_id in await scope.server.service_user_ids()]
    half = [entry for entry in entries if entry is not None and entry.workspace_member_id is None]
    for entry in half:
        record = restorable(roster, entry)
        if record is not None:
            await restore(scope, address, entry.email, record)
            continue
        first, _, last = scope.settings.service_member_name.partition(" ")
        async with scope.change(MEND_MEMBER, f"{entry.email}: its missing member record made by SQL"):
            await records.insert(address.workspace_id, entry, first, last)
    return await records.roster(address.workspace_id) if half else roster


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
            await scope.client.set_name(work.address, record_id, member.first_name, member.last_name)
    if LINK_MEMBER in member.changes:
        async with scope.change(LINK_MEMBER, f"{member.email} to {entry.user_id}{_succession(member)}"):
            pass
    email = entry.email
    if FOLLOW_EMAIL in member.changes:
        email = await follow_email(work, member, entry, await _at_clerk(scope, [member]))
    if member.clerk_user_id is None:
        if ADD_MEMBER in member.changes:
            await scope.members.store_taken_over(scope.database_name, entry.user_id, entry.email, scope.run_id)
        return
    if not {ADD_MEMBER, LINK_MEMBER, SET_NAME, FOLLOW_EMAIL} & set(member.changes):
        # also a member gone who was only lowered: the account may be linked to another by now
        return
    work.links.append(MemberLink(member.clerk_user_id, entry.user_id, email, member.first_name, member.last_name))


def _succession(member: MemberPlan) -> str:
    """Who had the account before them, for the timeline."""
    if member.succeeds is None:
        return ""
    return (
        f", the account of {member.succeeds}, who was deleted at Clerk and made anew as {member.clerk_user_id}: the "
        "data are the same, the role is that of the new membership; whether logins and API keys from before still "
        "work cannot be told"
    )


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
    role = await scope.client.role_id(work.address, member.role)
    async with scope.change(change, f"{member.email}: {entry.role or 'no role'} → {member.role}{why}"):
        await scope.client.set_role(work.address, record_id, role)


async def _is_unproved(work: Work, member: MemberPlan, entry: RosterEntry) -> bool:
    """Whether they keep the role that they have, and are reported: their account need not be theirs."""
    evidence = await unproved(work.scope, entry.user_id, member.clerk_user_id)
    if evidence is None:
        return False
    has = f"the role {entry.role}" if entry.role else "no role"
    fault = refused(work.scope, evidence, f"They keep {has}, although Clerk's makes them {member.role}.")
    work.findings.append(Finding(fault.reason, evidence.email, fault.message, blocks=False))
    return True


async def withdraw_all(work: Work) -> None:
    """Withdraw what the plan says. A fault of one address becomes a finding; a server's is raised."""
    planned = work.scope.plan.withdrawals
    wanted = await still_invited(work.scope, [withdrawal.email for withdrawal in planned if withdrawal.departed])
    # whose address is an active member's again may come in by it after all; the next run looks again
    await all_of(_withdraw(work, withdrawal) for withdrawal in planned if withdrawal.email not in wanted)


async def _withdraw(work: Work, withdrawal: Withdrawal) -> None:
    scope, email = work.scope, withdrawal.email
    try:
        async with scope.change(WITHDRAW_INVITATION, f"{email}: {withdrawal.why}"):
            await scope.client.withdraw_invitations(work.address, email)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        work.findings.append(Finding(fault.reason, email, about_person(scope, fault, email)))


_ROLE_CHANGES = frozenset({ADD_MEMBER, SET_ROLE, DEMOTE_MEMBER})


async def backfill_members(scope: Scope) -> None:
    """Withdraw invitations; add, link, name and give roles; then take away what was decided; then settle MembersSynced.

    Raises:
        Fault: when the server, not one person, is the trouble. What one person meets becomes a finding.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    address = scope.address = await workspace_address(scope, link)
    work = Work(scope, address, await put_right(scope, link, address), list(scope.plan.findings))
    staying = [member for member in scope.plan.members if not LEAVING & set(member.changes)]
    staying = await who_may_enter(work, staying)
    await withdraw_all(work)
    intents = [intent for member in staying if (intent := _intent(work, member))]
    await scope.members.begin(scope.database_name, intents, scope.run_id)
    await join_all(work, staying)
    try:
        await all_of(settle(work, member) for member in staying)
    finally:
        # also when one person's call failed for good: those who were settled are not settled again
        await scope.accounts.store(scope.client.name, work.made, scope.run_id)
        await scope.members.store(scope.client.name, scope.database_name, work.links, scope.run_id)
    await _give_up(work, intents)
    await _check_roles(work, staying)
    await store_at_clerk(work, staying)
    for member in scope.plan.members:
        if LEAVING & set(member.changes):
            await guarded(work, member, leave(work, member))
    await _forget_left(work)
    scope.set(synced(work.findings))


async def _forget_left(work: Work) -> None:
    """Renew the invite link, which those who left could read, then drop our links to them.

    In this order, so that a run that was killed in between is followed by one that renews it. An account that is
    another person's by now has left nothing.
    """
    scope = work.scope
    if scope.settings.renew_invite_link == "removals" and any(member.why for member in work.left):
        await renew(scope, work.address, "who left could read it")
    users = [member.clerk_user_id for member in work.left if member.clerk_user_id is not None]
    if users:
        await scope.members.drop(scope.database_name, users)


def _intent(work: Work, member: MemberPlan) -> MemberIntent | None:
    """Who is about to be let in, or raised, without a link: from then on they can be missed, wherever the run ends."""
    if member.clerk_user_id is None or not ENTERING & set(member.changes):
        return None
    entry = work.entry(member)
    return MemberIntent(member.clerk_user_id, entry.user_id if entry else member.twenty_user_id, member.email)


async def _give_up(work: Work, intents: Sequence[MemberIntent]) -> None:
    """Give up the intents of people who were refused and are outside; invited people may still come by our doing."""
    linked = {link.clerk_user_id for link in work.links}
    invited = {finding.person for finding in work.findings if finding.reason is Reason.INVITED}
    refused = [intent for intent in intents if intent.clerk_user_id not in linked and intent.email not in invited]
    outside = [intent for intent in refused if work.roster.of(intent.twenty_user_id, intent.email) is None]
    await work.scope.members.give_up([(work.scope.database_name, intent.clerk_user_id) for intent in outside])


async def _check_roles(work: Work, members: Sequence[MemberPlan]) -> None:
    """Report every member whose role, by what the database says now, is not the planned one: nothing is ready then."""
    if not members:
        return
    work.roster = await work.scope.server.database.records.roster(work.address.workspace_id)
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
            f"they are to have the role {member.role} and have {entry.role or 'none'}: it was changed while the "
            "run was at it. The next run sets it.",
        )
        work.findings.append(finding_about(work.scope, member, fault))


# --- asking Clerk right before something is given ---------------------------------------------------------------------

_GOOD_SECONDS = 30.0
"""So long an answer serves the steps that give something; before something is taken away Clerk is asked each time."""


async def who_may_enter(work: Work, members: Sequence[MemberPlan]) -> list[MemberPlan]:
    """Those of these members who are still to get what is planned, with the role that is theirs by now."""
    known = await _at_clerk(work.scope, [m for m in members if m.clerk_user_id and GIVING & set(m.changes)])
    if known is None:
        return list(members)
    return [kept for member in members if (kept := _as_of_now(work, member, known)) is not None]


def _as_of_now(work: Work, member: MemberPlan, known: AtClerk) -> MemberPlan | None:
    user, changes = member.clerk_user_id, set(member.changes)
    if user is None or not GIVING & changes:
        return member
    role = known.role(user)
    moved = member.twenty_user_id is None and user in known.emails and known.emails[user] != member.email
    if role is not None and not moved:
        if DEMOTE_MEMBER in changes:
            # checked once more right before it
            return member
        return replace(member, role=work.scope.role_of(role))
    if work.entry(member) is not None or moved:
        what = (
            "is no active member at Clerk any more" if role is None else "has another verified e-mail at Clerk by now"
        )
        fault = Fault(
            FaultKind.TENANT, Reason.WAITING, f"{member.email} {what}, since the run planned. The next run looks."
        )
        told = about_person(work.scope, fault, member.email, member.first_name, member.last_name)
        work.findings.append(Finding(fault.reason, member.email, told))
    return None


async def must_still_be_admin(scope: Scope, admin: Admin) -> None:
    """Raise when Clerk does not name them as admin any more.

    Raises:
        Fault: ADMIN_UNKNOWN, of kind TENANT.
    """
    user = admin.clerk_user_id
    if user is None:
        return
    planned = [member for member in scope.plan.members if member.clerk_user_id and GIVING & set(member.changes)]
    this = MemberPlan(user, admin.email, admin.first_name, admin.last_name, ADMIN_ROLE, None, (ADD_MEMBER,))
    known = await _at_clerk(scope, [this, *planned])
    if known is None:
        return
    role = known.role(user)
    if role is None or scope.role_of(role) != ADMIN_ROLE:
        now = f"has the role {role}" if role else "is no active member"
        raise Fault(
            FaultKind.TENANT,
            Reason.ADMIN_UNKNOWN,
            f"{admin.email} {now} in Clerk organization {scope.plan.tenant.clerk_org_id} by now, so they are not made "
            "the admin of this workspace. The next run chooses anew.",
        )


async def still_invited(scope: Scope, emails: Sequence[str]) -> frozenset[str]:
    """Those of these addresses that an active member of the organization has by now, verified; else none is known."""
    organization = scope.plan.tenant.clerk_org_id
    if organization is None or not emails:
        return frozenset()
    try:
        walk = await scope.clerk.organization_memberships(organization)
        users = await scope.clerk.some_users([row[1] for row in walk.rows])
    except Fault:
        return frozenset(emails)
    return frozenset(email for _, email, _, _, banned, _ in users.rows if email in set(emails) and not banned)


async def _at_clerk(scope: Scope, members: Sequence[MemberPlan]) -> AtClerk | None:
    """What Clerk says of these people now, or said to a step a moment ago; None when it gives no whole answer."""
    organization = scope.plan.tenant.clerk_org_id
    if organization is None or not members:
        return None
    wanted = {member.clerk_user_id for member in members if member.clerk_user_id}
    known = scope.at_clerk
    if known is None or not wanted <= known.asked or time.monotonic() - known.asked_at > _GOOD_SECONDS:
        asked_at = time.monotonic()
        try:
            walk = await scope.clerk.organization_memberships(organization)
            users = await scope.clerk.some_users(sorted(wanted))
        except Fault:
            return None
        if walk.doubt or users.doubt:
            return None
        scope.at_clerk = AtClerk(
            asked=frozenset(wanted),
            roles={user: role for _, user, role, _ in walk.rows},
            emails={user: email for user, email, *_ in users.rows},
            banned=frozenset(user for user, _, _, _, banned, _ in users.rows if banned),
            asked_at=asked_at,
        )
    return scope.at_clerk


async def store_at_clerk(work: Work, members: Sequence[MemberPlan]) -> None:
    """The workspace id at the organization, and user ids at users where policy says so. Each was compared before."""
    scope = work.scope
    organization = scope.plan.store_organization
    if organization:
        workspace_id = work.address.workspace_id
        store = partial(scope.clerk.store_workspace_id, organization, workspace_id)
        await _written(work, organization, f"workspace {workspace_id} of organization {organization}", store)
    for member in members:
        entry = work.entry(member)
        if STORE_AT_CLERK not in member.changes or member.clerk_user_id is None:
            continue
        if entry is not None and entry.workspace_member_id is not None:
            store = partial(scope.clerk.store_external_id, member.clerk_user_id, entry.user_id)
            await _written(work, member.email, f"external_id {entry.user_id} of {member.email}", store)


async def _written(work: Work, person: str, detail: str, store: Callable[[], Awaitable[None]]) -> None:
    """Trouble with writing at Clerk is reported, and never keeps a member out of their workspace."""
    try:
        async with work.scope.change(STORE_AT_CLERK, detail):
            await store()
    except Fault as fault:
        work.findings.append(Finding(fault.reason, person, fault.message))
