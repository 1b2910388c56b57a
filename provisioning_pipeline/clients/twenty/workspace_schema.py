"""The schema of a workspace in a Twenty server's database."""

from itertools import product
from typing import Final
from uuid import UUID

_PAIRS: Final = ["".join(pair) for pair in product("0123456789abcdefghijklmnopqrstuvwxyz", repeat=2)]
"""Two digits at a time: every workspace is named in every run."""


def schema_name(workspace_id: str) -> str:
    """The schema that Twenty makes for a workspace: its id as a number, in base 36."""
    number, name = UUID(workspace_id).int, ""
    while number:
        number, rest = divmod(number, len(_PAIRS))
        name = _PAIRS[rest] + name
    return f"workspace_{name.lstrip('0') or '0'}"
