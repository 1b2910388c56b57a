"""Slugs for databases without a name. Only for adoption: a name that is derived from another may be cut, or wrong."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from anyascii import anyascii

from provisioning_pipeline.model.slug import LONGEST_SLUG

_NAMED: Final = re.compile(r"twenty_tenant_(?P<slug>.+?)(?:_(?P<hash>[0-9a-f]{8}))?", re.DOTALL)
_HASH_LENGTH: Final = 12


def slug_of(database_name: str) -> str:
    """The slug that a database of this name gets where no other tenant has it.

    It is one whatever the name holds: other letters are put into Latin ones, everything else becomes a hyphen.
    """
    return _plain(_readable(database_name)) or _plain(database_name) or "tenant"


def slugs_of(database_names: Iterable[str], taken: Collection[str]) -> Mapping[str, str]:
    """Database name → its slug, which none of the others gets and which is not `taken`."""
    wished = {name: slug_of(name) for name in database_names}
    counts = Counter(wished.values())
    found = {name: slug for name, slug in wished.items() if counts[slug] == 1 and slug not in taken}
    had = {*taken, *found.values()}
    for name in sorted(wished.keys() - found.keys()):
        found[name] = next(slug for slug in _own(name, wished[name]) if slug not in had)
        had.add(found[name])
    return found


def namesakes_of(database_name: str) -> tuple[str, ...]:
    """Slugs under which a tenant of such a database may be known: that of now, and the one of earlier versions."""
    as_written = _readable(database_name).strip("_-").lower() or database_name
    return tuple(dict.fromkeys((slug_of(database_name), as_written)))


def name_of(slug: str) -> str:
    """A display name for a tenant without a name."""
    return re.sub(r"[-_]+", " ", slug).strip().title() or slug


def _readable(database_name: str) -> str:
    match = _NAMED.fullmatch(database_name)
    return match["slug"] if match else database_name


def _own(database_name: str, slug: str) -> Iterable[str]:
    """Slugs of this database alone: with the hash in its name where that is all that the slug lacks of it, then with
    ever more of a hash of its name."""
    match = _NAMED.fullmatch(database_name)
    if match and match["hash"] and match["slug"] == slug:
        yield _with_tail(slug, match["hash"])
    digest = hashlib.sha256(database_name.encode("utf-8", "surrogatepass")).hexdigest()
    yield from (_with_tail(slug, digest[:length]) for length in range(_HASH_LENGTH, LONGEST_SLUG))


def _with_tail(slug: str, tail: str) -> str:
    return f"{slug[: LONGEST_SLUG - 1 - len(tail)].strip('-')}-{tail}"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", anyascii(text).lower()).strip("-")[:LONGEST_SLUG].rstrip("-")
