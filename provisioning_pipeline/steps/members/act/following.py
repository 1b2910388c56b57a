"""Giving a member's account at Twenty the e-mail that Clerk has for them now."""

from contextlib import AsyncExitStack

from provisioning_pipeline.clients.twenty.errors import TwentyFault, why_email_stays
from provisioning_pipeline.clients.twenty.members import RosterEntry
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Move
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.steps.account_ownership import evidence_of, not_ours, password_email
from provisioning_pipeline.steps.members.act.joining import Work, finding_about
from provisioning_pipeline.steps.members.changes import FOLLOW_EMAIL
from provisioning_pipeline.steps.scope import AtClerk


async def follow_email(work: Work, member: MemberPlan, entry: RosterEntry, known: AtClerk | None) -> str:
    """Change the e-mail of their account as planned; the one that it has then. A refusal becomes a finding.

    The password stays that of the address before, so we write down from which address it is derived before Twenty is
    told. That counts only once the account has the new address: a run that is killed in between leaves nothing to mend.

    Args:
        known: what Clerk says of them now; None when it gives no whole answer.

    Raises:
        Fault: when the server, not this person, is the trouble.
    """
    if entry.email == member.new_email:
        async with work.scope.change(FOLLOW_EMAIL, f"{entry.email}: the account at Twenty has it already"):
            return entry.email
    try:
        await _change(work, member, entry, known)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        work.findings.append(finding_about(work.scope, member, fault))
        return entry.email
    return member.new_email


async def _change(work: Work, member: MemberPlan, entry: RosterEntry, known: AtClerk | None) -> None:
    scope, email, user = work.scope, member.new_email, member.clerk_user_id
    assert user is not None
    if known is None or known.role(user) is None or known.emails.get(user) != email:
        raise Fault(
            FaultKind.TENANT, Reason.WAITING, f"Clerk does not confirm {email} for them now. The next run looks."
        )
    if await not_ours(scope, entry.user_id, user) is not None:
        raise _stays(email, "the account was not made here, so it need not be theirs")
    async with AsyncExitStack() as joining:
        # no one joins with either address meanwhile
        for address in sorted({entry.email, email}):
            await joining.enter_async_context(scope.server.joining(address))
        if await scope.server.database.user_ids(email):
            raise _stays(email, "another account there has that address")
        record = work.roster.in_the_way(email, {entry.user_id})
        if record is not None:
            raise _stays(email, f"the workspace's member record {record.id} of another account has that address")
        await _tell_twenty(work, entry, email, user)


async def _tell_twenty(work: Work, entry: RosterEntry, email: str, user: str) -> None:
    scope = work.scope
    evidence = await evidence_of(scope.server, scope.accounts, entry.user_id)
    account = await scope.account(entry.email, entry.user_id)
    move = Move(email, password_email(evidence), user)
    async with scope.change(FOLLOW_EMAIL, f"{entry.email} → {email}"):
        await scope.server.begin_move(scope.accounts, entry.user_id, move, scope.run_id)
        try:
            await scope.client.change_email(account, work.address, email)
        except TwentyFault as fault:
            if fault.kind is not FaultKind.TENANT:
                raise
            await scope.server.give_up_move(scope.accounts, entry.user_id, email)
            raise _stays(email, why_email_stays(fault.error)) from None
        now = dict(await scope.server.database.users([], [entry.user_id])).get(entry.user_id)
        if now != email:
            raise _stays(email, f"Twenty took it, and the account is still {now}")
    await scope.client.sign_out(account, work.address)


def _stays(email: str, why: str) -> Fault:
    told = f"Clerk has {email} for them, which their account at Twenty does not get: {why}. The next run tries again."
    return Fault(FaultKind.TENANT, Reason.EMAIL_CHANGED, told)
