"""Observe and decide: from the outside world to a plan. Reads only, in a dry run and in a real one alike."""

import asyncio
from collections.abc import Collection, Sequence

from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, detect
from provisioning_pipeline.decide.plan import Observed, databases_to_probe, make_plan, organizations_to_ask
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.observe import cluster
from provisioning_pipeline.observe.clerk import ClerkSnapshot, organization_admins
from provisioning_pipeline.observe.twenty import twenty_servers
from provisioning_pipeline.pipeline.connections import Connections


class UnknownTenants(RunFault):
    """A tenant was asked for by a name that nobody has."""


async def plan(connections: Connections, tenants: Collection[str] = ()) -> Plan:
    """What a run would do, for these tenants (slugs or database names) or for all.

    Raises:
        RunFault: when registry, ledger or cluster cannot be read, or Clerk refuses the key.
        UnknownTenants: when a name fits nobody.
    """
    settings = connections.settings
    try:
        databases, registry, links, twenty, columns = await asyncio.gather(
            cluster.databases(
                connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded
            ),
            connections.registry.rows(),
            connections.ledger.links(),
            twenty_servers(settings.servers, connections.twenty_databases, settings.tenant_database_pattern),
            connections.registry.columns(),
        )
        policy = DetectionPolicy(settings.adopt_databases, frozenset(settings.registry_excluded_statuses))
        detected = _chosen(detect(databases, registry, links, policy), tenants)
        probes, clerk = await asyncio.gather(
            cluster.probes(settings.tenant_cluster_url.get_secret_value(), databases_to_probe(detected)),
            _ask_clerk(connections, detected),
        )
    except Fault as fault:
        raise RunFault(fault.message) from None
    return make_plan(
        detected,
        Observed(
            servers=twenty.servers,
            workspaces=twenty.workspaces,
            flags=twenty.flags,
            probes=probes,
            service_users=twenty.service_users,
            holders=clerk.holders,
            users=clerk.users,
            registry_stores=connections.registry.has_workspace_column(columns),
            admin_role=settings.clerk_admin_role,
        ),
    )


async def _ask_clerk(connections: Connections, detected: Sequence[Detected]) -> ClerkSnapshot:
    organizations = organizations_to_ask(detected)
    if not organizations:
        return ClerkSnapshot()
    return await organization_admins(
        connections.clerk, organizations, connections.settings.clerk_admin_role
    )


def _chosen(detected: Sequence[Detected], names: Collection[str]) -> list[Detected]:
    if not names:
        return list(detected)
    wanted = {name.strip() for name in names}
    chosen = [
        found for found in detected if {found.tenant.slug, found.tenant.database_name} & wanted
    ]
    known = {name for found in chosen for name in (found.tenant.slug, found.tenant.database_name)}
    unknown = sorted(wanted - known)
    if unknown:
        raise UnknownTenants(
            f"No tenant is called {', '.join(map(repr, unknown))}. Give a slug or a database name as `provisioning "
            "status` lists them."
        )
    return chosen
