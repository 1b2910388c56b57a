"""Names of people as every system of ours and Twenty takes them."""

import unicodedata
from typing import Final

_BLANK: Final = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_FILLERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their category, which no font draws: of Hangul, and Braille without a dot."""


def shows_nothing(text: str) -> bool:
    """Whether it shows nothing at all."""
    return all(letter in _FILLERS or unicodedata.category(letter) in _BLANK for letter in text)


LONGEST: Final = 256
"""As many characters Clerk takes for a name. What came otherwise would go into every page and message that names it."""


def plain_name(name: str) -> str:
    """A name or another text for people, without control characters, each of which becomes a blank, and not endless.

    PostgreSQL stores no U+0000, and nothing that is UTF-8 holds half a surrogate pair.
    """
    text = name[:LONGEST]
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text)
    return text.strip()


def person_name(name: str) -> str:
    """A first or last name, plain, and nothing at all where nothing of it would be seen.

    Twenty 2.21.0 (run against it) takes a name of a million characters and of any script; U+0000 alone it refuses, as
    `Data validation error.`, and would refuse it again in every run.
    """
    text = plain_name(name)
    # what is left of plain ASCII can be seen
    return text if text.isascii() or not shows_nothing(text) else ""
