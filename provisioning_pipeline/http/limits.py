"""How often one caller may ask, per minute and per process."""

from http import HTTPStatus
from math import ceil
from time import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from provisioning_pipeline.http.problems import Problem
from provisioning_pipeline.model.api_key import KeyRefusal


class RateLimit:
    """At most so many requests of one caller in any minute.

    Args:
        per_minute: requests of one caller.
        what: what is limited, for the refusal.
        why: as which word the refusal of a service is kept, if at all.
    """

    def __init__(self, per_minute: int, what: str, why: KeyRefusal | None = None) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._what = what
        self._why = why

    def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            Problem: 429 with `Retry-After` when it is one too many.
        """
        if not self._limiter.hit(self._item, caller):
            raise self._too_many(caller)

    def must_have_room(self, caller: str) -> None:
        """Count nothing; refuse a caller who has used up everything.

        Raises:
            Problem: as `take`.
        """
        if not self.has_room(caller):
            raise self._too_many(caller)

    def has_room(self, caller: str) -> bool:
        """Whether one more of this caller's would be let through; nothing is counted."""
        return bool(self._limiter.test(self._item, caller))

    def _too_many(self, caller: str) -> Problem:
        resets_at = self._limiter.get_window_stats(self._item, caller).reset_time
        seconds = max(1, ceil(resets_at - time()))
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"Too many {self._what}: {self._item.amount} in a minute are allowed. Come again later.",
            {"Retry-After": str(seconds)},
            why=self._why,
        )
