"""What should be true of a fleet after a reconciliation."""

import dagster as dg

from provisioning_pipeline.defs.reconciliation.assets import tenant_inventory
from provisioning_pipeline.defs.resources import Workbench
from provisioning_pipeline.report import markdown


@dg.asset_check(
    asset=tenant_inventory,
    description="No tenant needs anybody: each is ready, or set aside on purpose.",
)
def all_tenants_are_ready(workbench: Workbench) -> dg.AssetCheckResult:
    """Passes when no tenant is unwell."""
    from provisioning_pipeline.pipeline.conclude import tenants

    lines = workbench.with_dry_connections(lambda connections: tenants(connections.ledger))
    unwell = [line for line in lines if line.state == "unwell"]
    return dg.AssetCheckResult(
        passed=not unwell,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "unwell_tenants": len(unwell),
            "who": dg.MetadataValue.md(markdown.unwell_table(unwell) if unwell else "Nobody."),
        },
    )
