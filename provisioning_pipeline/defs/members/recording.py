"""What a run over all tenants records about members."""

from collections.abc import Iterator

import dagster as dg

from provisioning_pipeline.defs.members import assets, checks
from provisioning_pipeline.defs.recording import evaluation
from provisioning_pipeline.model.tenant import ClerkRead
from provisioning_pipeline.views.member_tables import PeopleAfter


def recorded(read: ClerkRead, found: PeopleAfter) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """The assets about members, then the results of their checks, for an op to yield.

    Args:
        read: what the run read of Clerk, all of it.
        found: what the run left.
    """
    yield dg.AssetMaterialization("clerk_organizations", metadata=assets.organizations_metadata(read))
    yield dg.AssetMaterialization("clerk_memberships", metadata=assets.memberships_metadata(read))
    yield dg.AssetMaterialization("twenty_members", metadata=assets.twenty_metadata(found.twenty))
    yield dg.AssetMaterialization("clerk_user_links", metadata=assets.links_metadata(found.links))
    yield evaluation("clerk_memberships", checks.whole_result(read))
    yield evaluation("twenty_members", checks.email_result(found.invited))
    yield evaluation("twenty_members", checks.admin_result(found.twenty))
    yield evaluation("clerk_user_links", checks.linked_result(found.unsynced))
