"""Settings in a file that both a shell (`. FILE`) and a dotenv reader understand."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def quoted(value: str) -> str:
    """In single quotes, where shells and dotenv readers agree; in double quotes if it holds a single one."""
    if "'" not in value:
        return f"'{value}'"
    escaped = value
    for special in ("\\", '"', "$", "`"):
        escaped = escaped.replace(special, f"\\{special}")
    return f'"{escaped}"'


def write_env_file(path: Path, environment: Mapping[str, str]) -> None:
    """Write NAME=value lines in one move, readable by the owner only: they hold secrets."""
    text = "".join(f"{name}={quoted(value)}\n" for name, value in environment.items())
    # mkstemp makes the file with mode 0600.
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.absolute().parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(draft).replace(path)
