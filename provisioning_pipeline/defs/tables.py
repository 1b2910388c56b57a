"""Where tables are stored: Parquet files below one folder or URL.

`<base>/<asset>.parquet` is the latest, and `<base>/history/<asset>/<run>.parquet` what each run wrote. The base is the
setting PROVISIONING_TABLES_PATH, read when it is first used in a run.
"""

import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from provisioning_pipeline.clients.files import write_whole
from provisioning_pipeline.report import markdown
from provisioning_pipeline.report.tables import DTYPES, Column, Kind, Table
from provisioning_pipeline.settings import PREFIX, Readers, Settings, SettingsError, load_settings

if TYPE_CHECKING:
    import pandas as pd
    from arro3.core import Array, DataType
    from upath import UPath

COLUMN_SCHEMA = "dagster/column_schema"
SETTING = f"{PREFIX}TABLES_PATH"
HISTORY = "history"
_ROWS_SHOWN = 10
_LONGEST_CELL = 60


def store(
    base: str,
    table: Table,
    frame: "pd.DataFrame",
    run_id: str,
    *,
    latest: bool = True,
    history: bool = True,
    readers: Readers = "owner",
) -> str:
    """Write a table into the history, as the latest one, or both; the path of what was written.

    `base` is a folder, or a URL that fsspec knows. The columns may come in any order, and any value may be missing. The
    same run writes its file in the history again.

    Raises:
        ValueError: when the columns are not those of the table, or a value is not of its column's kind.
        NotWritten: when that place cannot be written to.
    """
    from upath import UPath

    content = _parquet(table, frame)
    path = UPath(base).joinpath(HISTORY, table.name, f"{run_id}.parquet")
    if history:
        write_whole(path, content, setting=SETTING, readers=readers)
    if latest:
        path = UPath(base) / f"{table.name}.parquet"
        write_whole(path, content, setting=SETTING, readers=readers)
    return str(path)


def column_schema(columns: Mapping[str, Column]) -> dg.TableSchema:
    """The columns as Dagster shows them. An asset that the I/O manager stores names it in its own metadata."""
    return dg.TableSchema(
        columns=[dg.TableColumn(name, column.kind, description=column.meaning) for name, column in columns.items()]
    )


def metadata_of(frame: "pd.DataFrame", columns: Mapping[str, Column], path: str | None = None) -> dict[str, Any]:
    """What to show of a table: its columns, how many rows there are, the first of them, and where the file is."""
    found: dict[str, Any] = {
        COLUMN_SCHEMA: column_schema(columns),
        "dagster/row_count": len(frame),
        "preview": dg.MetadataValue.md(_preview(frame, columns)),
    }
    return found | ({"path": dg.MetadataValue.path(path)} if path else {})


class Tables(dg.UPathIOManager):
    """Stores a frame as Parquet. The asset's own metadata names its columns: `dagster/column_schema`."""

    extension = ".parquet"

    def __init__(self) -> None:
        """Nothing is read yet, so the base class, which wants to know the place now, is not asked."""

    @cached_property
    def _base_path(self) -> "UPath":  # type: ignore[override]  # the base class has it from the beginning
        return place()

    def dump_to_path(self, context: dg.OutputContext, obj: "pd.DataFrame", path: "UPath") -> None:
        """Write the run's own file in the history, then the latest at this path."""
        readers = settings_now().files_readable_by
        store(str(path.parent), _table_of(context), obj, context.run_id, readers=readers)

    def make_directory(self, path: "UPath") -> None:
        """Made with the file, whose errors are sentences."""

    def load_from_path(
        self,
        context: dg.InputContext,  # noqa: ARG002  # the base class gives it
        path: "UPath",
    ) -> "pd.DataFrame":
        """The latest, with the column types that it was written with."""
        return read(path)

    def get_metadata(self, context: dg.OutputContext, obj: "pd.DataFrame") -> dict[str, Any]:
        """What to show of it."""
        return metadata_of(obj, _table_of(context).columns)


@dg.io_manager(description="Tables as Parquet files below PROVISIONING_TABLES_PATH, the latest and one per run.")
def tables_io_manager(_context: dg.InitResourceContext) -> dg.IOManager:
    """One for each run, so that the settings are those of the run."""
    return Tables()


def read(path: "UPath") -> "pd.DataFrame":
    """A table from its file.

    Raises:
        FileNotFoundError: when nothing was written there yet.
    """
    import pandas as pd
    from arro3.io import read_parquet

    found = read_parquet(path.read_bytes()).read_all()
    dtypes = {type_: DTYPES[kind] for kind, type_ in _types().items()}
    return pd.DataFrame(
        {
            name: pd.Series(found.column(name).to_pylist(), dtype=dtypes.get(type_))
            for name, type_ in zip(found.column_names, found.schema.types, strict=True)
        }
    )


def place() -> "UPath":
    """The folder or URL below which tables and values lie, by the settings of now."""
    from upath import UPath

    return UPath(settings_now().tables)


def settings_now() -> Settings:
    """The settings, read anew: an I/O manager belongs to one run.

    Raises:
        dagster.Failure: with one line per fault.
    """
    try:
        return load_settings()
    except SettingsError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _table_of(context: dg.OutputContext) -> Table:
    name = context.asset_key.to_user_string()
    schema = (context.definition_metadata or {}).get(COLUMN_SCHEMA)
    if isinstance(schema, dg.TableSchemaMetadataValue):
        schema = schema.schema
    if not isinstance(schema, dg.TableSchema):
        message = f"The asset {name} has no {COLUMN_SCHEMA} in its metadata, so we do not know its columns"
        raise TypeError(message)
    return Table(
        name, {column.name: Column(cast(Kind, column.type), column.description or "") for column in schema.columns}
    )


def _types() -> Mapping[Kind, "DataType"]:
    from arro3.core import DataType

    return {
        "text": DataType.utf8(),
        "number": DataType.float64(),
        "truth": DataType.bool(),
        "time": DataType.timestamp("us", tz="UTC"),
    }


def _parquet(table: Table, frame: "pd.DataFrame") -> bytes:
    from arro3.core import Table as ArrowTable
    from arro3.io import write_parquet

    if unlike := set(table.columns) ^ {str(name) for name in frame.columns}:
        message = f"The columns of {table.name} are not as they should be: {', '.join(sorted(unlike))}"
        raise ValueError(message)
    content = io.BytesIO()
    arrays = [_array(table.name, name, column.kind, frame[name]) for name, column in table.columns.items()]
    write_parquet(ArrowTable.from_arrays(arrays, names=list(table.columns)), content, compression="snappy")
    return content.getvalue()


def _array(table: str, name: str, kind: Kind, values: "pd.Series[Any]") -> "Array":
    from arro3.core import Array, DataType

    as_kind = _AS_KIND[kind]
    try:
        found = [None if _is_missing(value) else as_kind(value) for value in values]
    except (TypeError, ValueError):
        message = f"Column {name} of {table} holds a value that is no {kind}"
        raise ValueError(message) from None
    # arro3 makes times of whole numbers, and not of datetimes
    return Array(found, DataType.int64()).cast(_types()[kind]) if kind == "time" else Array(found, _types()[kind])


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _as_text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _as_time(value: Any) -> int:
    """Microseconds since 1970 in UTC."""
    import pandas as pd

    moment = pd.Timestamp(value)
    in_utc = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
    return (in_utc.to_pydatetime(warn=False) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


_AS_KIND: Mapping[Kind, Callable[[Any], Any]] = {
    "text": _as_text,
    "number": float,
    "truth": bool,
    "time": _as_time,
}


def _preview(frame: "pd.DataFrame", columns: Mapping[str, Column]) -> str:
    rows = [[_cell(value) for value in row] for row in frame[list(columns)].head(_ROWS_SHOWN).itertuples(index=False)]
    if not rows:
        return "No row."
    more = f"\n\n…and {len(frame) - len(rows)} more." if len(frame) > len(rows) else ""
    return markdown.table(list(columns), rows) + more


def _cell(value: Any) -> str:
    text = "" if _is_missing(value) else _as_text(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
