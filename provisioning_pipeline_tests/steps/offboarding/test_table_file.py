"""A table of an export is read back as it was written, in either format, and a full disk is an error in words."""

import errno
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.twenty.objects import Column, Value
from provisioning_pipeline.steps.offboarding.table_file import Format, table_file
from provisioning_pipeline_tests.steps.offboarding.records import rows_in

COLUMNS = (
    Column("id", ("id",), "text", "UUID"),
    Column("name", ("name",), "text", "TEXT"),
    Column("tags", ("tags",), "json", "RAW_JSON"),
    Column("size", ("size",), "number", "NUMBER"),
    Column("open", ("open",), "truth", "BOOLEAN"),
)
KINDS = {column.name: column.type for column in COLUMNS}
TEXTS = st.none() | st.text() | st.sampled_from(["", '"', '""', ",", "\n", "\r\n", "a,\n\"b'", " ", "null"])
ROWS = st.fixed_dictionaries(
    {
        "name": TEXTS,
        "tags": TEXTS,
        "size": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "open": st.none() | st.booleans(),
    }
)


def numbered(rows: Sequence[Mapping[str, Value]]) -> list[dict[str, Value]]:
    return [{"id": f"{number:04}", **row} for number, row in enumerate(rows)]


def written(kind: Format, pages: Sequence[Sequence[Mapping[str, Value]]]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table.{kind}"
        with path.open("wb") as opened, table_file(opened, COLUMNS, kind) as table:
            for page in pages:
                table.write(page)
            table.finish()
        assert [found.name for found in Path(folder).iterdir()] == [path.name]
        return rows_in(path, KINDS)


@pytest.mark.parametrize("kind", get_args(Format))
@given(st.lists(ROWS, max_size=8), st.integers(1, 4))
def test_rows_are_read_back_as_they_were_written_whatever_the_pages(
    kind: Format, rows: list[dict[str, Value]], page: int
) -> None:
    wanted = numbered(rows)
    assert written(kind, [wanted[start : start + page] for start in range(0, len(wanted), page)]) == wanted


class Full(io.FileIO):
    """A file on a disk that has no room left."""

    def write(self, _: Any, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("kind", get_args(Format))
def test_a_full_disk_is_an_error_of_the_system_in_either_format(kind: Format, tmp_path: Path) -> None:
    opened: Any = Full(tmp_path / "table", "wb")

    def write() -> None:
        with opened, table_file(opened, COLUMNS, kind) as table:
            table.write([{"id": "1", "name": "a", "tags": None, "size": 1.5, "open": True}])
            table.finish()

    with pytest.raises(OSError, match="No space left on device") as full:
        write()
    assert full.value.errno == errno.ENOSPC


def test_a_csv_file_tells_an_empty_text_from_a_missing_value(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with path.open("wb") as opened, table_file(opened, COLUMNS, "csv") as table:
        table.write(
            [
                {"id": "1", "name": "", "tags": '["a"]', "size": 3.0, "open": True},
                {"id": "2", "name": None, "tags": None, "size": 2.5, "open": None},
            ]
        )
        table.finish()

    assert path.read_text("utf-8") == ('"id","name","tags","size","open"\n"1","","[""a""]",3,true\n"2",,,2.5,\n')
