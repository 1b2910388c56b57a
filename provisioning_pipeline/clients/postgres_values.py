"""PostgreSQL's JSON and times where they go beyond Python's."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import DataError
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader


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


EARLIEST: Final = datetime(1678, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2262, 1, 1, tzinfo=UTC)
"""As far as pandas counts, too."""


class AnyTime(TimestamptzLoader):
    """Loads a time that Python has no word for as the earliest or latest one that is understood everywhere here."""

    def load(self, data: Buffer) -> datetime:
        """One time in text form."""
        try:
            return super().load(data)
        except DataError:
            text = bytes(data)
            return EARLIEST if text.startswith(b"-") or text.endswith(b"BC") else LATEST
