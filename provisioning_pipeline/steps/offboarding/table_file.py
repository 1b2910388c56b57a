"""A table of an export: rows in, one Parquet or CSV file out, a page at a time."""

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Protocol, Self, cast

from provisioning_pipeline.clients.twenty.objects import Column, Kind, Value

if TYPE_CHECKING:
    from arro3.core import RecordBatch
    from typing_extensions import Buffer

Format = Literal["parquet", "csv"]
_GROUP: Final = 65_536
"""Rows that are compressed together: so much of a table is in memory while its file is written."""


class TableFile(Protocol):
    """Writes rows to an open file, which has them all once `finish` has ended well."""

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Add rows."""

    def finish(self) -> None:
        """Write what is still to be written."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def table_file(opened: BinaryIO, columns: Sequence[Column], kind: Format) -> TableFile:
    """The writer of one table to an open file."""
    return _ParquetFile(opened, columns) if kind == "parquet" else _CsvFile(opened, columns)


class _CsvFile:
    """An empty text stands in quotation marks, and a missing value is nothing: Python's csv has that since 3.12."""

    def __init__(self, opened: BinaryIO, columns: Sequence[Column]) -> None:
        self._opened = opened
        self._names = [column.name for column in columns]
        self._write(self._names)

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        for row in rows:
            self._write([row[name] for name in self._names])

    def finish(self) -> None:
        """Each row is written already."""

    def _write(self, values: Sequence[Value]) -> None:
        self._opened.write((",".join(map(_in_csv, values)) + "\n").encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def _in_csv(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value).removesuffix(".0")


class _ParquetFile:
    """arro3 writes a file from all its batches at once, so pages wait in a file without a name, beside this one."""

    def __init__(self, opened: BinaryIO, columns: Sequence[Column]) -> None:
        from arro3.core import DataType, Field, Schema

        types: Mapping[Kind, DataType] = {
            "text": DataType.utf8(),
            "json": DataType.utf8(),
            "truth": DataType.bool(),
            "number": DataType.float64(),
        }
        self._opened = opened
        self._schema = Schema([Field(column.name, types[column.kind], nullable=True) for column in columns])
        self._pages: BinaryIO = tempfile.TemporaryFile(dir=Path(opened.name).parent)  # noqa: SIM115  # __exit__ closes it
        self._sizes: list[int] = []

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        from arro3.core import Array, RecordBatch
        from arro3.io import write_ipc_stream

        named = zip(self._schema.names, self._schema.types, strict=True)
        arrays = [Array([row[name] for row in rows], type_) for name, type_ in named]
        page = io.BytesIO()
        write_ipc_stream(RecordBatch.from_arrays(arrays, schema=self._schema), page, compression="zstd")
        self._sizes.append(self._pages.write(page.getvalue()))

    def finish(self) -> None:
        from arro3.core import RecordBatchReader
        from arro3.io import write_parquet

        sink = _Sink(self._opened)
        batches = RecordBatchReader.from_batches(self._schema, self._batches(sink))
        write_parquet(batches, cast("BinaryIO", sink), compression="zstd(1)", max_row_group_size=_GROUP)
        if sink.failed is not None:
            raise sink.failed

    def _batches(self, sink: "_Sink") -> Iterator["RecordBatch"]:
        from arro3.io import read_ipc_stream

        self._pages.seek(0)
        for size in self._sizes:
            if sink.failed is None:
                yield from read_ipc_stream(self._pages.read(size))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pages.close()


class _Sink(io.RawIOBase):
    """Keeps the error of a full disk: arro3 0.9.1 panics where a file that it writes to raises."""

    def __init__(self, opened: BinaryIO) -> None:
        super().__init__()
        self._opened = opened
        self.failed: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: "Buffer", /) -> int:
        try:
            if self.failed is None:
                return self._opened.write(content)
        except OSError as error:
            self.failed = error
        return memoryview(content).nbytes
