"""What is remembered for a while, up to so many entries; the one that was asked for longest ago goes first."""

import time
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, each for its own time.

    Args:
        most: how many are kept.
        clock: seconds that only ever grow.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: dict[K, tuple[V, float]] = {}

    def get(self, key: K) -> V | None:
        """The value; None when there is none any more."""
        found = self._kept.pop(key, None)
        if found is None or found[1] <= self._clock():
            return None
        # a dictionary keeps the order in which keys came
        self._kept[key] = found
        return found[0]

    def keep(self, key: K, value: V, seconds: float = inf) -> None:
        """Remember it for so long, in place of what was there."""
        self._kept.pop(key, None)
        if seconds > 0:
            self._kept[key] = value, self._clock() + seconds
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]

    def forget(self, key: K) -> None:
        """Remember it no more."""
        self._kept.pop(key, None)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None
