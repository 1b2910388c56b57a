"""Paging, ordering and filters of the Backend API's lists, with Clerk's limits."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from starlette.datastructures import QueryParams

from provisioning_pipeline.sandbox.clerk.errors import ClerkRefusalError, invalid_parameter, not_found

DEFAULT_LIMIT = 10
MAXIMUM_LIMIT = 500
MAXIMUM_IDS = 100
CREATED_AT = "created_at"

Thing = TypeVar("Thing")


class _Created(Protocol):
    """Whatever has a time of creation, no two the same."""

    created_at: int


Aged = TypeVar("Aged", bound=_Created)
SortKey = Callable[[Thing], Any]


def _whole_number(query: QueryParams, name: str, default: int, least: int) -> int:
    text = query.get(name)
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        raise invalid_parameter(name, f"{name} must be an integer.") from None
    if value < least:
        raise invalid_parameter(name, f"{name} must be greater than or equal to {least}.")
    return value


def limit_and_offset(query: QueryParams) -> tuple[int, int]:
    """The page asked for. A limit over 500 silently becomes 10, as Clerk does it."""
    limit = _whole_number(query, "limit", DEFAULT_LIMIT, 1)
    return (DEFAULT_LIMIT if limit > MAXIMUM_LIMIT else limit), _whole_number(query, "offset", 0, 0)


def page(things: Sequence[Thing], query: QueryParams) -> Sequence[Thing]:
    """The slice of a sorted list that the query asks for."""
    limit, offset = limit_and_offset(query)
    return things[offset : offset + limit]


def page_after(
    things: Sequence[Aged], query: QueryParams, known: Mapping[str, Aged], default_order: str
) -> Sequence[Aged]:
    """Like `page`, or what follows the id in `starting_after` when there is one."""
    cursor = query.get("starting_after")
    if cursor is None:
        return page(things, query)
    limit, offset = limit_and_offset(query)
    if offset:
        raise invalid_parameter("starting_after", "starting_after cannot be combined with offset.")
    order = query.get("order_by", default_order)
    if order.strip().lstrip("+-") != CREATED_AT:
        raise invalid_parameter("starting_after", "starting_after requires ordering by created_at.")
    last = known.get(cursor)
    if last is not None:
        sign = -1 if order.startswith("-") else 1
        index = bisect_left(things, sign * last.created_at, key=lambda thing: sign * thing.created_at)
        if index < len(things) and things[index] is last:
            return things[index + 1 : index + 1 + limit]
    raise not_found("user", cursor)


def ordered(things: list[Thing], query: QueryParams, keys: dict[str, SortKey[Thing]], default: str) -> list[Thing]:
    """Sort by the first `order_by`; `-` in front means descending. Ties keep the order of creation.

    The things come in their order of creation: sorting 100,000 of them anew for each page would take most of a walk.
    """
    # An unencoded plus sign in a query string arrives as a space.
    wanted = query.getlist("order_by")[0] if query.getlist("order_by") else default
    descending = wanted.startswith("-")
    name = wanted.strip().lstrip("+-")
    if name not in keys:
        raise invalid_parameter("order_by", f"{name} is not a field to order by.")
    if name == CREATED_AT:
        return things[::-1] if descending else things
    key = keys[name]
    return sorted(things, key=lambda thing: (key(thing) is not None, key(thing) or 0), reverse=descending)


def values(query: QueryParams, name: str) -> list[str]:
    """A repeated parameter, written `name=` or `name[]=`; at most 100 values."""
    found = [*query.getlist(name), *query.getlist(f"{name}[]")]
    if len(found) > MAXIMUM_IDS:
        raise ClerkRefusalError(
            422,
            "form_param_exceeds_allowed_size",
            "exceeds allowed size",
            f"{name} accepts up to {MAXIMUM_IDS} values.",
            meta={"param_name": name},
        )
    return found


def included_and_excluded(query: QueryParams, name: str) -> tuple[set[str] | None, set[str]]:
    """Values with `+` (or nothing) in front, None when there are none, and those with `-`."""
    found = values(query, name)
    excluded = {value[1:] for value in found if value.startswith("-")}
    included = {value.strip().removeprefix("+") for value in found if not value.startswith("-")}
    return (included or None), excluded


def selector(query: QueryParams, name: str) -> Callable[[str | None], bool]:
    """The filter of that name: whether a value passes it."""
    included, excluded = included_and_excluded(query, name)
    return lambda value: (included is None or value in included) and value not in excluded
