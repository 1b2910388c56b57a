"""What a run records about single tenants: an event for each one that it changed."""

from collections.abc import Iterator, Sequence

import dagster as dg

from provisioning_pipeline.defs.names import partition_keys
from provisioning_pipeline.defs.provisioning.assets import TENANTS, tenant_workspace
from provisioning_pipeline.model.condition import StoredCondition
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.report import markdown
from provisioning_pipeline.report.summary import OutcomeLine, Summary, TenantLine

_MOST_LISTED = 50


def history_recorded(
    instance: dg.DagsterInstance, summary: Summary, conditions: Sequence[StoredCondition]
) -> Iterator[dg.AssetMaterialization]:
    """An event in the partition of each tenant that the run changed; the others get none.

    Args:
        instance: it learns of new partitions, all at once.
        summary: of the run.
        conditions: at least those of the tenants that changed.
    """
    changed = summary.changed
    if not changed:
        return
    keys = partition_keys(
        [Tenant(line.database_name, line.slug, line.slug) for line in changed], (line.slug for line in summary.tenants)
    )
    instance.add_dynamic_partitions(str(TENANTS.name), keys)
    held: dict[str, list[StoredCondition]] = {}
    for stored in conditions:
        held.setdefault(stored.database_name, []).append(stored)
    done: dict[str, list[OutcomeLine]] = {}
    for outcome in summary.outcomes:
        done.setdefault(outcome.database_name, []).append(outcome)
    for line, key in zip(changed, keys, strict=True):
        metadata = _metadata(line, done[line.database_name], held.get(line.database_name, ()))
        yield dg.AssetMaterialization(tenant_workspace.key, partition=key, metadata=metadata)


def _metadata(
    line: TenantLine, outcomes: Sequence[OutcomeLine], conditions: Sequence[StoredCondition]
) -> dict[str, dg.MetadataValue]:
    rows = [
        (one.change, "done" if one.done else "failed", one.detail, f"{one.seconds:.2f}")
        for one in outcomes[:_MOST_LISTED]
    ]
    more = f"\n\n…and {len(outcomes) - _MOST_LISTED} more." if len(outcomes) > _MOST_LISTED else ""
    held = [
        (found.type, found.status, found.reason, found.message) for found in (stored.condition for stored in conditions)
    ]
    url = {"workspace": dg.MetadataValue.url(line.workspace_url)} if line.workspace_url else {}
    return {
        "tenant": dg.MetadataValue.text(line.slug),
        "database": dg.MetadataValue.text(line.database_name),
        "ready": dg.MetadataValue.bool(line.state == "ready"),
        "reason": dg.MetadataValue.text(str(line.reason)),
        "changes": dg.MetadataValue.md(markdown.table(("change", "ended", "what", "seconds"), rows) + more),
        "conditions": dg.MetadataValue.md(markdown.table(("condition", "status", "reason", "what it says"), held)),
        **url,
    }
