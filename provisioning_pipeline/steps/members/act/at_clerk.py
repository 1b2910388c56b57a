"""What is written back at Clerk, so that a session token can carry the workspace."""

from collections.abc import Coroutine, Sequence
from typing import Any

from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.steps.members.act.work import Work
from provisioning_pipeline.steps.members.changes import STORE_AT_CLERK
from provisioning_pipeline.steps.scope import Scope


async def store_at_clerk(work: Work, members: Sequence[MemberPlan]) -> None:
    """The workspace id at the organization, and user ids at users where policy says so. Each was compared before."""
    scope = work.scope
    organization = scope.plan.store_organization
    if organization:
        await _told(work, organization, _store_workspace_id(scope, organization, work.door.workspace_id))
    for member in members:
        if STORE_AT_CLERK in member.changes and member.clerk_user_id is not None:
            await _told(work, member.email, _store_external_id(work, member, member.clerk_user_id))


async def _store_workspace_id(scope: Scope, organization: str, workspace_id: str) -> None:
    async with scope.change(STORE_AT_CLERK, f"workspace {workspace_id} of organization {organization}"):
        await scope.clerk.store_workspace_id(organization, workspace_id)


async def _store_external_id(work: Work, member: MemberPlan, clerk_user_id: str) -> None:
    entry = work.entry(member)
    if entry is None or entry.workspace_member_id is None:
        return
    async with work.scope.change(STORE_AT_CLERK, f"external_id {entry.user_id} of {member.email}"):
        await work.scope.clerk.store_external_id(clerk_user_id, entry.user_id)


async def _told(work: Work, person: str, doing: Coroutine[Any, Any, None]) -> None:
    """Trouble with writing at Clerk is told, and never keeps anybody out of their workspace."""
    try:
        await doing
    except Fault as fault:
        work.findings.append(Finding(fault.reason, person, fault.message))
