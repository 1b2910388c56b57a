"""What a slug is, wherever one enters: short, plain, and the same in an address, a file's name and a terminal."""

import re
from typing import Final

LONGEST_SLUG: Final = 63
SLUG: Final = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
"""Lower-case letters of ASCII, digits and hyphens inside. Slugs that the registry holds are its own to choose."""
_PLAIN: Final = re.compile(SLUG)


def is_slug(text: str) -> bool:
    """Whether a new slug may read so."""
    return _PLAIN.fullmatch(text) is not None
