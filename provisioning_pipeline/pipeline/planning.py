"""Observe and decide: from the outside world to a plan. Reads only, in a dry run and in a real one alike."""

from collections.abc import Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import pandas as pd
from psycopg import Error

from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, detect, slug_of
from provisioning_pipeline.decide.plan import Observed, databases_to_probe, make_plan, organizations_to_ask
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.observe import cluster
from provisioning_pipeline.observe.clerk import ClerkSnapshot, organization_admins
from provisioning_pipeline.observe.twenty import TwentySnapshot, twenty_servers
from provisioning_pipeline.pipeline.connections import Connections


class UnknownTenants(RunFault):
    """A tenant was asked for by a name that nobody has."""


async def plan(connections: Connections, tenants: Collection[str] = (), *, by_hand: bool = True) -> Plan:
    """What a run would do, for these tenants (slugs or database names) or for all.

    Names that were not given `by_hand` may belong to databases that vanished since a sensor saw them.

    Raises:
        RunFault: when registry, ledger or cluster cannot be read, or Clerk refuses the key.
        UnknownTenants: when a name fits nobody.
    """
    settings = connections.settings
    names = sorted({name.strip() for name in tenants}) or None
    try:
        # a database without a row gets a slug of its own: rows with that slug are read too, so it stays unique
        wanted = None if names is None else [*names, *(slug_of(name, ()) for name in names)]
        (registry, links), databases, twenty = await _read(connections, names, wanted)
        columns = await connections.registry.columns()
        policy = DetectionPolicy(settings.adopt_databases, frozenset(settings.registry_excluded_statuses))
        detected = _chosen(detect(databases, registry, links, policy), names, by_hand=by_hand)
        probes, clerk = await both(
            cluster.probes(settings.tenant_cluster_url.get_secret_value(), databases_to_probe(detected)),
            _ask_clerk(connections, detected),
        )
    except Fault as fault:
        raise RunFault(fault.message) from None
    except Error as error:
        raise RunFault(f"PostgreSQL refused to be read: {str(error).splitlines()[0]}.") from None
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
            registry_stores=connections.registry.stores_workspaces(columns),
            admin_role=settings.clerk_admin_role,
        ),
    )


async def _read(
    connections: Connections, names: list[str] | None, wanted: list[str] | None
) -> tuple[list[pd.DataFrame], pd.DataFrame, TwentySnapshot]:
    """Registry and links, the cluster, the Twenty servers: at once, unless names tell what to read of the latter."""
    settings = connections.settings

    def ours() -> Coroutine[Any, Any, list[pd.DataFrame]]:
        return all_of([connections.registry.rows(wanted), connections.ledger.links(wanted)])

    def theirs(
        databases: list[str] | None, workspaces: list[str] | None
    ) -> Coroutine[Any, Any, tuple[pd.DataFrame, TwentySnapshot]]:
        return both(
            cluster.databases(
                connections.cluster,
                settings.tenant_database_pattern,
                settings.tenant_database_excluded,
                databases,
            ),
            twenty_servers(
                settings.servers, connections.twenty_databases, settings.tenant_database_pattern, workspaces
            ),
        )

    if names is None:
        found, (databases, twenty) = await both(ours(), theirs(None, None))
        return found, databases, twenty
    registry, links = found = await ours()
    databases, twenty = await theirs(
        [*names, *registry["database_name"], *links["database_name"]],
        _uuids([*links["workspace_id"], *registry["workspace_id"]]),
    )
    return found, databases, twenty


def _uuids(values: Iterable[object]) -> list[str]:
    """Those that are UUIDs: the registry's column is the tenant manager's, and may hold anything."""
    found = []
    for value in values:
        with suppress(ValueError):
            found.append(str(UUID(str(value))))
    return found


async def _ask_clerk(connections: Connections, detected: Sequence[Detected]) -> ClerkSnapshot:
    organizations = organizations_to_ask(detected)
    if not organizations:
        return ClerkSnapshot()
    return await organization_admins(connections.clerk, organizations, connections.settings.clerk_admin_role)


def _chosen(detected: Sequence[Detected], names: Sequence[str] | None, *, by_hand: bool) -> list[Detected]:
    if names is None:
        return list(detected)
    chosen = [found for found in detected if {found.tenant.slug, found.tenant.database_name} & set(names)]
    known = {name for found in chosen for name in (found.tenant.slug, found.tenant.database_name)}
    unknown = [name for name in names if name not in known]
    if unknown and by_hand:
        raise UnknownTenants(
            f"No tenant is called {', '.join(map(repr, unknown))}. Give a slug or a database name as `provisioning "
            "status` lists them."
        )
    return chosen
