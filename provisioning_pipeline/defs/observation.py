"""The fleet as it is now: one read of Clerk and of each Twenty server serves several assets, and changes nothing."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.defs import members
from provisioning_pipeline.defs.onboarding import checks as onboarding
from provisioning_pipeline.defs.reconciliation import assets as reconciliation
from provisioning_pipeline.defs.reconciliation import checks as of_reconciliation
from provisioning_pipeline.defs.reconciliation import metadata
from provisioning_pipeline.defs.recording import result_of
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.report import tables
from provisioning_pipeline.run.conclude import tenants
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.run import plan_and_forecast_over
from provisioning_pipeline.run.saved_plans import save, saved_plan
from provisioning_pipeline.views.fleet import every_server
from provisioning_pipeline.views.health import clean_up_in
from provisioning_pipeline.views.member_tables import clerk_now, members_in
from provisioning_pipeline.views.onboarding_tables import onboarding_in

Shown = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]


@dg.multi_asset(
    specs=[members.clerk_organizations, members.clerk_memberships, reconciliation.reconciliation_plan],
    check_specs=[members.clerk_was_read_whole],
    can_subset=True,
    description="Read Clerk once. With the plan, everything that a reconciliation of all tenants reads, which is not "
    "changed.",
)
def clerk_and_plan(context: dg.AssetExecutionContext, systems: Systems) -> Shown:
    """How much of Clerk there is, whether the reading is proved whole, and what a run would do."""
    wanted = context.selected_asset_keys
    planned = systems.read(plan_and_forecast_over) if reconciliation.reconciliation_plan.key in wanted else None
    # a plan of all tenants has read Clerk
    read = planned[0].clerk if planned else systems.read(clerk_now)
    assert read is not None
    for spec, shown in (
        (members.clerk_organizations, members.organizations_metadata),
        (members.clerk_memberships, members.memberships_metadata),
    ):
        if spec.key in wanted:
            yield dg.MaterializeResult(asset_key=spec.key, metadata=shown(read))
    if members.clerk_was_read_whole.key in context.selected_asset_check_keys:
        yield result_of(members.clerk_was_read_whole, members.whole_result(read))
    if planned:
        plan, forecast = planned
        saved = saved_plan(plan, systems.settings())
        save(saved, systems.settings())
        yield dg.MaterializeResult(
            asset_key=reconciliation.reconciliation_plan.key,
            value=tables.plan(plan),
            metadata=metadata.of_plan(plan, forecast, saved.id),
        )


@dg.multi_asset(
    specs=[
        members.twenty_members,
        onboarding.onboarding_flags,
        onboarding.onboarding_status,
        reconciliation.tenant_inventory,
    ],
    check_specs=[
        members.every_tenant_has_an_admin,
        onboarding.no_pending_onboarding,
        of_reconciliation.clean_up_is_not_near,
    ],
    can_subset=True,
    description="Read each Twenty server once, and the ledger.",
)
def twenty_servers(context: dg.AssetExecutionContext, systems: Systems) -> Shown:
    """Members, what is pending for them, what they would see; the tenants; and what may be deleted soon."""

    async def read(connections: Connections) -> Any:
        twenty = await every_server(connections)
        return await all_of(
            [
                members_in(twenty, connections),
                onboarding_in(twenty, connections),
                clean_up_in(twenty, connections),
                tenants(connections.ledger),
            ]
        )

    found, pending, clean_up, lines = systems.read(read)
    for spec, frame, about in (
        (members.twenty_members, None, members.twenty_metadata(found)),
        (onboarding.onboarding_flags, None, onboarding.flags_metadata(pending)),
        (onboarding.onboarding_status, None, onboarding.status_metadata(pending)),
        (reconciliation.tenant_inventory, tables.inventory(lines), metadata.of_inventory(lines)),
    ):
        if spec.key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=spec.key, value=frame, metadata=about)
    for check, result in (
        (members.every_tenant_has_an_admin, members.admin_result(found)),
        (onboarding.no_pending_onboarding, onboarding.pending_result(pending)),
        (of_reconciliation.clean_up_is_not_near, of_reconciliation.clean_up_result(clean_up)),
    ):
        if check.key in context.selected_asset_check_keys:
            yield result_of(check, result)
