"""Looks into many tenant databases."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, LiteralString

import pandas as pd

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.tenant_database import MOST_ROWS, kept_out, look
from provisioning_pipeline.model.frames import DATABASES, frame
from provisioning_pipeline.model.tenant_database import Inspection

_MOST_HELD_UP: Final = 3
"""Sessions that hang in one database as they begin: one is the owner's own, and the others may be ours."""


async def look_at(
    url_of: Callable[[str], str],
    evidence: Mapping[str, str],
    names: Sequence[str],
    looked_at: datetime,
    at_once: int,
    most_rows: int = MOST_ROWS,
    held_up: Mapping[str, int] = MappingProxyType({}),
) -> list[Inspection]:
    """Look into each of these databases, in the order of the names. Trouble with one database is only in its own.

    Args:
        url_of: database name → URL of any database of the cluster, under the user that opens this one.
        evidence: by name, read before; empty text stands for a database that it does not know.
        looked_at: by the clock of the ledger's database.
        at_once: how many connections there are at most.
        most_rows: how many rows of one table are read in each.
        held_up: how many sessions hang in a database as they begin, where any do.
    """
    waiting = iter(dict.fromkeys(names))
    found: dict[str, Inspection] = {}

    async def one_after_another() -> None:
        for name in waiting:
            if (hanging := held_up.get(name, 0)) >= _MOST_HELD_UP:
                found[name] = kept_out(Inspection(name, evidence.get(name, ""), looked_at), hanging)
                continue
            found[name] = await look(url_of(name), name, evidence.get(name, ""), looked_at, most_rows=most_rows)

    await all_of(one_after_another() for _ in range(min(at_once, len(names))))
    return [found[name] for name in names]


# a database whose DROP was interrupted is marked by a connection limit of -2
_NAMES: LiteralString = """
    SELECT COALESCE(json_agg(datname ORDER BY datname), '[]') AS names,
           COALESCE(json_object_agg(datname, trouble) FILTER (WHERE trouble IS NOT NULL), '{}') AS troubles
    FROM pg_database, LATERAL (SELECT CASE
        WHEN datconnlimit = -2 THEN 'invalid' WHEN NOT datallowconn OR datconnlimit = 0 THEN 'closed' END) t(trouble)
    WHERE datname ~ %(pattern)s AND NOT datistemplate AND datname <> ALL(%(excluded)s)
"""


async def database_names(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> list[str]:
    """The names of the tenant databases, or of those in `only`, in one query over the catalogue, sorted."""
    names, _ = await _names(cluster, pattern, excluded, only)
    return names


async def databases(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> pd.DataFrame:
    """The same as a frame with the columns of `DATABASES`."""
    names, troubles = await _names(cluster, pattern, excluded, only)
    return frame(DATABASES, [(name, troubles.get(name)) for name in names])


async def _names(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None
) -> tuple[list[str], dict[str, str]]:
    """The names, and what is wrong with those to which nothing can connect.

    One row of JSON: ten thousand rows cost more than the query.
    """
    parameters = {"pattern": pattern, "excluded": list(excluded)}
    if only is None:
        (row,) = await cluster.fetch(_NAMES, parameters)
    else:
        # a condition of its own, so that a few names go by the index
        (row,) = await cluster.fetch(_NAMES + " AND datname = ANY(%(only)s)", parameters | {"only": list(only)})
    return list(row["names"]), dict(row["troubles"])
