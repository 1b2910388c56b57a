"""Which tenants a request for many is about, and what becomes of it for each name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from provisioning_pipeline.model.api_key import Reach


class Asked(StrEnum):
    """What became of the request for one name."""

    REQUESTED = "requested"
    EXCLUDED = "excluded"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class KnownTenant:
    """A tenant by ledger or registry.

    Args:
        excluded: suspended or gone, so that nothing is wanted of it.
        gone: it has left its slug to the next customer.
    """

    database_name: str
    slug: str
    excluded: bool
    gone: bool = False


@dataclass(frozen=True, slots=True)
class AskedTenant:
    """One name of a request. `tenant` is None where there is no telling which is meant."""

    name: str
    result: Asked
    tenant: KnownTenant | None


def sorted_out(names: Sequence[str], known: Sequence[KnownTenant], reach: Reach) -> tuple[AskedTenant, ...]:
    """Each of these names, in their order, with its tenant in reach.

    One outside of the key's reach is answered like one that there is not: its caller may not know of it.
    """
    by_database = {tenant.database_name: tenant for tenant in known}
    by_slug: dict[str, list[KnownTenant]] = {}
    for tenant in known:
        by_slug.setdefault(tenant.slug, []).append(tenant)
    return tuple(_asked(name, by_database, by_slug, reach) for name in dict.fromkeys(names))


def _asked(
    name: str, by_database: Mapping[str, KnownTenant], by_slug: Mapping[str, list[KnownTenant]], reach: Reach
) -> AskedTenant:
    """By database name first, then by slug, as a single tenant is asked for."""
    found = [by_database[name]] if name in by_database else by_slug.get(name, [])
    found = [tenant for tenant in found if not tenant.gone] or found
    if not all(reach.covers(tenant.slug) for tenant in found):
        found = []
    if len(found) != 1:
        return AskedTenant(name, Asked.AMBIGUOUS if found else Asked.UNKNOWN, None)
    (tenant,) = found
    return AskedTenant(name, Asked.EXCLUDED if tenant.excluded else Asked.REQUESTED, tenant)
