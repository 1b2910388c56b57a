"""JSON as PostgreSQL gives it, which takes nesting and numbers that Python does not."""

import json
from typing import Any

from psycopg import DataError


class OddJson(DataError):
    """JSON that is nested deeper, or has a number of more digits, than Python reads."""


def loads(data: str | bytes) -> Any:
    """A value of type json or jsonb.

    Raises:
        OddJson: when Python cannot read it.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OddJson(
            "it is nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        ) from None
