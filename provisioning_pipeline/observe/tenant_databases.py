"""Looks into many tenant databases."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.tenant_database import MOST_ROWS, look
from provisioning_pipeline.model.tenant_database import Look


async def look_at(
    url_of: Callable[[str], str],
    evidence: Mapping[str, str],
    names: Sequence[str],
    looked_at: datetime,
    at_once: int,
    most_rows: int = MOST_ROWS,
) -> list[Look]:
    """Look into each of these databases, in the order of the names. One database's trouble is only its own look's.

    Args:
        url_of: database name → URL of any database of the cluster, under the user that opens this one.
        evidence: by name, read before; empty text stands for a database that it does not know.
        looked_at: by the clock of the ledger's database.
        at_once: how many connections there are at most.
        most_rows: how many rows of one table are read in each.
    """
    waiting = iter(dict.fromkeys(names))
    found: dict[str, Look] = {}

    async def one_after_another() -> None:
        for name in waiting:
            found[name] = await look(url_of(name), name, evidence.get(name, ""), looked_at, most_rows=most_rows)

    await all_of(one_after_another() for _ in range(min(at_once, len(names))))
    return [found[name] for name in names]
