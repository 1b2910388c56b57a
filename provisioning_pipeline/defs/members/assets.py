"""Who belongs to whom, as Clerk, Twenty and the ledger say it. Materialized by hand they read; each whole run records
them too."""

from typing import Any

import dagster as dg

from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.ledger.fleet import link_counts
from provisioning_pipeline.model.tenant import ClerkRead
from provisioning_pipeline.views.member_tables import TwentyMembers

GROUP = "members"
OWNERS = ["team:platform"]
TAGS = {"capability": "members"}


clerk_organizations = dg.AssetSpec(
    "clerk_organizations",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"clerk"},
    tags=TAGS,
    description="The organizations of the Clerk instance: one per tenant that has members.",
)
clerk_memberships = dg.AssetSpec(
    "clerk_memberships",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"clerk"},
    tags=TAGS,
    deps=[clerk_organizations],
    description="Who belongs to which organization at Clerk. An incomplete read never removes anyone.",
)
twenty_members = dg.AssetSpec(
    "twenty_members",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    tags=TAGS,
    description="Who is a member of which workspace, by Twenty's own rows; the service account is left out.",
)


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    tags=TAGS,
    deps=[clerk_memberships, twenty_members],
    description="Which Clerk user is which Twenty account, per server and per tenant, as the ledger keeps it.",
)
def clerk_user_links(systems: Systems) -> dg.MaterializeResult[Any]:
    """How many people and members are linked."""
    counts = systems.read(lambda connections: link_counts(connections.ledger.database))
    return dg.MaterializeResult(metadata=links_metadata(counts))


def organizations_metadata(read: ClerkRead) -> dict[str, Any]:
    """What to show of Clerk's organizations."""
    return {"dagster/row_count": read.organizations, "proved_whole": read.doubt is None, "doubt": read.doubt or "None."}


def memberships_metadata(read: ClerkRead) -> dict[str, Any]:
    """What to show of Clerk's memberships."""
    return {
        "dagster/row_count": read.memberships,
        "people": read.users,
        "proved_whole": read.doubt is None,
        "doubt": read.doubt or "None.",
    }


def twenty_metadata(found: TwentyMembers) -> dict[str, Any]:
    """What to show of Twenty's members."""
    return {
        "dagster/row_count": found.members,
        "workspaces": found.workspaces,
        "without_active_admin": len(found.without_admin),
    }


def links_metadata(counts: dict[str, Any]) -> dict[str, Any]:
    """What to show of the links."""
    return {"dagster/row_count": counts["members"], "people": counts["users"], "tenants": counts["tenants"]}
