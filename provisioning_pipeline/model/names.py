"""Names of people as every system of ours and Twenty takes them."""

import unicodedata


def person_name(name: str) -> str:
    """A first or last name without control characters, each of which becomes a blank, and without blanks around it.

    Twenty 2.21.0 (run against it) takes a name of a million characters and of any script; U+0000 alone it refuses, as
    `Data validation error.`, and would refuse it again in every run.
    """
    return "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name).strip()
