"""Words of the tenant registry, as everything else compares them."""

from collections.abc import Sequence
from typing import Final


def registry_status(said: object) -> str:
    """A registry's word for the status of a tenant, as policies compare it: in lower case, without blanks around it."""
    return str(said or "").strip().lower()


def is_pending_status(status: object, pending: Sequence[str]) -> bool:
    """Whether a tenant of this status becomes ready once it is: it says so, or says nothing."""
    said = registry_status(status)
    return not said or said in {registry_status(word) for word in pending}


_MOST_BYTES: Final = 63


def folded_name(database_name: str) -> str:
    """What PostgreSQL makes of a database's name that is written without quotes: in small letters, cut to 63 bytes."""
    small = "".join(letter.lower() if letter.isascii() else letter for letter in database_name.strip())
    return small.encode("utf-8", "replace")[:_MOST_BYTES].decode("utf-8", "ignore")
