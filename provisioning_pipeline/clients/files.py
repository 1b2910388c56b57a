"""Writes a file whole or not at all, in a folder or wherever fsspec reaches."""

import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath

_LOCAL = frozenset({"", "file", "local"})


class NotWritten(OSError):
    """A file of ours could not be written; the text says which, why, and which setting names the place."""


def write_whole(path: "UPath | Path", content: bytes, *, setting: str) -> None:
    """Write the file; whoever reads it meanwhile gets the one before. What cannot be written leaves nothing behind.

    Args:
        setting: the variable that names the place.

    Raises:
        NotWritten: when that place cannot be written to.
    """
    if isinstance(path, Path) or path.protocol in _LOCAL:
        why = _written_here(Path(path if isinstance(path, Path) else path.path), content)
    else:
        why = _written_there(path, content)
    if why is not None:
        raise NotWritten(f"{path} cannot be written: {why}. Free or mend that place, or let {setting} name another.")


def _written_here(path: Path, content: bytes) -> str | None:
    """Why not; None when it was."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except BaseException:
            # on a full disk it would take the room of the next try, too
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except FileExistsError as error:
        return f"{error.filename} is a file, and not a folder"
    except OSError as error:
        return _in_words(error)
    return None


def _written_there(path: "UPath", content: bytes) -> str | None:
    """The same; an object store shows an object once it is whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except Exception as error:  # noqa: BLE001  # each kind of store has errors of its own
        return _in_words(error)
    return None


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, ImportError):
        # fsspec's, which names the package
        return str(error).split("\n")[0].rstrip(".")
    # the words of a store may repeat its credentials
    return type(error).__name__
