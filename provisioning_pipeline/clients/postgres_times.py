"""PostgreSQL's times beyond Python's: infinity, years before Christ and after 9999."""

from datetime import UTC, datetime
from typing import Final

from psycopg import DataError
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader

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
