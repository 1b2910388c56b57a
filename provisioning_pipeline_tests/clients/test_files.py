"""A file is written whole or not at all; what cannot be written is told with its place, and leaves nothing behind."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from upath import UPath

from provisioning_pipeline.clients.files import NotWritten, write_whole


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
    assert "not a directory" in refused(tmp_path / "reports" / "below" / "x.html")


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
