"""The cluster that holds the tenant databases: which there are."""

from collections.abc import Sequence
from typing import LiteralString

import pandas as pd

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.frames import DATABASES, frame

_NAMES: LiteralString = """
    SELECT COALESCE(json_agg(datname ORDER BY datname), '[]') AS names FROM pg_database
    WHERE datname ~ %(pattern)s AND NOT datistemplate AND datname <> ALL(%(excluded)s)
"""


async def database_names(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> list[str]:
    """The names of the tenant databases, or of those in `only`, in one query over the catalogue, sorted.

    One row of JSON: ten thousand rows cost more than the query.
    """
    parameters = {"pattern": pattern, "excluded": list(excluded)}
    if only is None:
        (row,) = await cluster.fetch(_NAMES, parameters)
    else:
        # a condition of its own, so that a few names go by the index
        (row,) = await cluster.fetch(_NAMES + " AND datname = ANY(%(only)s)", parameters | {"only": list(only)})
    return list(row["names"])


async def databases(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> pd.DataFrame:
    """The same as a frame with the columns of `DATABASES`."""
    return frame(DATABASES, [(name,) for name in await database_names(cluster, pattern, excluded, only)])
