"""Which workspace a verified session leads to: the token, the registry and the ledger must say the same."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from provisioning_pipeline.model.condition import SET_ASIDE, Reason, Status
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.model.registry import registry_status
from provisioning_pipeline.model.session import (
    LinkedTenant,
    Refusal,
    Refused,
    RegisteredTenant,
    Session,
    WorkspaceContext,
)

_GONE = frozenset({Reason.WORKSPACE_GONE, Reason.WORKSPACE_SUSPENDED})


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Registry statuses whose tenants are left alone, and Clerk role → label of the role in Twenty."""

    excluded_statuses: Collection[str]
    roles: Mapping[str, str]
    default_role: str


def decide_access(
    session: Session,
    linked: LinkedTenant | None,
    registered: Sequence[RegisteredTenant],
    departure: Departure | None,
    policy: AccessPolicy,
    *,
    in_doubt: bool = False,
) -> WorkspaceContext:
    """The workspace of this session's organization, and who its holder is there.

    Args:
        linked: the tenant that the ledger gives the organization to.
        registered: registry rows of the organization, and of `linked`.
        departure: what Clerk says about the member, if they are gone.
        in_doubt: the registry has lost so many rows that a missing one says nothing; the ledger's last word holds.

    Raises:
        Refused: with words of 403.
    """
    excluded = {row.database_name for row in registered if registry_status(row.status) in policy.excluded_statuses}
    claims = {row.database_name for row in registered if row.clerk_org_id == session.organization_id}
    active = {row.database_name for row in registered} - excluded
    if linked is None:
        if claims & active:
            raise _not_ready()
        if claims:
            raise _suspended()
        raise Refused(Refusal.NO_WORKSPACE, "The session's organization has no workspace here.")
    # a tenant with a workspace had a row: where that was taken away, the tenant was
    if linked.database_name not in active and not (in_doubt and linked.database_name not in excluded):
        raise _suspended()
    named = {row.clerk_org_id for row in registered if row.database_name == linked.database_name}
    # a tenant that is excluded claims nothing: its customer may have come back as another tenant. Where this tenant's
    # own row never said anything, another tenant's row locks no one out of what the ledger linked first
    rivals = (claims & active) - {linked.database_name}
    if (rivals and (session.organization_id in named or linked.organization_named)) or named - {
        None,
        "",
        session.organization_id,
    }:
        raise Refused(
            Refusal.ORGANIZATION_DISPUTED,
            "More than one tenant claims the session's organization, or its tenant another one. The registry has to "
            "say whose it is.",
        )
    if linked.ready_reason in SET_ASIDE:
        raise _suspended()
    if departure is not None:
        raise Refused(Refusal.NOT_A_MEMBER, "The session's user is no active member of its organization.")
    lost = linked.workspace_status == Status.FALSE and linked.workspace_reason in _GONE
    if lost or not (linked.workspace_id and linked.workspace_url and linked.server):
        raise _not_ready()
    return WorkspaceContext(
        tenant=linked.slug if linked.slug_is_its_own else linked.database_name,
        database_name=linked.database_name,
        server=linked.server,
        workspace_id=linked.workspace_id,
        workspace_url=linked.workspace_url,
        twenty_user_id=linked.twenty_user_id,
        role=policy.roles.get(session.role, policy.default_role),
        session=session,
    )


def _suspended() -> Refused:
    return Refused(Refusal.TENANT_SUSPENDED, "The session's tenant is suspended or gone.")


def _not_ready() -> Refused:
    return Refused(Refusal.WORKSPACE_NOT_READY, "The workspace of the session's organization is not there yet.")


def claim_agrees(claim: str | None, workspace_id: str) -> bool:
    """Whether a token's claim of a workspace is this one. A token without the claim claims nothing."""
    # as Clerk's metadata has it: the ledger writes it there in this very form
    return claim is None or claim.lower() == workspace_id
