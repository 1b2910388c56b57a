"""One tenant's members being worked on: what every part of the step shares."""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from provisioning_pipeline.clients.twenty.accounts import Door
from provisioning_pipeline.clients.twenty.roster import Roster, RosterEntry
from provisioning_pipeline.ledger.members import MemberLink
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Origin
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.steps.scope import Scope


@dataclass
class Work:
    """One tenant's members being worked on. `findings` grow with what is met on the way."""

    scope: Scope
    door: Door
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
        """Their row in the workspace, if they are in it."""
        return self.roster.of(member.twenty_user_id, member.email)


async def guarded(work: Work, member: MemberPlan, doing: Coroutine[Any, Any, None]) -> None:
    """One person's trouble is a finding; a server's trouble goes on."""
    try:
        await doing
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        work.findings.append(finding_about(work.scope, member, fault))


def finding_about(scope: Scope, member: MemberPlan, fault: Fault) -> Finding:
    """What befell one person: who and where, what happened, and what to do about it.

    A person whom the tenant's own database alone names makes no tenant unwell: any address may stand there.
    """
    name = f"{member.first_name} {member.last_name}".strip()
    told = about_person(scope, member.email, name, fault)
    return Finding(fault.reason, member.email, told, blocks=member.clerk_user_id is not None)


def about_person(scope: Scope, email: str, name: str, fault: Fault) -> str:
    """A refusal that is about one person, with who that is, in whose workspace, and what to do."""
    who = f"{name} ({email})" if name else email
    told = f"{who} in the workspace of {scope.plan.tenant.slug}: {fault.message}"
    if fault.reason is Reason.REFUSED_BY_TWENTY and _NO_ADDRESS in fault.message:
        return f"{told} Correct the address at Clerk."
    return told


_NO_ADDRESS = "must be an email"
"""What Twenty says of an address that is none to it (measured on 2.21.0)."""
