"""Partition keys that customers' names go into: valid, distinct, stable and short, whatever a customer is called.

Dagster refuses keys with control characters or `...`. A key is also part of URLs and, where a job stores partitions as
files, of a path; some systems do not distinguish `A` from `a` there.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from provisioning_pipeline.model.tenant import Tenant

_LONGEST = 40
_PLAIN = re.compile(rf"[a-z0-9_-]{{1,{_LONGEST}}}")
_OURS = re.compile(r"_[0-9a-f]{12}$")


def partition_keys(tenants: Sequence[Tenant], slugs: Iterable[str] | None = None) -> list[str]:
    """The partition key of each of these tenants; `slugs` are those of all tenants, None: these are all.

    It is the slug where that is plain and no other tenant has it, else what can be read of the slug and a hash of the
    database name.
    """
    counts = Counter(slugs if slugs is not None else (tenant.slug for tenant in tenants))
    return [
        tenant.slug
        if counts[tenant.slug] <= 1 and _PLAIN.fullmatch(tenant.slug) and not _OURS.search(tenant.slug)
        else _key(tenant)
        for tenant in tenants
    ]


def _key(tenant: Tenant) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "_", tenant.slug).strip("_")[:_LONGEST] or "tenant"
    # a name may hold what no encoding has
    name = tenant.database_name.encode(errors="surrogatepass")
    return f"{readable}_{hashlib.sha256(name).hexdigest()[:12]}"
