"""Members: which Clerk user is which member of Twenty, and what should be true of them after a reconciliation.

Materialized by hand the assets read; each run over all tenants records them too.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.recording import MOST_LISTED, Recorded, about, check, check_result, evaluation, table
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.ledger.fleet import link_counts
from provisioning_pipeline.model.tenant import ClerkRead
from provisioning_pipeline.views.member_tables import (
    MembersAfter,
    TwentyMembers,
    Unsynced,
    invitations_of_last_run,
    unsynced,
)

_MEMBERS = about("members")

clerk_organizations = dg.AssetSpec(
    "clerk_organizations",
    **_MEMBERS,
    kinds={"clerk"},
    description="The organizations of the Clerk instance: one per tenant that has members.",
)
clerk_memberships = dg.AssetSpec(
    "clerk_memberships",
    **_MEMBERS,
    kinds={"clerk"},
    deps=[clerk_organizations],
    description="Who belongs to which organization at Clerk. An incomplete read never removes anyone.",
)
twenty_members = dg.AssetSpec(
    "twenty_members",
    **_MEMBERS,
    kinds={"postgres"},
    description="Who is a member of which workspace, by Twenty's own rows; the service account is left out.",
)


@dg.asset(
    **_MEMBERS,
    kinds={"postgres"},
    deps=[clerk_memberships, twenty_members],
    description="Which Clerk user is which Twenty account, per server and per tenant, as the ledger has it.",
)
def clerk_user_links(systems: Systems) -> dg.MaterializeResult[Any]:
    """How many users and members are linked."""
    counts = systems.read(lambda connections: link_counts(connections.ledger.database))
    return dg.MaterializeResult(metadata=_links_metadata(counts))


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


def organizations_metadata(read: ClerkRead) -> dict[str, Any]:
    """What to show of Clerk's organizations."""
    return {"dagster/row_count": read.organizations, "proved_whole": read.doubt is None, "doubt": read.doubt or "None."}


def memberships_metadata(read: ClerkRead) -> dict[str, Any]:
    """What to show of Clerk's memberships."""
    return organizations_metadata(read) | {"dagster/row_count": read.memberships, "people": read.users}


def twenty_metadata(found: TwentyMembers) -> dict[str, Any]:
    """What to show of Twenty's members."""
    return {
        "dagster/row_count": found.members,
        "workspaces": found.workspaces,
        "without_active_admin": len(found.without_admin),
    }


def _links_metadata(counts: dict[str, Any]) -> dict[str, Any]:
    return {"dagster/row_count": counts["members"], "people": counts["users"], "tenants": counts["tenants"]}


def _linked_result(tenants: Sequence[Unsynced]) -> dg.AssetCheckResult:
    rows = [(found.slug, str(found.reason), found.message) for found in tenants]
    return check_result(
        passed=not tenants,
        metadata={"tenants": len(tenants), "who": table(("tenant", "reason", "what to do"), rows)},
    )


def _email_result(invited: Sequence[str]) -> dg.AssetCheckResult:
    emails = {"emails": len(invited)}
    return check_result(passed=not invited, metadata=emails)


def admin_result(found: TwentyMembers) -> dg.AssetCheckResult:
    """The check `every_tenant_has_an_admin`."""
    return check_result(
        passed=not found.without_admin,
        metadata={
            "tenants": len(found.without_admin),
            "who": ", ".join(found.without_admin[:MOST_LISTED]) or "None.",
        },
        severity=dg.AssetCheckSeverity.ERROR,
    )


def whole_result(read: ClerkRead) -> dg.AssetCheckResult:
    """The check `clerk_was_read_whole`."""
    doubt = {"doubt": read.doubt or "None."}
    return check_result(passed=read.doubt is None, metadata=doubt)


every_member_is_linked = check(
    "clerk_user_links",
    "every_member_is_linked",
    unsynced,
    _linked_result,
    "Every Clerk member of every tenant is linked, or excluded.",
)
no_email_was_sent = check(
    "twenty_members",
    "no_email_was_sent",
    invitations_of_last_run,
    _email_result,
    "The last run sent no e-mail: it invited no one.",
)


def members_recorded(read: ClerkRead, found: MembersAfter) -> Recorded:
    """The assets about members, then the results of their checks: what the run read of Clerk, and what it left."""
    yield dg.AssetMaterialization("clerk_organizations", metadata=organizations_metadata(read))
    yield dg.AssetMaterialization("clerk_memberships", metadata=memberships_metadata(read))
    yield dg.AssetMaterialization("twenty_members", metadata=twenty_metadata(found.twenty))
    yield dg.AssetMaterialization("clerk_user_links", metadata=_links_metadata(found.links))
    yield evaluation(clerk_was_read_whole, whole_result(read))
    yield evaluation(no_email_was_sent, _email_result(found.invited))
    yield evaluation(every_tenant_has_an_admin, admin_result(found.twenty))
    yield evaluation(every_member_is_linked, _linked_result(found.unsynced))
