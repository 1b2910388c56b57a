"""Reads JSON into dataclasses: a field holds what its type says, and fields that are not known are ignored. Pure."""

import json
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
_KINDS = {str: "a text", bool: "true or false", int: "a whole number", datetime: "a time", tuple: "a list"}


class Misshapen(ValueError):
    """JSON has not the shape that was asked for; the text says where, and repeats no value."""

    def __init__(self, why: str, *place: str) -> None:
        super().__init__(f"{'.'.join(place)}: {why}" if place else why)
        self.why = why
        self.place = place


def read_json(shape: type[T], body: bytes) -> T:
    """What of this dataclass is in a document. Raises Misshapen."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Misshapen("Invalid JSON") from None
    found: T = _read(shape, document)
    return found


def _read(shape: Any, value: Any) -> Any:
    if is_dataclass(shape) and isinstance(shape, type):
        return _read_object(shape, value)
    kind, inner = get_origin(shape) or shape, get_args(shape)
    if kind is UnionType:
        (wanted,) = (one for one in inner if one is not NoneType)
        return None if value is None else _read(wanted, value)
    if kind is datetime:
        return _time(value)
    if kind is tuple and isinstance(value, list):
        return tuple(_inside(str(place), inner[0], one) for place, one in enumerate(value))
    # to Python, true is a whole number
    if kind in (str, int, bool) and type(value) is kind:
        return value
    raise Misshapen(f"Input should be {_KINDS[kind]}")


def _read_object(shape: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise Misshapen("Input should be an object")
    found: dict[str, Any] = {}
    types = _types(shape)
    for field in fields(shape):
        if field.name in value:
            found[field.name] = _inside(field.name, types[field.name], value[field.name])
        elif field.default is MISSING:
            raise Misshapen("Field required", field.name)
    return shape(**found)


def _inside(place: str, shape: Any, value: Any) -> Any:
    try:
        return _read(shape, value)
    except Misshapen as fault:
        raise Misshapen(fault.why, place, *fault.place) from None


def _time(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Misshapen(f"Input should be {_KINDS[datetime]}") from None
    if time.tzinfo is None:
        raise Misshapen("Input should have timezone info")
    return time


@cache
def _types(shape: type[Any]) -> dict[str, Any]:
    return get_type_hints(shape)
