"""Lists at Clerk as rows: walks over all pages, each proved whole or in doubt, and why."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.http import OddAnswerFault
from provisioning_pipeline.model.names import LONGEST, person_name, plain_name

MOST_PER_PAGE = 500
_PAGES_AT_ONCE = 4
_STEP = MOST_PER_PAGE - 1

Row = tuple[Any, ...]
Parse = Callable[[Mapping[str, Any]], Row | None]
"""One object of Clerk's as a row; None when it counts but is left out. Raises as a missing or odd key does."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What was found on all pages, oldest first, each id once.

    `doubt` is None when that is proved to be everything; else a sentence that says why it is not.
    """

    rows: tuple[Row, ...]
    doubt: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page, already small.

    Args:
        length: objects as they came, odd ones too.
        odd: positions of those that could not be understood.
        rows: Clerk's id → row, in Clerk's order; None for what counts and is left out.
        last_id: id of the last object, if it has one.
        start, end: when the first and the last object were created (ms since 1970), if they say so.
    """

    length: int
    odd: tuple[int, ...]
    rows: Mapping[str, Row | None]
    last_id: str | None
    start: int | None
    end: int | None


def page_of(data: Sequence[Any], parse: Parse) -> Page:
    """The page in these objects; an object that cannot be understood costs the page only itself."""
    rows: dict[str, Row | None] = {}
    odd: list[int] = []
    for position, entry in enumerate(data):
        try:
            row = parse(entry)
            rows[entry["id"]] = row
        except (KeyError, TypeError, ValueError, AttributeError):
            odd.append(position)
    first, last = (data[0], data[-1]) if data else (None, None)
    return Page(
        length=len(data),
        odd=tuple(odd),
        rows=rows,
        last_id=_value(last, "id", str),
        start=_value(first, "created_at", int),
        end=_value(last, "created_at", int),
    )


PageAt = Callable[[int], Awaitable[tuple[Page, int]]]
"""The page that begins at an offset, and how many objects Clerk counted in all."""

PageAfter = Callable[[str | None], Awaitable[Page | None]]
"""The page that follows an id (None: the first one); None when Clerk no longer knows that id."""


async def by_offset(name: str, fetch: PageAt) -> Walk:
    """Read a list whose pages tell the whole count. `name` is the list's in sentences, for example `users`."""
    return await _twice_when_in_doubt(name, lambda: _all_offsets(fetch))


async def by_cursor(name: str, count: Callable[[], Awaitable[int]], fetch: PageAfter) -> Walk:
    """Read a list that is continued after an id, and whose count is a call of its own."""
    return await _twice_when_in_doubt(name, lambda: _all_after(count, fetch))


def by_ids(name: str, pages: Sequence[Page], asked: frozenset[str]) -> Walk:
    """What the pages have of the ids that were asked for; an id that Clerk does not know is simply missing."""
    rows = {key: row for page in pages for key, row in page.rows.items() if key in asked}
    return Walk(_rows_of(rows), _in_words(name, _odd(sum(len(page.odd) for page in pages))))


async def _twice_when_in_doubt(name: str, walk: Callable[[], Awaitable[Walk]]) -> Walk:
    found = await walk()
    if found.doubt is not None:  # a list that changes while it is read is normal, twice in a row is not
        with suppress(OddAnswerFault):
            found = await walk()
    return Walk(found.rows, _in_words(name, found.doubt))


@dataclass(slots=True)
class _Read:
    """A walk by offset under way: how many there were at its start, and what has come since."""

    total: int
    pages: dict[int, Page] = field(default_factory=dict)
    counts: set[int] = field(default_factory=set)
    ended: bool = False
    unread: str | None = None
    """Why a page could not be read, of the last one that could not."""

    def add(self, offset: int, page: Page, count: int) -> None:
        self.pages[offset] = page
        self.counts.add(count)
        # a count that is far too high is not followed to its end
        self.ended = self.ended or page.length < self.due(offset)

    def due(self, offset: int) -> int:
        return min(MOST_PER_PAGE, self.total - offset)


async def _all_offsets(fetch: PageAt) -> Walk:
    first, total = await fetch(0)
    read = _Read(total)
    read.add(0, first, total)
    offsets = iter(range(_STEP, total - 1, _STEP))
    await all_of(_read_on(fetch, offsets, read) for _ in range(_PAGES_AT_ONCE))
    rows = {key: row for offset in sorted(read.pages) for key, row in read.pages[offset].rows.items()}
    # a set: two pages hold the row in which they overlap
    odd = {offset + position for offset, page in read.pages.items() for position in page.odd}
    return Walk(_rows_of(rows), _odd(len(odd)) or _doubt(read, len(rows)))


async def _read_on(fetch: PageAt, offsets: Iterator[int], read: _Read) -> None:
    """Take the next page from the shared offsets until there is none."""
    while not read.ended and (offset := next(offsets, None)) is not None:
        try:
            read.add(offset, *await fetch(offset))
        except OddAnswerFault as fault:
            read.unread = fault.why


def _doubt(read: _Read, distinct: int) -> str | None:
    if read.unread:
        return f"a page of it could not be read ({read.unread})"
    if len(read.counts) > 1:
        return f"its count changed between {min(read.counts)} and {max(read.counts)} while it was read"
    offsets = sorted(read.pages)
    for offset in offsets:
        due, came = read.due(offset), read.pages[offset].length
        if came < due:
            return f"a page was empty where {due} were due" if came == 0 else f"a page had {came} where {due} were due"
    for earlier, later in pairwise(offsets):
        end, start = read.pages[earlier].end, read.pages[later].start
        if end is not None and start is not None and start > end:
            return "it moved while it was read"
    return _miscounted(distinct, read.total)


async def _all_after(count: Callable[[], Awaitable[int]], fetch: PageAfter) -> Walk:
    before = await count()
    rows: dict[str, Row | None] = {}
    odd, known, cursor, lost = 0, -1, None, None
    while len(rows) > known and (known < 0 or (cursor is not None and len(rows) + odd < before)):
        try:
            page = await fetch(cursor)
        except OddAnswerFault as fault:
            if cursor is None:
                raise
            lost = f"a page of it could not be read ({fault.why})"
            break
        if page is None:
            lost = "the entry after which it was to go on was deleted while it was read"
            break
        known = len(rows)
        rows.update(page.rows)
        odd += len(page.odd)
        cursor = page.last_id
    try:
        after = await count()
    except OddAnswerFault as fault:
        lost, after = f"its count could not be read ({fault.why})", before
    if lost:
        doubt: str | None = lost
    elif odd:
        doubt = _odd(odd)
    elif before != after:
        doubt = f"its count changed from {before} to {after} while it was read"
    else:
        doubt = _miscounted(len(rows), after)
    return Walk(_rows_of(rows), doubt)


def _miscounted(distinct: int, total: int) -> str | None:
    return None if distinct == total else f"it has {distinct} different entries, but Clerk counts {total}"


def _odd(number: int) -> str | None:
    return f"{number} of its entries could not be understood" if number else None


def _in_words(name: str, doubt: str | None) -> str | None:
    return doubt and f"Clerk's list of {name} is not proved whole: {doubt}."


def _rows_of(rows: Mapping[str, Row | None]) -> tuple[Row, ...]:
    return tuple(row for row in rows.values() if row is not None)


def _value(entry: Any, key: str, type_: type[Any]) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, type_) else None


WORKSPACE_ID_KEY = "twenty_workspace_id"
"""Where an organization's public metadata stores its workspace; a session token can carry it from there."""
_KELVIN = "\N{KELVIN SIGN}"
"""The one letter beyond ASCII whose lower case is a letter of ASCII: a plain k."""
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_LAST_MILLISECOND = 253_402_300_799_999
"""Of the year 9999."""
_LONGEST_EMAIL = 254
"""Of an address that mail can be sent to (RFC 5321)."""


def organization_row(entry: Mapping[str, Any]) -> Row:
    """ORGANIZATIONS: organization_id, name, slug, workspace_id."""
    workspace_id = (entry.get("public_metadata") or {}).get(WORKSPACE_ID_KEY)
    return (
        _id(entry["id"]),
        plain_name(_text(entry["name"])),
        _word_or_none(entry.get("slug"), LONGEST),
        None if workspace_id is None else plain_name(str(workspace_id)),
    )


def membership_row(entry: Mapping[str, Any]) -> Row | None:
    """MEMBERSHIPS: organization_id, user_id, role, created_at; None for a membership without a person."""
    _id(entry["id"])
    person = entry.get("public_user_data")
    if not person or not person.get("user_id"):
        return None
    created_at = entry["created_at"]
    if not isinstance(created_at, int) or isinstance(created_at, bool) or abs(created_at) > _LAST_MILLISECOND:
        raise TypeError(created_at)
    return _id(entry["organization"]["id"]), _id(person["user_id"]), _role(_text(entry["role"])), created_at


@lru_cache(maxsize=256)
def _role(name: str) -> str:
    """An instance has a few roles: each is one text in memory, however many members have it."""
    return plain_name(name)


def user_row(entry: Mapping[str, Any]) -> Row:
    """CLERK_USERS: user_id, email, first_name, last_name, banned, external_id."""
    return (
        _id(entry["id"]),
        _word_or_none(verified_email(entry), _LONGEST_EMAIL),
        person_name(entry.get("first_name") or ""),
        person_name(entry.get("last_name") or ""),
        bool(entry.get("banned")),
        plain_name(_text(entry["external_id"])) if entry.get("external_id") else None,
    )


def verified_email(user: Mapping[str, Any]) -> str | None:
    """The primary e-mail in lower case if Clerk verified it.

    None also for one that is another person's in lower case.
    """
    primary = user.get("primary_email_address_id")
    for address in (user.get("email_addresses") or []) if primary else []:
        if address.get("id") == primary:
            status = (address.get("verification") or {}).get("status")
            email = address["email_address"].strip() if status == "verified" else ""
            return None if _KELVIN in email else email.lower() or None
    return None


def all_emails(user: Mapping[str, Any]) -> list[str]:
    """Every e-mail of a user in lower case, verified or not."""
    return [str(address["email_address"]).strip().lower() for address in user.get("email_addresses") or []]


def _id(value: Any) -> str:
    # not by `_text`: three of them in each membership
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    if "\x00" in value or len(value) > LONGEST:
        # PostgreSQL would hold the one not, and the other is of no use
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    return value


def _word_or_none(value: Any, most: int) -> str | None:
    """A text that stands for one thing; None for none, and for what stands for nothing as it is: it is never cut."""
    if not value:
        return None
    text = _text(value)
    return text if text.isprintable() and _REPLACED not in text and len(text) <= most else None
