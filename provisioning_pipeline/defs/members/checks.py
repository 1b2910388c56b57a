"""What should be true of members after a reconciliation."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.members.assets import clerk_memberships, clerk_user_links, twenty_members
from provisioning_pipeline.defs.resources import Workbench
from provisioning_pipeline.model.tenant import ClerkRead
from provisioning_pipeline.report import markdown
from provisioning_pipeline.views.member_tables import TwentyMembers, Unsynced

_MOST_LISTED = 50


@dg.asset_check(asset=clerk_user_links, description="Every Clerk member of every tenant is linked, or set aside.")
def every_member_is_linked(workbench: Workbench) -> dg.AssetCheckResult:
    """Passes when no tenant's members need a person."""
    from provisioning_pipeline.views.member_tables import unsynced

    return linked_result(workbench.with_dry_connections(unsynced))


@dg.asset_check(asset=twenty_members, description="The last run sent no e-mail: nobody was invited.")
def no_email_was_sent(workbench: Workbench) -> dg.AssetCheckResult:
    """Passes when the last run invited nobody."""
    from provisioning_pipeline.views.member_tables import invitations_of_last_run

    return email_result(workbench.with_dry_connections(lambda connections: invitations_of_last_run(connections.ledger)))


@dg.asset_check(asset=twenty_members, description="Every tenant's workspace has an Admin who is a person.")
def every_tenant_has_an_admin(workbench: Workbench) -> dg.AssetCheckResult:
    """Passes when no workspace is left to the service account alone."""
    from provisioning_pipeline.views.member_tables import twenty_now

    return admin_result(workbench.with_dry_connections(twenty_now))


@dg.asset_check(asset=clerk_memberships, description="Clerk's answer is proved whole; otherwise it removes nobody.")
def clerk_was_read_whole(workbench: Workbench) -> dg.AssetCheckResult:
    """Passes when ids, totals and pages agree."""
    from provisioning_pipeline.views.member_tables import clerk_now

    return whole_result(workbench.with_dry_connections(clerk_now))


def linked_result(tenants: Sequence[Unsynced]) -> dg.AssetCheckResult:
    """The check over these tenants."""
    rows = [(found.slug, str(found.reason), found.message) for found in tenants[:_MOST_LISTED]]
    return _result(
        "every_member_is_linked",
        passed=not tenants,
        metadata={
            "tenants": len(tenants),
            "who": dg.MetadataValue.md(markdown.table(("tenant", "reason", "what to do"), rows) if rows else "Nobody."),
        },
    )


def email_result(invited: Sequence[str]) -> dg.AssetCheckResult:
    """The check over these invitations."""
    return _result("no_email_was_sent", passed=not invited, metadata={"emails": len(invited)})


def admin_result(found: TwentyMembers) -> dg.AssetCheckResult:
    """The check over Twenty's members."""
    return _result(
        "every_tenant_has_an_admin",
        passed=not found.without_admin,
        metadata={
            "tenants": len(found.without_admin),
            "who": ", ".join(found.without_admin[:_MOST_LISTED]) or "None.",
        },
        severity=dg.AssetCheckSeverity.ERROR,
    )


def whole_result(read: ClerkRead) -> dg.AssetCheckResult:
    """The check over a reading of Clerk."""
    return _result("clerk_was_read_whole", passed=read.doubt is None, metadata={"doubt": read.doubt or "None."})


def _result(
    name: str,
    *,
    passed: bool,
    metadata: dict[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=severity, metadata=metadata)
