"""What is wrong with settings, one line per fault. No line shows a value."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from provisioning_pipeline.values.faults import PREFIX

_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "int_parsing": "must be a whole number, without a unit",
    "int_parsing_size": "must be a whole number that is not that large",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number, without a unit",
    "float_type": "must be a number",
    "finite_number": "must be a number that is not infinite",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "tuple_type": 'must be a JSON list, such as ["one", "two"]',
    "dict_type": 'must be a JSON object, such as {"org:admin": "Admin"}',
    "model_type": 'must be a JSON object, such as {"name": "eu"}',
    "model_attributes_type": 'must be a JSON object, such as {"name": "eu"}',
    "extra_forbidden": "is no field of a server",
}
"""Kind of pydantic's fault → our words; other kinds are clear in its own."""
_SAFE = re.compile(r"[A-Za-z0-9_:-]{1,40}")


class MissingTwentySettings(ValueError):
    """The single Twenty server is described in part, or no server at all."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(", ".join(missing))
        self.missing = tuple(missing)


def fault_lines(error: ValidationError) -> list[str]:
    """A line for each fault."""
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_input=False):
        cause = (fault.get("ctx") or {}).get("error")
        if isinstance(cause, MissingTwentySettings):
            lines += [f"{name}: is missing (or set {PREFIX}TWENTY_SERVERS)" for name in cause.missing]
            continue
        message = str(cause) if cause else _WORDS.get(fault["type"], fault["msg"])
        lines.append(f"{_place(*fault['loc'])}: {message}" if fault["loc"] else message)
    return lines


def _place(setting: Any, *steps: Any) -> str:
    # the key of an object may be anything
    names = (f"[{step}]" if isinstance(step, int) else f".{step if _SAFE.fullmatch(step) else '…'}" for step in steps)
    return f"{PREFIX}{str(setting).upper()}{''.join(names)}"
