"""The cluster that holds the tenant databases: which there are."""

from collections.abc import Sequence
from typing import LiteralString

import pandas as pd

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.frames import DATABASES, frame

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
