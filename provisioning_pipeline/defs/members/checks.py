"""What should be true of members after a reconciliation."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.members.assets import clerk_memberships, clerk_user_links, twenty_members
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.model.tenant import ClerkRead
from provisioning_pipeline.report import markdown
from provisioning_pipeline.views.member_tables import TwentyMembers, Unsynced

_MOST_LISTED = 50


@dg.asset_check(asset=clerk_user_links, description="Every Clerk member of every tenant is linked, or set aside.")
def every_member_is_linked(systems: Systems) -> dg.AssetCheckResult:
    """Passes when no tenant's members need a person."""
    from provisioning_pipeline.views.member_tables import unsynced

    return linked_result(systems.read(unsynced))


@dg.asset_check(asset=twenty_members.key, description="The last run sent no e-mail: nobody was invited.")
def no_email_was_sent(systems: Systems) -> dg.AssetCheckResult:
    """Passes when the last run invited nobody."""
    from provisioning_pipeline.views.member_tables import invitations_of_last_run

    return email_result(systems.read(lambda connections: invitations_of_last_run(connections.history)))


every_tenant_has_an_admin = dg.AssetCheckSpec(
    "every_tenant_has_an_admin",
    asset=twenty_members.key,
    description="Every tenant's workspace has an Admin who is a person.",
)
clerk_was_read_whole = dg.AssetCheckSpec(
    "clerk_was_read_whole",
    asset=clerk_memberships.key,
    description="Clerk's answer is proved whole; an incomplete read never removes anyone.",
)


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
