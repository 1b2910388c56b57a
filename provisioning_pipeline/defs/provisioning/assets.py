"""The asset that keeps each tenant's history."""

import dagster as dg

TENANTS = dg.DynamicPartitionsDefinition(name="tenants")
"""A partition for each tenant that a run has changed."""

tenant_workspace = dg.AssetSpec(
    "tenant_workspace",
    group_name="provisioning",
    owners=["team:platform"],
    tags={"capability": "provisioning"},
    kinds={"postgres"},
    partitions_def=TENANTS,
    description="A tenant's workspace, one partition for each tenant. Every run that changes something for a tenant "
    "adds an event: what it did, the conditions that hold since, and where one signs in. A run that changes nothing "
    "for a tenant adds none.",
)
