"""Names in Dagster that customers' names go into: valid, distinct, stable and short, whatever a customer is called.

Dagster takes only letters, digits and underscores, and none of Python's keywords and of its own words. A name is also
part of a file's path, where some systems do not tell `A` from `a`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

import dagster as dg

from provisioning_pipeline.model.tenant import Tenant

_LONGEST = 40
_PLAIN = re.compile(rf"[a-z0-9_]{{1,{_LONGEST}}}")
_OURS = re.compile(r"_[0-9a-f]{12}$")


def mapping_keys(tenants: Sequence[Tenant]) -> list[str]:
    """The mapping key of each tenant: its slug where Dagster takes that as it is and it is nobody else's, else what can
    be read of it and a hash of the database name."""
    slugs = Counter(tenant.slug for tenant in tenants)
    return [
        tenant.slug if slugs[tenant.slug] == 1 and _is_taken_as_it_is(tenant.slug) else _key(tenant)
        for tenant in tenants
    ]


def _is_taken_as_it_is(slug: str) -> bool:
    if not _PLAIN.fullmatch(slug) or _OURS.search(slug):
        return False
    try:
        # Dagster's own words are its own to know
        dg.DynamicOutput(None, mapping_key=slug)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


def _key(tenant: Tenant) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "_", tenant.slug).strip("_")[:_LONGEST] or "tenant"
    # a name may hold what no encoding has
    name = tenant.database_name.encode(errors="surrogatepass")
    return f"{readable}_{hashlib.sha256(name).hexdigest()[:12]}"
