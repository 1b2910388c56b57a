"""Turns: how many questions may begin at once, and how many a second after that."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

_ROUNDING_SECONDS: Final = 1e-6
"""What floating numbers add up to when a clock has run for months."""


class Turns:
    """Lets at most `at_once` begin together, and `per_second` after that.

    Args:
        at_once: at least 1.
        clock: seconds that only ever grow.
    """

    def __init__(self, at_once: float, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 1 / per_second
        self._ahead = (at_once - 1) / per_second
        self._clock = clock
        self._next = clock()
        """When the next one would begin if they came one by one."""

    async def turn(self, within_seconds: float) -> bool:
        """Wait for a turn, and have it; False at once, when none comes within so many seconds."""
        wait = self.take(within_seconds)
        if wait:
            await asyncio.sleep(wait)
        return wait is not None

    def take(self, within_seconds: float) -> float | None:
        """Take a turn that comes within so many seconds: after how many it does; None: there is none."""
        now = self._clock()
        begins = max(self._next, now)
        wait = begins - self._ahead - now
        if wait < _ROUNDING_SECONDS:
            wait = 0.0
        if wait > within_seconds:
            return None
        self._next = begins + self._each
        return wait
