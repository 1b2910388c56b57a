"""What a workspace is called: the wanted name where Twenty takes it, else as much of it as Twenty takes, else the slug.

Twenty 2.21.0 (run against it) takes up to 100 characters, which it counts as code points: 100 emoji are taken, though
they are 200 UTF-16 units, and 101 ideographs are refused. A name of nothing but blanks, a byte order mark or U+2028
counts as none, and PostgreSQL stores no U+0000.
"""

import unicodedata
from dataclasses import dataclass
from typing import Final

from provisioning_pipeline.model.names import shows_nothing

LONGEST: Final = 100
_MORE: Final = "…"
_JOINER: Final = "\u200d"
_NO_TEXT: Final = frozenset({"Cc", "Cs"})
_CONTINUES: Final = frozenset({"Mn", "Me", "Mc"})


@dataclass(frozen=True, slots=True)
class DisplayName:
    """The name of a workspace that is to be made.

    Args:
        text: as Twenty gets it.
        why: why it is not the wanted one, as a clause for a person; empty where it is.
    """

    text: str
    why: str = ""


def display_name(wanted: str, slug: str, database_name: str) -> DisplayName:
    """The name for a workspace; `slug` and then `database_name` stand in for a name that shows nothing."""
    cleaned = _cleaned(wanted)
    if not cleaned:
        instead = _cleaned(slug) or database_name
        return DisplayName(_cut(instead), "the registry's name is blank, so that the slug stands in for it")
    if len(cleaned) > LONGEST:
        return DisplayName(
            _cut(cleaned), f"the registry's name has {len(cleaned)} characters and Twenty takes {LONGEST}, so it is cut"
        )
    if cleaned != wanted.strip():
        return DisplayName(cleaned, "the registry's name holds control characters, which are left out")
    return DisplayName(cleaned)


def _cleaned(name: str) -> str:
    """The name without what is no text, and nothing at all where nothing of it can be seen."""
    text = "".join(" " if unicodedata.category(letter) in _NO_TEXT else letter for letter in name).strip(" \t\ufeff")
    text = text.strip()
    return "" if shows_nothing(text) else text


def _cut(name: str) -> str:
    """At most as long as Twenty takes, and not in the middle of what is shown as one character."""
    if len(name) <= LONGEST:
        return name
    end = LONGEST - len(_MORE)
    while end > 1 and (unicodedata.category(name[end]) in _CONTINUES or _JOINER in name[end - 1 : end + 1]):
        end -= 1
    return name[:end].rstrip() + _MORE
