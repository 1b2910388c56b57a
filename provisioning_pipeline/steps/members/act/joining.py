"""One tenant's members while they are worked on; and how they come in without an e-mail.

They join by the workspace's invite link and a password that we derive.
"""

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.accounts import Account, WorkspaceAddress
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_unknown_user
from provisioning_pipeline.clients.twenty.members import MemberRecord, Roster, RosterEntry
from provisioning_pipeline.ledger.members import MemberLink
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import ADMIN_ROLE, Origin
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.steps.account_ownership import refused, unproved
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    CLOSE_INVITE_LINK,
    DEMOTE_MEMBER,
    INVITE_MEMBER,
    LINK_MEMBER,
    MEND_MEMBER,
    RENEW_INVITE_LINK,
    RESTORE_DEFAULT_ROLE,
)
from provisioning_pipeline.steps.scope import Scope


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
        """Their membership; who joined just now may have a new account, their earlier one being gone meanwhile."""
        joined = member.email in self.joined
        return self.roster.of(member.twenty_user_id, member.email) or (
            self.roster.of(None, member.email) if joined else None
        )


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


# --- joining ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def joining_as(scope: Scope, address: WorkspaceAddress, role: str) -> AsyncIterator[None]:
    """Members who join meanwhile get this role at once, or less where it is Admin: a promotion comes after the join.

    Twenty gives a new member the workspace's default role, whatever its customer made of it. Another is lent only
    where they differ, and written down first, so that a crash leaves it lent for no longer than until the next run.

    Raises:
        Fault: ROLE_UNKNOWN when the workspace has no such role; no member joins then.
    """
    default = await scope.server.database.default_role(address.workspace_id)
    if default is None or default.label == role:
        yield
        return
    wanted = await scope.client.role_id(address, role)
    if role == ADMIN_ROLE:
        yield
        return
    own = await scope.members.lend_default_role(scope.database_name, default.id)
    await scope.client.set_default_role(address, wanted)
    try:
        yield
    finally:
        await give_back(scope, address, own, lent=wanted)


async def give_back(scope: Scope, address: WorkspaceAddress, own: str, *, lent: str | None = None) -> None:
    """Make the workspace's own default role its default again, and forget that another was lent.

    We leave alone a default that was set since, where it is known which one was `lent`, and never set a role that is no
    longer there.
    """
    now = await scope.server.database.default_role(address.workspace_id)
    theirs = lent is not None and (now is None or now.id != lent)
    labels = {role_id: label for label, role_id in (await scope.client.roles(address)).items()}
    if (now is None or now.id != own) and not theirs and own in labels:
        async with scope.change(RESTORE_DEFAULT_ROLE, f"{labels[own]}, of workspace {address.workspace_id}"):
            await scope.client.set_default_role(address, own)
    await scope.members.default_role_is_back(scope.database_name)


_MOST_RETIRED = 3
"""Joins within a day that each left a membership without a record: after so many none is tried."""
_NOTHING_MADE = frozenset({Reason.FOREIGN_PASSWORD, Reason.INVITE_LINK_DISABLED})
"""Refusals of a join before anything is written."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A person who is to be a whole member.

    Args:
        email: of their account, lower case.
        first_name, last_name: for a record that is made by SQL; a join makes one without a name.
        change: what the join is recorded as, with what detail.
    """

    email: str
    twenty_user_id: str | None
    first_name: str
    last_name: str
    change: Change
    detail: str


def restorable(roster: Roster, entry: RosterEntry | None) -> MemberRecord | None:
    """The record that is only marked as deleted, of a person who has a membership and no living record."""
    if entry is None or entry.workspace_member_id is not None:
        return None
    return roster.deleted_of({entry.user_id})


async def restore(scope: Scope, address: WorkspaceAddress, email: str, record: MemberRecord) -> None:
    """Take the mark of deletion off a person's own record, so that they come in again with the role that they have."""
    async with scope.change(MEND_MEMBER, f"{email}: record {record.id} was marked as deleted, the mark is off"):
        await scope.server.database.records.restore(address.workspace_id, record)


async def enter(scope: Scope, address: WorkspaceAddress, roster: Roster, newcomer: Newcomer, invite_hash: str) -> bool:
    """Make a whole member of a person who lacks the membership, the record or both. Nothing that must fail is tried.

    Returns:
        Whether they joined, and so have the workspace's default role; otherwise they have the role of before.

    Raises:
        Fault: HALF_MEMBER when another account's record has their e-mail; FOREIGN_PASSWORD when they have a password
            of their own and no membership; ACCOUNT_AMBIGUOUS when their account has another spelling.
    """
    records, email = scope.server.database.records, newcomer.email
    accounts = await scope.server.database.user_ids(email)
    own = {*accounts, *([newcomer.twenty_user_id] if newcomer.twenty_user_id else [])}
    _must_not_be_blocked(roster, newcomer, own)
    await _must_have_that_email(scope, newcomer, accounts)
    account = await scope.account(email, newcomer.twenty_user_id or (accounts[0] if len(accounts) == 1 else None))
    entry = roster.of(newcomer.twenty_user_id, email)
    if accounts:
        # there is such an account: a wrong password is found out before anything is sent
        try:
            await _check_password(scope, account)
        except Fault as fault:
            if fault.reason is not Reason.FOREIGN_PASSWORD or entry is None:
                raise
            await _insert(scope, address, entry, newcomer)
            return False
    await _must_not_be_tried_again(scope, address, email, own)
    deleted = roster.deleted_of(own)
    if deleted is not None:
        await restore(scope, address, email, deleted)
    if entry is not None:
        async with scope.change(MEND_MEMBER, f"{email}, who had no member record"):
            await records.retire_membership(address.workspace_id, entry.user_id)
    async with scope.server.joining(email), scope.change(newcomer.change, newcomer.detail):
        try:
            await _join_once(scope, account, address, invite_hash, known=bool(accounts))
        except Fault as fault:
            if fault.kind is FaultKind.TENANT and fault.reason not in _NOTHING_MADE:
                await _take_back(scope, address, email)
            raise
    return True


async def _join_once(
    scope: Scope, account: Account, address: WorkspaceAddress, invite_hash: str, *, known: bool
) -> None:
    """Join; when another process made the same new account meanwhile, join with that."""
    try:
        await scope.client.join(account, address, invite_hash)
    except Fault as fault:
        if known or fault.reason is not Reason.HALF_MEMBER or not await scope.server.database.user_ids(account.email):
            raise
        await scope.client.join(account, address, invite_hash)


async def _take_back(scope: Scope, address: WorkspaceAddress, email: str) -> None:
    """Retire the membership without a record that a refused join has left behind."""
    # where that is not allowed, the refusal itself is what is told
    with suppress(Fault):
        for user_id in await scope.server.database.user_ids(email):
            await scope.server.database.records.retire_membership(address.workspace_id, user_id)


async def _insert(scope: Scope, address: WorkspaceAddress, entry: RosterEntry, newcomer: Newcomer) -> None:
    """Make the record of a person who cannot join by our password, and keeps their membership and role."""
    detail = f"{newcomer.email}: the missing member record made by SQL, since their password is their own"
    async with scope.change(MEND_MEMBER, detail):
        await scope.server.database.records.insert(address.workspace_id, entry, newcomer.first_name, newcomer.last_name)


def _must_not_be_blocked(roster: Roster, newcomer: Newcomer, own: set[str]) -> None:
    """Twenty takes each e-mail once per workspace, also from a record whose account is another, or that is deleted."""
    record = roster.in_the_way(newcomer.email, own)
    if record is None:
        return
    state = "marked as deleted, which does not free the e-mail" if record.deleted else "not deleted"
    raise Fault(
        FaultKind.TENANT,
        Reason.HALF_MEMBER,
        f"{newcomer.email} cannot join: the workspace's member record {record.id} has this e-mail and belongs to "
        f"account {record.user_id}, which is another or a deleted one ({state}). Delete that record for good from "
        '"workspaceMember" in the workspace\'s schema, or give it another "userEmail"; the next run adds them.',
    )


async def _must_not_be_tried_again(scope: Scope, address: WorkspaceAddress, email: str, own: set[str]) -> None:
    """A join that failed again and again would leave one more row each time."""
    for user_id in own:
        retired = await scope.server.database.records.retired_lately(address.workspace_id, user_id)
        if retired >= _MOST_RETIRED:
            raise Fault(
                FaultKind.TENANT,
                Reason.HALF_MEMBER,
                f"{email} does not join for now: {retired} joins of theirs within a day left a membership without a "
                "member record. Look into Twenty's server log for why it makes no record; a later run tries again.",
            )


async def _must_have_that_email(scope: Scope, newcomer: Newcomer, accounts: Sequence[str]) -> None:
    """An account that got another e-mail meanwhile must not be made a second time under the earlier one."""
    account = newcomer.twenty_user_id
    if account is None or account in accounts:
        return
    now = [email for user, email in await scope.server.database.users([], [account]) if user == account]
    if now and now[0] != newcomer.email:
        raise Fault(
            FaultKind.TENANT,
            Reason.WAITING,
            f"the account of {newcomer.email} is {now[0]} by now. The next run adds them with that.",
        )


async def _check_password(scope: Scope, account: Account) -> None:
    try:
        await scope.client.check_password(account)
    except TwentyFault as fault:
        if not is_unknown_user(fault.error):
            raise
        raise Fault(
            FaultKind.TENANT,
            Reason.ACCOUNT_AMBIGUOUS,
            f"Twenty has an account of {account.email} in another spelling. Write its e-mail in lower case in "
            'core."user"; the next run adds them.',
        ) from None


@asynccontextmanager
async def opened(scope: Scope, address: WorkspaceAddress) -> AsyncIterator[str]:
    """What lets people join meanwhile. A link that is off is on for that moment alone, and another one in it and after.

    An old link of a workspace that has it off lets no one in, neither then nor later. We write down first that it is on
    because of us, so that a crash leaves it on for no longer than until the next run.
    """
    links = scope.client.invite_links
    link = await links.read(address)
    if link.enabled:
        shared = await scope.server.database.shares_invite_link(address.workspace_id)
        yield (await renew(scope, address, "another workspace has the same one") if shared else None) or link.hash
        return
    await scope.members.set_invite_link_opened(scope.database_name, opened=True)
    invite_hash = await links.renew(address) if await links.can_be_renewed() else link.hash
    await links.turn_on(address)
    try:
        yield invite_hash
    finally:
        await close(scope, address)


async def close(scope: Scope, address: WorkspaceAddress) -> None:
    """Turn the invite link off again, renew it, and forget that it was on because of us."""
    async with scope.change(CLOSE_INVITE_LINK, address.workspace_id):
        await scope.client.invite_links.turn_off(address)
    await renew(scope, address, "every member could read it while it was on")
    await scope.members.set_invite_link_opened(scope.database_name, opened=False)


async def renew(scope: Scope, address: WorkspaceAddress, why: str) -> str | None:
    """Give the workspace another invite link: its hash; None where the server has no call for that.

    It cannot be undone: a link that the customer has given to anyone is dead from then on.
    """
    if not await scope.client.invite_links.can_be_renewed():
        return None
    async with scope.change(RENEW_INVITE_LINK, f"of workspace {address.workspace_id}, since {why}"):
        return await scope.client.invite_links.renew(address)


async def join_all(work: Work, members: Sequence[MemberPlan]) -> None:
    """Bring in who is not inside, and who is only half inside: with a membership but without a member record."""
    joining = [member for member in members if _is_to_join(work, member)]
    if not joining:
        return
    scope, records = work.scope, work.scope.server.database.records
    marked = [member for member in joining if restorable(work.roster, work.entry(member))]
    if marked:
        await all_of(guarded(work, member, _restore(work, member)) for member in marked)
        work.roster = await records.roster(work.address.workspace_id)
    outside = [member for member in joining if member not in marked]
    if outside:
        async with opened(scope, work.address) as invite_hash:
            for role in sorted({member.role for member in outside}):
                group = [member for member in outside if member.role == role]
                await _join_as(work, group, role, invite_hash)
        work.roster = await records.roster(work.address.workspace_id)


async def _join_as(work: Work, members: Sequence[MemberPlan], role: str, invite_hash: str) -> None:
    """Bring in those who are to have this role, without another one for a moment that gives more."""
    begun = False
    try:
        async with joining_as(work.scope, work.address, role):
            begun = True
            await all_of(guarded(work, member, _join(work, member, invite_hash)) for member in members)
    except Fault as fault:
        if begun or fault.kind is not FaultKind.TENANT:
            raise
        work.findings += [finding_about(work.scope, member, fault) for member in members]


def _is_to_join(work: Work, member: MemberPlan) -> bool:
    entry = work.entry(member)
    if entry is None:
        # also the admin that the step before could not bring in: they may be invited here
        return bool({ADD_MEMBER, LINK_MEMBER} & set(member.changes))
    # who is only to be lowered may have left: making them whole would let them in
    return entry.workspace_member_id is None and set(member.changes) != {DEMOTE_MEMBER}


async def _restore(work: Work, member: MemberPlan) -> None:
    record = restorable(work.roster, work.entry(member))
    if record is not None:
        await restore(work.scope, work.address, member.email, record)


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
        if await enter(work.scope, work.address, work.roster, newcomer, invite_hash):
            work.joined.add(member.email)
    except Fault as fault:
        if fault.reason is not Reason.FOREIGN_PASSWORD:
            raise
        await _has_own_password(work, member)


async def _has_own_password(work: Work, member: MemberPlan) -> None:
    """An account that we did not make: only an invitation by e-mail can bring them in, if it is theirs at all.

    With an account and an open invitation a person joins Twenty by signing in, with the invitation's role: so it gives
    the least, and the role that is theirs comes once they are in and linked.
    """
    scope = work.scope
    for user_id in await scope.server.database.user_ids(member.email):
        evidence = await unproved(scope, user_id, member.clerk_user_id, is_ours=False)
        if evidence is not None:
            raise refused(scope, evidence, f"So they are neither added as {member.role} nor invited.")
    if scope.settings.members_foreign_password != "invite":  # noqa: S105  # a policy, no secret
        raise Fault(
            FaultKind.TENANT,
            Reason.FOREIGN_PASSWORD,
            f"{member.email} already has an account on {scope.client.system} with a password of their own, so they "
            "cannot be added without an e-mail. Invite them once in Twenty (Settings > Members), or set "
            "PROVISIONING_MEMBERS_FOREIGN_PASSWORD=invite; the next run links them.",
        )
    if not await scope.server.database.has_invitation(work.address.workspace_id, member.email):
        label = scope.settings.member_default_role
        if label == ADMIN_ROLE:
            raise Fault(
                FaultKind.TENANT,
                Reason.FOREIGN_PASSWORD,
                f"{member.email} already has an account on {scope.client.system} with a password of their own, and "
                f"no member is invited as {ADMIN_ROLE}, which PROVISIONING_MEMBER_DEFAULT_ROLE says. Set another, "
                "or invite them once in Twenty (Settings > Members); the next run links them.",
            )
        role = await scope.client.role_id(work.address, label)
        async with scope.change(INVITE_MEMBER, f"{member.email} as {label}"):
            await scope.client.invite(work.address, member.email, role)
    raise Fault(
        FaultKind.TENANT,
        Reason.INVITED,
        f"{member.email} has a password of their own and was invited by e-mail; they are linked once they accept.",
    )
