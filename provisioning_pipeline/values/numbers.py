"""Numbers as settings take them."""

import math
from collections.abc import Callable
from typing import Any, Final

MOST_DAYS: Final = 36_500
"""A century: beyond that a moment has no place in a calendar any more."""
MOST_SECONDS: Final = MOST_DAYS * 86_400
MOST_COUNT: Final = 1_000_000_000
"""As many as fit into every integer on the way."""


def between(least: float, most: float, *, above: bool = False) -> Callable[[Any], float]:
    """A check: a number, or the text of one, from `least` to `most`; with `above` it must be more than `least`."""

    def check(value: Any) -> float:
        number = _number(value)
        if not least <= number <= most or (above and number == least):
            raise ValueError(f"must be {'more than' if above else 'at least'} {least:g} and at most {most:g}")
        return number

    return check


def whole(least: int, most: int) -> Callable[[Any], int]:
    """A check: a whole number, or the text of one, from `least` to `most`."""
    checked = between(least, most)

    def check(value: Any) -> int:
        if not _number(value).is_integer():
            raise ValueError("must be a whole number")
        return int(checked(value))

    return check


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a number, without a unit")
    return number
