"""A table of an export: rows in, one Parquet or CSV file out, a page at a time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, Self

from provisioning_pipeline.clients.twenty.objects import Column, Kind, Value

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["parquet", "csv"]


class Writer(Protocol):
    """What pyarrow's writers have in common."""

    def write_batch(self, batch: "pa.RecordBatch") -> None: ...

    def close(self) -> None: ...


class TableFile:
    """Writes rows to an open file. In CSV an empty text stands in quotation marks, and a missing value is nothing."""

    def __init__(self, opened: BinaryIO, columns: Sequence[Column], kind: Format) -> None:
        import pyarrow as pa

        types: Mapping[Kind, pa.DataType] = {
            "text": pa.string(),
            "json": pa.string(),
            "truth": pa.bool_(),
            "number": pa.float64(),
        }
        self._schema = pa.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = _writer(opened, self._schema, kind)

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Add rows."""
        import pyarrow as pa

        arrays = [pa.array([row[field.name] for row in rows], type=field.type) for field in self._schema]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # also of a table that is given up: left open, its writer would write to a file that is closed by then
        self._writer.close()


def _writer(opened: BinaryIO, schema: "pa.Schema", kind: Format) -> Writer:
    writer: Writer
    if kind == "parquet":
        import pyarrow.parquet as pq

        writer = pq.ParquetWriter(opened, schema, compression="zstd")
    else:
        import pyarrow.csv as pc

        writer = pc.CSVWriter(opened, schema)
    return writer
