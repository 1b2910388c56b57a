"""Withdrawing invitations of ours by which nobody should come in any more."""

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import Finding, Withdrawal
from provisioning_pipeline.steps.members.act.last_look import still_invited
from provisioning_pipeline.steps.members.act.work import Work, about_person
from provisioning_pipeline.steps.members.changes import WITHDRAW_INVITATION


async def withdraw_all(work: Work) -> None:
    """Withdraw what the plan says. One address's trouble becomes a finding; a server's trouble goes on."""
    planned = work.scope.plan.withdrawals
    wanted = await still_invited(work.scope, [withdrawal.email for withdrawal in planned if withdrawal.departed])
    # whose address is an active member's again may come in by it after all; the next run looks again
    await all_of(_withdraw(work, withdrawal) for withdrawal in planned if withdrawal.email not in wanted)


async def _withdraw(work: Work, withdrawal: Withdrawal) -> None:
    scope, email = work.scope, withdrawal.email
    try:
        async with scope.change(WITHDRAW_INVITATION, f"{email}: {withdrawal.why}"):
            await scope.client.withdraw_invitations(work.door, email)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        work.findings.append(Finding(fault.reason, email, about_person(scope, email, "", fault)))
