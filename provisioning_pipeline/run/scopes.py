"""What the steps of one tenant work with, from the connections of a run."""

from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.run.connections import Connections, tenant_database
from provisioning_pipeline.steps.record import Record
from provisioning_pipeline.steps.scope import Scope


def scope_of(connections: Connections, entry: TenantPlan, run_id: str) -> Scope:
    """The scope of a tenant."""
    settings, name = connections.settings, entry.tenant.database_name
    return Scope(
        plan=entry,
        twenty=connections.servers[entry.server] if entry.server else None,
        own_database=lambda: tenant_database(settings, name, read_only=False),
        ledger=connections.ledger,
        registry=connections.registry,
        members=connections.members,
        accounts=connections.accounts,
        removed_rows=connections.removed_rows,
        clerk=connections.clerk,
        record=Record(connections.journal, run_id, entry.tenant.database_name),
        member_password_key=settings.member_password_key,
        service_member_name=settings.service_member_name,
        activation_timeout_seconds=settings.activation_timeout_seconds,
        lock_wait_seconds=settings.lock_wait_seconds,
        ready_status=settings.registry_ready_status,
        pending_statuses=settings.registry_pending_statuses,
        invites=settings.members_foreign_password == "invite",  # noqa: S105  # a policy, no secret
        default_role=settings.member_default_role,
        roles=settings.member_roles,
        trusts_accounts=settings.members_unproven == "trust",
        trusts_mailboxes=settings.members_unproven == "trust-mailbox",
        revokes_api_keys=settings.members_gone_api_keys == "revoke",
        renews_invite_link=settings.renew_invite_link == "removals",
        everyone=settings.onboarding_people == "everyone",
    )
