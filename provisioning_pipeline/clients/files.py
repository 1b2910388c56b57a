"""Writes a file whole or not at all, in a folder or wherever fsspec reaches."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath


def write_whole(path: "UPath | Path", content: bytes) -> None:
    """Write the file; whoever reads it meanwhile gets the one before.

    Raises:
        OSError: when that place cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(path, Path):
        # an object store shows an object once it is whole
        path.write_bytes(content)
        return
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    unfinished.write_bytes(content)
    unfinished.replace(path)
