"""Writes a file whole or not at all, for those who may read it, in a folder or wherever fsspec reaches."""

import os
import stat
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

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
    here = _here(path)
    if here is not None:
        why = _written_here(here, content, readers)
    else:
        assert not isinstance(path, Path)
        why = _written_there(path, content)
    if why is not None:
        raise _not_written(path, why, setting)


@contextmanager
def written_whole(path: "UPath | Path", *, setting: str, readers: Readers = "owner") -> Iterator[BinaryIO]:
    """The same of a file that is too large for memory: what is written in the block is there once that has ended well.

    It grows beside its place on this machine, and in the folder for temporary files where it goes elsewhere.

    Raises:
        NotWritten: when that place cannot be written to.
    """
    here = _here(path)
    try:
        if here is not None:
            _make_folder(here.parent, _FOLDER_MODES[readers])
            unfinished = here.with_name(f".{here.name}.{uuid.uuid4().hex}")
        else:
            unfinished = Path(tempfile.gettempdir()) / f"export-{uuid.uuid4().hex}"
        opened = _opened(unfinished, _FILE_MODES[readers] if here is not None else stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise _not_written(path, _in_words(error), setting) from None
    try:
        with opened:
            yield opened
        if here is not None:
            unfinished.replace(here)
        else:
            assert not isinstance(path, Path)
            _put(unfinished, path)
    except NotWritten:
        raise
    except OSError as error:
        raise _not_written(path, _in_words(error), setting) from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def is_of_this_machine(base: str) -> bool:
    """Whether this is a folder, which may be one that other machines have, too."""
    return isinstance(place_at(base), Path)


def place_at(base: str) -> "UPath | Path":
    """The folder of this name, from the root on, or the place of this URL where fsspec alone reaches it."""
    from upath import UPath

    path = UPath(base)
    here = _here(path)
    return path if here is None else here.resolve()


def read_if_there(path: "UPath", *, setting: str) -> bytes | None:
    """A file of ours; None when there is none.

    Raises:
        NotWritten: when that place cannot be reached, so that it could not be written to either.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # noqa: BLE001  # each kind of store has errors of its own
        raise _not_written(path, _in_words(error), setting) from None


def _put(unfinished: Path, path: "UPath") -> None:
    """Hand the finished file to the store.

    Raises:
        OSError: in words that say nothing of the store's credentials.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.fs.put_file(str(unfinished), path.path)
    except Exception as error:  # noqa: BLE001  # each kind of store has errors of its own
        raise OSError(0, _in_words(error)) from None


def _here(path: "UPath | Path") -> Path | None:
    """The path on this machine; None for one that only fsspec reaches."""
    if isinstance(path, Path):
        return path
    return Path(path.path) if path.protocol in _LOCAL else None


def _not_written(path: "UPath | Path", why: str, setting: str) -> NotWritten:
    return NotWritten(f"{path} cannot be written: {why}. Free or mend that place, or let {setting} name another.")


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
    with _opened(path, mode) as opened:
        opened.write(content)


def _opened(path: Path, mode: int) -> BinaryIO:
    """A new file that no other user could open before it had its mode."""

    def made(name: str, flags: int) -> int:
        handle = os.open(name, flags, stat.S_IRUSR | stat.S_IWUSR)
        os.fchmod(handle, mode)
        return handle

    # by its path, which it then has as its name: what is to lie beside it finds the folder by that
    return open(path, "xb", opener=made)


def _written_there(path: "UPath", content: bytes) -> str | None:
    """The same; an object store shows an object once it is whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except Exception as error:  # noqa: BLE001  # each kind of store has errors of its own
        return _in_words(error)
    return None


def _in_words(error: Exception) -> str:
    if isinstance(error, FileExistsError) and error.filename:
        return f"{error.filename} is a file, and not a folder"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, ImportError):
        # fsspec's, which names the package
        return str(error).split("\n")[0].rstrip(".")
    # the words of a store may repeat its credentials
    return type(error).__name__
