"""Assembles what Dagster loads, and does nothing else. No setting is read and nothing is reached at import."""

import dagster as dg

from provisioning_pipeline.defs.members.assets import (
    clerk_memberships,
    clerk_organizations,
    clerk_user_links,
    twenty_members,
)
from provisioning_pipeline.defs.members.checks import (
    clerk_was_read_whole,
    every_member_is_linked,
    every_tenant_has_an_admin,
    no_email_was_sent,
)
from provisioning_pipeline.defs.members.sensors import clerk_changes
from provisioning_pipeline.defs.provisioning.jobs import reconcile_tenants
from provisioning_pipeline.defs.provisioning.schedules import reconcile_tenants_hourly
from provisioning_pipeline.defs.provisioning.sensors import new_tenant_databases
from provisioning_pipeline.defs.reconciliation.assets import reconciliation_report, tenant_inventory
from provisioning_pipeline.defs.reconciliation.checks import all_tenants_are_ready
from provisioning_pipeline.defs.resources import Workbench


def build_defs(executor: dg.ExecutorDefinition = dg.in_process_executor) -> dg.Definitions:
    """Everything, with the executor of your choice for a code location of your own.

    The default costs half of Dagster's own: steps wait on the network, not on the processor.
    """
    return dg.Definitions(
        assets=[
            clerk_organizations,
            clerk_memberships,
            twenty_members,
            clerk_user_links,
            tenant_inventory,
            reconciliation_report,
        ],
        asset_checks=[
            clerk_was_read_whole,
            every_member_is_linked,
            every_tenant_has_an_admin,
            no_email_was_sent,
            all_tenants_are_ready,
        ],
        jobs=[reconcile_tenants],
        sensors=[new_tenant_databases, clerk_changes],
        schedules=[reconcile_tenants_hourly],
        resources={"workbench": Workbench()},
        executor=executor,
    )


defs = build_defs()
