"""Names of people as every system of ours and Twenty takes them."""

import unicodedata
from typing import Final

_BLANK: Final = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_FILLERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their category, which no font draws: of Hangul, and Braille without a dot."""


def shows_nothing(text: str) -> bool:
    """Whether nobody would see anything of it."""
    return all(letter in _FILLERS or unicodedata.category(letter) in _BLANK for letter in text)


def person_name(name: str) -> str:
    """A first or last name without control characters, each of which becomes a blank, and without blanks around it.

    Nothing at all where nothing of it would be seen.

    Twenty 2.21.0 (run against it) takes a name of a million characters and of any script; U+0000 alone it refuses, as
    `Data validation error.`, and would refuse it again in every run.
    """
    text = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name).strip()
    return "" if shows_nothing(text) else text
