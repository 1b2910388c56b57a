"""Names that come from outside: of people, of tenants, and how they are shown."""

import re
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


_ZWNJ, _ZWJ, _EMOJI_STYLE, _KEYCAP = "\u200c", "\u200d", "\ufe0f", "\u20e3"
_HIDDEN: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Marks and letters by their category, which no font draws: fillers, and selectors of variants."""
_STEERS: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_PLAIN_BLANKS: Final = frozenset(" \u3000")
_EMOJI: Final = frozenset({"So", "Sk"})
_VIRAMA: Final = 9
_NEW_EMOJI: Final = range(0x1F000, 0x20000)
"""Where later versions of Unicode than this Python's add symbols."""
_ASCII: Final = re.compile(r"[ -\[\]-~]*")
_DOUBTFUL: Final = re.compile(r"[^ -\[\]-~]")


def visible(text: str) -> str:
    r"""On one line, with an escape such as `\x1b` for what would steer, turn around or hide.

    Two texts that differ never come to the same: a backslash that could be the beginning of an escape is doubled.
    """
    if _ASCII.fullmatch(text):
        return text
    shown = [_shown(text, place) for place in range(len(text))]
    doubled: list[str] = []
    escape_follows = False
    for letter, as_shown in zip(reversed(text), reversed(shown), strict=True):
        is_escape = as_shown != letter
        if letter == "\\" and escape_follows:
            as_shown = "\\\\"
        elif letter != "\\":
            escape_follows = is_escape or letter in "xuUnt"
        doubled.append(as_shown)
    return "".join(reversed(doubled))


def unsteered(text: str) -> str:
    """The same for sentences of ours, which have lines and tabs: those and backslashes stay as they are."""
    return _DOUBTFUL.sub(lambda found: found[0] if found[0] in "\n\t\\" else _shown(text, found.start()), text)


def _shown(text: str, place: int) -> str:
    letter = text[place]
    before, after = text[max(place - 1, 0) : place], text[place + 1 : place + 2]
    return _escape(letter) if _hides(letter, before, after) else letter


def _hides(letter: str, before: str, after: str) -> bool:
    category = unicodedata.category(letter)
    if letter in (_ZWJ, _ZWNJ):
        return not _shapes(letter, before, after)
    if letter == _EMOJI_STYLE:
        # an emoji in colour, or a key's cap
        return not (_is_emoji(before) or after == _KEYCAP)
    if category == "Cn":
        return ord(letter) not in _NEW_EMOJI
    return category in _STEERS or letter in _HIDDEN or (category == "Zs" and letter not in _PLAIN_BLANKS)


def _shapes(letter: str, before: str, after: str) -> bool:
    """Whether a joiner changes what is seen, by the rules that domain names have for it, or makes one emoji of two."""
    if not before or not after:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if letter == _ZWNJ:
        return unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
    return (_is_emoji(before) or before == _EMOJI_STYLE) and _is_emoji(after)


def _is_emoji(letter: str) -> bool:
    return bool(letter) and (unicodedata.category(letter) in _EMOJI or ord(letter) in _NEW_EMOJI)


def _escape(letter: str) -> str:
    if letter in "\n\t":
        return {"\n": "\\n", "\t": "\\t"}[letter]
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


LONGEST_SLUG: Final = 63
SLUG: Final = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
"""Lower-case letters of ASCII, digits and hyphens inside. Slugs that the registry holds are its own to choose."""
_SLUG: Final = re.compile(SLUG)


def is_slug(text: str) -> bool:
    """Whether a new slug may read so."""
    return _SLUG.fullmatch(text) is not None
