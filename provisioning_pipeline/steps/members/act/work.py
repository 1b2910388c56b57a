"""One tenant's members while they are worked on, and what Clerk says of them right before."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.clients.twenty.members import Roster, RosterEntry
from provisioning_pipeline.ledger.members import MemberLink
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import ADMIN_ROLE, Departure, Origin
from provisioning_pipeline.model.tenant import Admin, Finding, MemberPlan
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, DEMOTE_MEMBER, GIVING, STORE_AT_CLERK
from provisioning_pipeline.steps.scope import AtClerk, Scope


@dataclass
class Work:
    """One tenant's members being worked on. `findings` grow with what is met on the way."""

    scope: Scope
    address: WorkspaceAddress
    roster: Roster
    findings: list[Finding]
    links: list[MemberLink] = field(default_factory=list)
    joined: set[str] = field(default_factory=set)
    """E-mails of those who joined just now, and so have the workspace's default role."""

    left: list[MemberPlan] = field(default_factory=list)
    """Who is out of the workspace, of those who were to leave it."""

    made: list[tuple[str, Origin]] = field(default_factory=list)
    """Accounts that came in by our password."""

    def entry(self, member: MemberPlan) -> RosterEntry | None:
        return self.roster.of(member.twenty_user_id, member.email)


async def guarded(work: Work, member: MemberPlan, doing: Coroutine[Any, Any, None]) -> None:
    """A fault of one person is a finding; a server's is raised."""
    try:
        await doing
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        work.findings.append(finding_about(work.scope, member, fault))


def finding_about(scope: Scope, member: MemberPlan, fault: Fault) -> Finding:
    """What befell one person: who and where, what happened, and what to do about it.

    A person that only the tenant's own database names never makes it not ready: any address may stand there.
    """
    told = about_person(scope, fault, member.email, member.first_name, member.last_name)
    return Finding(fault.reason, member.email, told, blocks=member.clerk_user_id is not None)


def about_person(scope: Scope, fault: Fault, email: str, first_name: str = "", last_name: str = "") -> str:
    """A refusal that is about one person, with who that is, in whose workspace, and what to do."""
    name = f"{first_name} {last_name}".strip()
    who = f"{name} ({email})" if name else email
    told = f"{who} in the workspace of {scope.plan.tenant.slug}: {fault.message}"
    if fault.reason is Reason.REFUSED_BY_TWENTY and _NO_ADDRESS in fault.message:
        return f"{told} Correct the address at Clerk."
    return told


_NO_ADDRESS = "must be an email"
"""What Twenty says of an address that is none to it (measured on 2.21.0)."""


_GOOD_SECONDS = 30.0
"""So long an answer serves the steps that give something; before something is taken away Clerk is asked each time."""


# --- before something is taken away -------------------------------------------------------------------------------


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


# --- before something is given ------------------------------------------------------------------------------------


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
            # looked at once more right before it
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
