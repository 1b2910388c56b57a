"""The assets that every reconciliation records. They can be materialized by hand too: that reads and draws, no more."""

from typing import Any

import dagster as dg

from provisioning_pipeline.defs.resources import Workbench
from provisioning_pipeline.report import markdown

GROUP = "reconciliation"
OWNERS = ["team:platform"]


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "python"},
    description="Every tenant with its server, workspace, admin and state, as the ledger knows them.",
    tags={"capability": "provisioning"},
)
def tenant_inventory(workbench: Workbench) -> dg.MaterializeResult[Any]:
    """One row per tenant."""
    from provisioning_pipeline.pipeline.conclude import tenants

    lines = workbench.with_dry_connections(lambda connections: tenants(connections.ledger))
    states = [line.state for line in lines]
    return dg.MaterializeResult(
        metadata={
            "tenants": len(lines),
            "ready_tenants": states.count("ready"),
            "unwell_tenants": states.count("unwell"),
            "table": dg.MetadataValue.md(markdown.inventory_table(lines)),
        }
    )


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"html", "markdown"},
    deps=[tenant_inventory],
    description="The report of the last reconciliation: who is unwell, why, what to do, and what was done.",
    tags={"capability": "provisioning"},
)
def reconciliation_report(workbench: Workbench) -> dg.MaterializeResult[Any]:
    """The last run's report, drawn anew from the ledger."""
    from provisioning_pipeline.pipeline.conclude import last_report

    drawn = workbench.with_dry_connections(last_report)
    if drawn is None:
        return dg.MaterializeResult(metadata={"verdict": "No reconciliation has finished yet."})
    summary, path = drawn
    return dg.MaterializeResult(
        metadata={
            "ready_tenants": summary.count("ready"),
            "unwell_tenants": summary.count("unwell"),
            "summary": dg.MetadataValue.md(markdown.render(summary)),
            "report": dg.MetadataValue.path(str(path)),
            "verdict": summary.verdict,
        }
    )
