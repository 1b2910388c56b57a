"""Names: of people and tenants as they come from outside, of the workspaces that we make, and how they are shown."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anyascii import anyascii

_BLANK: Final = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_FILLERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their category, which no font draws: of Hangul, and Braille without a dot."""


def shows_nothing(text: str) -> bool:
    """Whether it shows nothing at all."""
    return all(letter in _FILLERS or unicodedata.category(letter) in _BLANK for letter in text)


def first_few(texts: Sequence[str], most: int = 3, *, by: str = ", ", more: str = " and ") -> str:
    """At most so many of these, and how many others there are."""
    others = len(texts) - most
    return by.join(texts[:most]) + (f"{more}{others} more" if others > 0 else "")


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


# --- of workspaces: valid at Twenty, and the same each time for the same tenant --------------------------------------

LONGEST_NAME: Final = 100
_ELLIPSIS: Final = "…"
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
    if len(cleaned) > LONGEST_NAME:
        return DisplayName(
            _cut(cleaned),
            f"the registry's name has {len(cleaned)} characters and Twenty takes {LONGEST_NAME}, so it is cut",
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
    if len(name) <= LONGEST_NAME:
        return name
    end = LONGEST_NAME - len(_ELLIPSIS)
    while end > 1 and (unicodedata.category(name[end]) in _CONTINUES or _JOINER in name[end - 1 : end + 1]):
        end -= 1
    return name[:end].rstrip() + _ELLIPSIS


LONGEST_SUBDOMAIN: Final = 30
_HASH_LENGTH: Final = 8
_SUBDOMAIN = re.compile(r"[a-z0-9][a-z0-9-]{1,28}[a-z0-9]")

RESERVED: Final = frozenset(
    """
    about admin africa al america api app asia assets au audio auth az ba be bg billing blog ca careers cdn ch chat
    community companies config contact cy cz dash dashboard db de demo dev developer dk docs ee es eu europe events
    favicon feedback fi files forum fr gr help hr hu image images inbound is it jobs legal login logs london lt lv
    mail main me media merch metrics mk new-york news next nl no north-africa north-america nz oceania
    otel-collector paris partners partnership partnerships payment pl privacy production pt register ro rs ru
    san-francisco se settings shop si signin signup sk south-africa south-america staging storage store support t
    telemetry terms test testing tr trust ua uk us video www za
    """.split()
)


def is_subdomain(subdomain: str) -> bool:
    """Whether Twenty accepts it."""
    return (
        _SUBDOMAIN.fullmatch(subdomain) is not None and not subdomain.startswith("api-") and subdomain not in RESERVED
    )


def subdomains(slug: str, name: str, database_name: str, *, restarts: int = 0) -> tuple[str, ...]:
    """Subdomains for a tenant, best first; the last one holds a hash of the database name and so is its own.

    The slug is used if it says anything in Latin letters or digits, else the name put into Latin letters. Twenty keeps
    the subdomain of a deleted workspace, so after each of the tenant's `restarts` the hash is another one.
    """
    again = f" {restarts}" if restarts else ""
    digest = hashlib.sha256(f"{database_name}{again}".encode()).hexdigest()
    base = _latin(slug) or _latin(anyascii(slug)) or _latin(anyascii(name)) or "tenant"
    wished = base[:LONGEST_SUBDOMAIN].strip("-")
    room = LONGEST_SUBDOMAIN - _HASH_LENGTH - 1
    short = base[:room].strip("-")
    if f"{short}-".startswith("api-"):
        short = "x" + short[: room - 1].strip("-")
    own = f"{short}-{digest[:_HASH_LENGTH]}"
    longer = f"{short[: LONGEST_SUBDOMAIN - 13].strip('-')}-{digest[:12]}"
    return tuple(dict.fromkeys(subdomain for subdomain in (wished, own, longer) if is_subdomain(subdomain)))


def _latin(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")


_NAMED: Final = re.compile(r"twenty_tenant_(?P<slug>.+?)(?:_(?P<hash>[0-9a-f]{8}))?", re.DOTALL)
_LONG_HASH: Final = 12


def slug_of(database_name: str) -> str:
    """The slug that a database of this name gets where no other tenant has it.

    It is one whatever the name holds: other letters are put into Latin ones, everything else becomes a hyphen.
    """
    return _as_slug(_readable(database_name)) or _as_slug(database_name) or "tenant"


def slugs_of(database_names: Iterable[str], taken: Collection[str]) -> Mapping[str, str]:
    """Database name → its slug, which none of the others gets and which is not `taken`."""
    wished = {name: slug_of(name) for name in database_names}
    counts = Counter(wished.values())
    found = {name: slug for name, slug in wished.items() if counts[slug] == 1 and slug not in taken}
    had = {*taken, *found.values()}
    for name in sorted(wished.keys() - found.keys()):
        found[name] = next(slug for slug in _own_slugs(name, wished[name]) if slug not in had)
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


def _own_slugs(database_name: str, slug: str) -> Iterable[str]:
    """Slugs of this database alone: with the hash in its name where that is all that the slug lacks of it, then with
    ever more of a hash of its name."""
    match = _NAMED.fullmatch(database_name)
    if match and match["hash"] and match["slug"] == slug:
        yield _with_tail(slug, match["hash"])
    digest = hashlib.sha256(database_name.encode("utf-8", "surrogatepass")).hexdigest()
    yield from (_with_tail(slug, digest[:length]) for length in range(_LONG_HASH, LONGEST_SLUG))


def _with_tail(slug: str, tail: str) -> str:
    return f"{slug[: LONGEST_SLUG - 1 - len(tail)].strip('-')}-{tail}"


def _as_slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", anyascii(text).lower()).strip("-")[:LONGEST_SLUG].rstrip("-")
