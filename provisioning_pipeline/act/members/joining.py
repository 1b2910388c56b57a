"""Bringing people in without an e-mail: by the invite link and a password that we derive."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from provisioning_pipeline.act.members.work import Work, guarded
from provisioning_pipeline.act.scope import Scope
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.accounts import Account, Door
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_unknown_user
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import Change, MemberPlan


async def join_all(work: Work, members: Sequence[MemberPlan]) -> None:
    """Bring in who is not inside, and who is only half inside: with a membership but without a member record."""
    joining = [member for member in members if _is_to_join(work, member)]
    if not joining:
        return
    scope = work.scope
    invite_link = await scope.client.invite_link(work.door)
    async with opened(scope, work.door, enabled=invite_link.enabled):
        await all_of(guarded(work, member, _join(work, member, invite_link.hash)) for member in joining)
    work.roster = await scope.server.database.roster(work.door.workspace_id)


def _is_to_join(work: Work, member: MemberPlan) -> bool:
    entry = work.entry(member)
    if entry is None:
        return Change.ADD_MEMBER in member.changes
    # who is only to be lowered may have left: making them whole would let them in
    return entry.workspace_member_id is None and set(member.changes) != {Change.DEMOTE_MEMBER}


@asynccontextmanager
async def opened(scope: Scope, door: Door, *, enabled: bool) -> AsyncIterator[None]:
    """Turn a disabled invite link on for a moment. Written down first, so that a crash leaves it open for no long."""
    if enabled:
        yield
        return
    await scope.members.set_invite_link_opened(scope.database_name, opened=True)
    await scope.client.open_invite_link(door)
    try:
        yield
    finally:
        await close_invite_link(scope, door)


async def close_invite_link(scope: Scope, door: Door) -> None:
    async with scope.change(Change.CLOSE_INVITE_LINK, door.workspace_id):
        await scope.client.close_invite_link(door)
    await scope.members.set_invite_link_opened(scope.database_name, opened=False)


async def _join(work: Work, member: MemberPlan, invite_hash: str) -> None:
    scope = work.scope
    account = scope.account(member.email, member.twenty_user_id)
    accounts = await scope.server.database.user_ids(member.email)
    _must_not_be_blocked(work, member, accounts)
    try:
        if accounts:
            # somebody has this e-mail here already: a wrong password is found out before anything is sent
            await _check_password(work, member, account)
        entry = work.entry(member)
        if entry is not None:
            async with scope.change(Change.MEND_MEMBER, f"{member.email}, who had no member record"):
                await scope.server.database.retire_half_membership(work.door.workspace_id, entry.user_id)
        async with (
            scope.server.joining(member.email),
            scope.change(Change.ADD_MEMBER, f"{member.email} as {member.role}"),
        ):
            await _join_once(scope, account, invite_hash, known=bool(accounts))
        work.joined.add(member.email)
    except Fault as fault:
        if fault.reason is not Reason.FOREIGN_PASSWORD:
            raise
        await _has_own_password(work, member)


async def _join_once(scope: Scope, account: Account, invite_hash: str, *, known: bool) -> None:
    """Join; when another process made the same new account meanwhile, join with that."""
    try:
        await scope.client.join(account, invite_hash)
    except Fault as fault:
        if known or fault.reason is not Reason.HALF_MEMBER or not await scope.server.database.user_ids(account.email):
            raise
        await scope.client.join(account, invite_hash)


def _must_not_be_blocked(work: Work, member: MemberPlan, accounts: Sequence[str]) -> None:
    """Twenty takes each e-mail once per workspace, also from a record whose account is another or gone."""
    for stray in work.roster.strays:
        if stray.email == member.email and stray.user_id not in accounts:
            raise Fault(
                FaultKind.TENANT,
                Reason.HALF_MEMBER,
                f"{member.email} cannot join: the workspace keeps a member record of another or a deleted account with "
                f'this e-mail ({stray.workspace_member_id}). Delete it from "workspaceMember" in the workspace\'s '
                "schema; the next run adds them.",
            )


async def _check_password(work: Work, member: MemberPlan, account: Account) -> None:
    try:
        await work.scope.client.check_password(account)
    except TwentyFault as fault:
        if not is_unknown_user(fault.error):
            raise
        raise Fault(
            FaultKind.TENANT,
            Reason.ACCOUNT_AMBIGUOUS,
            f"Twenty has an account of {member.email} in another spelling. Write its e-mail in lower case in "
            'core."user"; the next run adds them.',
        ) from None


async def _has_own_password(work: Work, member: MemberPlan) -> None:
    """An account of theirs that we did not make: only an invitation by e-mail can bring them in."""
    scope = work.scope
    if not scope.invites:
        raise Fault(
            FaultKind.TENANT,
            Reason.FOREIGN_PASSWORD,
            f"{member.email} already has an account on {scope.client.system} with a password of their own, so they "
            "cannot be added without an e-mail. Invite them once in Twenty (Settings > Members), or set "
            "PROVISIONING_MEMBERS_FOREIGN_PASSWORD=invite; the next run links them.",
        )
    if not await scope.server.database.has_invitation(work.door.workspace_id, member.email):
        role = (await scope.client.roles(work.door)).get(member.role)
        async with scope.change(Change.INVITE_MEMBER, f"{member.email} as {member.role}"):
            await scope.client.invite(work.door, member.email, role)
    raise Fault(
        FaultKind.TENANT,
        Reason.INVITED,
        f"{member.email} has a password of their own and was invited by e-mail; they are linked once they accept.",
    )
