"""A file is written whole or not at all; what cannot be written is told with its place, and leaves nothing behind."""

import os
import re
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from upath import UPath

import provisioning_pipeline
from provisioning_pipeline.clients.files import NotWritten, write_whole, written_whole
from provisioning_pipeline.settings import Readers


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond a few bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(path: "UPath | Path", content: bytes = b"new content") -> str:
    with pytest.raises(NotWritten) as found:
        write_whole(path, content, setting="PROVISIONING_X")
    text = str(found.value)
    assert text.startswith(f"{path} cannot be written: ")
    assert text.endswith(". Free or mend that place, or let PROVISIONING_X name another.")
    return text


@pytest.mark.parametrize("kind", [Path, UPath, lambda path: UPath(f"file://{path}")])
def test_a_disk_that_is_full_keeps_the_file_before_and_nothing_else(tmp_path: Path, kind: type[Path]) -> None:
    path = tmp_path / "table.parquet"
    write_whole(kind(str(path)), b"before", setting="PROVISIONING_X")
    with full_disk():
        text = refused(kind(str(path)))
    assert "file too large" in text
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    assert f"{tmp_path}/reports is a file, and not a folder" in refused(tmp_path / "reports" / "x.html")
    assert f"{tmp_path}/reports is a file, and not a folder" in refused(tmp_path / "reports" / "below" / "x.html")


def test_a_folder_that_is_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "table.parquet"
    write_whole(path, b"one", setting="PROVISIONING_X")
    path.unlink()
    path.parent.rmdir()
    write_whole(path, b"two", setting="PROVISIONING_X")
    assert path.read_bytes() == b"two"


def test_a_folder_under_the_name_of_the_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x.html").mkdir()
    assert "is a directory" in refused(tmp_path / "x.html")
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]


def test_another_kind_of_store_says_no_more_than_the_kind_of_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    place = UPath("memory://bucket/table.parquet")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("key c4nary is refused")

    monkeypatch.setattr(type(place.fs), "_open", fail)
    assert "RuntimeError" in refused(place)


def test_a_store_whose_package_is_missing_names_it() -> None:
    assert "s3fs" in refused(UPath("s3://bucket/table.parquet"))


# --- who may read it -------------------------------------------------------------------------------------------------

MODES: list[tuple[Readers, int, int]] = [
    ("owner", 0o600, 0o700),
    ("group", 0o640, 0o750),
    ("everyone", 0o644, 0o755),
]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize(
    "kind", [Path, UPath, lambda path: UPath(f"file://{path}"), lambda path: UPath(f"local://{path}")]
)
@pytest.mark.parametrize(("readers", "of_file", "of_folder"), MODES)
def test_a_file_and_the_folders_made_for_it_are_for_their_readers_whatever_the_umask(
    tmp_path: Path, mask: int, kind: type[Path], readers: Readers, of_file: int, of_folder: int
) -> None:
    path = tmp_path / "reports" / "deep" / "x.html"
    with umask(mask):
        write_whole(kind(str(path)), b"one", setting="PROVISIONING_X", readers=readers)
    assert (mode(path), mode(path.parent), mode(path.parent.parent)) == (of_file, of_folder, of_folder)
    assert path.read_bytes() == b"one"


def test_a_file_is_for_its_owner_alone_where_nothing_else_is_said(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "x.html"
    write_whole(path, b"one", setting="PROVISIONING_X")
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize(("readers", "of_file", "_"), MODES)
def test_a_file_that_takes_the_place_of_another_has_the_mode_of_now(
    tmp_path: Path, readers: Readers, of_file: int, _: int
) -> None:
    path = tmp_path / "x.html"
    for before in (0o666, 0o400):
        path.write_text("before")
        path.chmod(before)
        write_whole(path, b"now", setting="PROVISIONING_X", readers=readers)
        assert mode(path) == of_file


@pytest.mark.parametrize("before", [0o700, 0o755, 0o2770])
def test_a_folder_that_is_there_is_neither_opened_nor_closed(tmp_path: Path, before: int) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    folder.chmod(before)
    write_whole(folder / "x.html", b"one", setting="PROVISIONING_X", readers="everyone")
    assert mode(folder) == before


def test_a_folder_that_hands_its_group_on_goes_on_doing_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    path = tmp_path / "reports" / "x.html"
    write_whole(path, b"one", setting="PROVISIONING_X", readers="group")
    assert (mode(path), mode(path.parent)) == (0o640, 0o2750)


def test_no_other_function_writes_files() -> None:
    """The sandbox, and the demo in its folder, is for trials; the reference is the developers'."""
    package = Path(provisioning_pipeline.__file__).parent
    elsewhere = {"cli/reference.py", "cli/sandbox.py", "clients/files.py"}
    writes = re.compile(r"\.(write_text|write_bytes|mkdir|makedirs|touch)\(")
    found = [
        name
        for path in sorted(package.rglob("*.py"))
        if (name := str(path.relative_to(package))) not in elsewhere and not name.startswith("sandbox/")
        if writes.search(path.read_text("utf-8"))
    ]
    assert found == []


def grow(path: "UPath | Path", *pieces: bytes | None) -> None:
    with written_whole(path, setting="PROVISIONING_X") as opened:
        for piece in pieces:
            opened.write(piece)


@pytest.mark.parametrize("kind", [Path, UPath, lambda path: UPath(f"file://{path}")])
def test_a_file_that_grows_until_the_disk_is_full_keeps_the_file_before_and_nothing_else(
    tmp_path: Path, kind: type[Path]
) -> None:
    path = tmp_path / "table.parquet"
    grow(kind(str(path)), b"before")
    with full_disk(), pytest.raises(NotWritten, match="file too large"):
        grow(kind(str(path)), b"new content")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_a_block_that_fails_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "here", UPath(f"memory://{tmp_path.name}/there")):
        with pytest.raises(TypeError):
            grow(path, b"half", None)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []
