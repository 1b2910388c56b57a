"""Requests that a caller may send in a minute to all processes of `provisioning serve` together: one row for each."""

import hashlib
from dataclasses import dataclass
from typing import Final, LiteralString

from provisioning_pipeline.clients.postgres import Database

_SECONDS: Final = 60.0
# of the row that was there: 0: of this minute, 1: of the one before, -1: another process was quicker as a minute began
_AGE: Final[LiteralString] = "(floor(excluded.at) - floor(w.at))"
_TAKEN: Final[LiteralString] = f"CASE WHEN {_AGE} IN (0, -1) THEN w.taken ELSE 0 END"
_BEFORE: Final[LiteralString] = f"CASE WHEN {_AGE} IN (0, -1) THEN w.before WHEN {_AGE} = 1 THEN w.taken ELSE 0 END"
_FITS: Final[LiteralString] = (
    f"({_BEFORE}) * (1 - excluded.at + floor(excluded.at)) + ({_TAKEN}) + 1 <= %(most)s::float8"
)
_TAKE: Final[LiteralString] = f"""
    INSERT INTO provisioning.request_window AS w (caller, at, taken, before, let_in)
    VALUES (%(caller)s, extract(epoch FROM clock_timestamp())::float8 / 60, 1, 0, true)
    ON CONFLICT (caller) DO UPDATE SET
        at = excluded.at, taken = ({_TAKEN}) + ({_FITS})::integer, before = {_BEFORE}, let_in = {_FITS}
    RETURNING at - floor(at) AS gone_by, taken, before, let_in
"""  # noqa: S608  # texts of ours alone


@dataclass(frozen=True, slots=True)
class Window:
    """What a caller has sent, as the sliding window counter of `limits` counts it.

    Args:
        gone_by: the part of this minute that is over.
        taken: requests in it.
        before: those of the minute before, which count for the part that this one still has.
    """

    gone_by: float
    taken: int
    before: int

    def seconds_until_room(self, most: int) -> float:
        """How long until one more is within the limit, if none comes meanwhile."""
        if self.taken < most:
            return (1 - (most - 1 - self.taken) / max(1, self.before) - self.gone_by) * _SECONDS
        # in the next minute, of which these are the ones before
        return (1 - self.gone_by + 1 - (most - 1) / self.taken) * _SECONDS


async def take_request(database: Database, what: str, most: int) -> float:
    """Count a request, unless it is one too many: how many seconds to wait then; 0 for one that is within the limit.

    Args:
        what: what is limited, and whose it is; stored as a hash.
        most: requests in a minute.
    """
    caller = hashlib.sha256(what.encode()).hexdigest()
    ((gone_by, taken, before, let_in),) = await database.fetch_tuples(_TAKE, {"caller": caller, "most": most})
    return 0.0 if let_in else max(0.0, Window(gone_by, taken, before).seconds_until_room(most))


async def forget_requests(database: Database) -> None:
    """Delete what counts no more."""
    await database.execute(
        "DELETE FROM provisioning.request_window WHERE at < extract(epoch FROM clock_timestamp())::float8 / 60 - 3"
    )
