"""Writes a file whole or not at all, for those who may read it, in a folder or wherever fsspec reaches."""

import os
import stat
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from provisioning_pipeline.settings import Readers

if TYPE_CHECKING:
    from upath import UPath

_LOCAL = frozenset({"", "file", "local"})
_FILE_MODES: Final[Mapping[Readers, int]] = {"owner": 0o600, "group": 0o640, "everyone": 0o644}
_FOLDER_MODES: Final[Mapping[Readers, int]] = {"owner": 0o700, "group": 0o750, "everyone": 0o755}


class NotWritten(OSError):
    """A file of ours could not be written; the text says which, why, and which setting names the place."""


def write_whole(path: "UPath | Path", content: bytes, *, setting: str, readers: Readers = "owner") -> None:
    """Write the file; a reader meanwhile gets the earlier one. What cannot be written leaves nothing behind.

    On this machine the file, and each folder that is made for it, has the mode that `readers` stands for, whatever the
    umask is and whatever mode the file before had. Folders that are there already stay as they are. An object store has
    permissions of its own.

    Args:
        setting: the variable that names the place.
        readers: who on this machine may read it.

    Raises:
        NotWritten: when that place cannot be written to.
    """
    if isinstance(path, Path) or path.protocol in _LOCAL:
        why = _written_here(Path(path if isinstance(path, Path) else path.path), content, readers)
    else:
        why = _written_there(path, content)
    if why is not None:
        raise NotWritten(f"{path} cannot be written: {why}. Free or mend that place, or let {setting} name another.")


def _written_here(path: Path, content: bytes, readers: Readers) -> str | None:
    """Why not; None when it was."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        _make_folder(path.parent, _FOLDER_MODES[readers])
        try:
            _write(unfinished, content, _FILE_MODES[readers])
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


def _make_folder(folder: Path, mode: int) -> None:
    """Make it, and those above it that are missing, each with this mode."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, mode)
    try:
        folder.mkdir(mode)
    except FileExistsError:
        # another process may have made it meanwhile
        if not folder.is_dir():
            raise
        return
    # the umask may have taken a right away; the group that a folder hands on is its owner's to choose
    folder.chmod(mode | folder.stat().st_mode & stat.S_ISGID)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Into a file that no other user could open before it had its mode."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(handle, "wb") as opened:
        os.fchmod(handle, mode)
        opened.write(content)


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
