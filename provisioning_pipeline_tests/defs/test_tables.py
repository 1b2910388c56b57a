"""Tables: what lies where, and what comes back."""

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from arro3.core import DataType
from arro3.io import read_parquet
from upath import UPath

from provisioning_pipeline.defs.tables import (
    column_schema,
    metadata_of,
    read,
    store,
    tables_io_manager,
)
from provisioning_pipeline.defs.values import values_io_manager
from provisioning_pipeline.report.tables import Column, Table

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
CAT = Table(
    "cats",
    {
        "name": Column("text", "What it is called."),
        "weight": Column("number", "In kilogrammes."),
        "tame": Column("truth", "Whether it may be touched."),
        "born": Column("time", "When."),
    },
)


class Temper(StrEnum):
    MILD = "mild"


def cats(*rows: tuple[Any, Any, Any, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(CAT.columns), dtype=object)


def types(path: UPath) -> list[DataType]:
    return read_parquet(path.read_bytes()).schema.types


@dg.asset(io_manager_key="tables", metadata={"dagster/column_schema": column_schema(CAT.columns)}, name="cats")
def some_cats() -> pd.DataFrame:
    return cats(("Tom", 4, True, NOW), (None, None, None, None))


@dg.asset(io_manager_key="tables", name="formless")
def without_columns() -> pd.DataFrame:
    return cats()


@dg.asset
def names(cats: pd.DataFrame) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"names": ", ".join(cats["name"].dropna()), "type": str(cats["born"].dtype)})


def materialized(*assets: Any, **other: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(assets),
        resources={"tables": tables_io_manager, "io_manager": values_io_manager},
        run_config=QUIET,
        **other,
    )


def test_whatever_a_column_of_objects_holds_comes_back_with_the_type_of_its_column(base: str) -> None:
    local = datetime(2026, 8, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    rows = cats(
        (Temper.MILD, 3, True, local),
        (["a", "ü"], 2.5, False, pd.Timestamp("2026-08-01 12:00")),
        (frozenset({"b", "a"}), float("nan"), pd.NA, pd.NaT),
        (None, None, None, None),
        (float("nan"), pd.NA, None, None),
    )

    found = read(UPath(store(base, CAT, rows, "r1")))

    assert found["name"].fillna("-").tolist() == ["mild", '["a", "ü"]', '["a", "b"]', "-", "-"]
    assert found["weight"].fillna(-1).tolist() == [3, 2.5, -1, -1, -1]
    assert found["tame"].fillna(False).tolist() == [True, False, False, False, False]
    assert found["born"].tolist()[:2] == [NOW, NOW]
    assert found["born"].isna().tolist() == [False, False, True, True, True]


def test_a_table_without_rows_has_the_types_of_one_with_rows(base: str) -> None:
    full = types(UPath(store(base, CAT, cats(("Tom", 4, True, NOW)), "r1")))
    empty = UPath(store(base, CAT, cats(), "r2"))

    assert types(empty) == full
    assert full == [DataType.utf8(), DataType.float64(), DataType.bool(), DataType.timestamp("us", tz="UTC")]
    assert list(read(empty).columns) == list(CAT.columns)


def test_a_table_that_pyarrow_wrote_is_read_as_one_of_ours(base: str) -> None:
    """We wrote with pyarrow before we wrote with arro3, and those files stay."""
    rows = cats(("Tom", 4, True, NOW), ("", 0.1, False, NOW.replace(microsecond=123456)), (None, None, None, None))

    earlier = read(UPath(Path(__file__).with_name("cats_by_pyarrow.parquet")))

    pd.testing.assert_frame_equal(earlier, read(UPath(store(base, CAT, rows, "r1"))))
    assert earlier["born"].tolist()[1] == NOW.replace(microsecond=123456)


def test_the_latest_is_replaced_and_each_run_keeps_its_own(base: str) -> None:
    store(base, CAT, cats(("Tom", 4, True, NOW)), "r1")
    store(base, CAT, cats(), "r2")

    assert sorted(str(path.relative_to(base)) for path in Path(base).rglob("*") if path.is_file()) == [
        "cats.parquet",
        "history/cats/r1.parquet",
        "history/cats/r2.parquet",
    ]
    assert len(read(UPath(base) / "cats.parquet")) == 0
    assert len(read(UPath(base) / "history" / "cats" / "r1.parquet")) == 1


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (cats(("Tom", "heavy-secret", True, NOW)), "weight of cats holds a value that is no number"),
        (cats(("Tom", 1, True, "soon-secret")), "born of cats holds a value that is no time"),
        (cats().drop(columns="tame"), "not as they should be: tame"),
        (cats().assign(colour=None), "not as they should be: colour"),
    ],
)
def test_what_does_not_fit_is_refused_without_its_value_and_nothing_is_written(
    base: str, frame: pd.DataFrame, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        store(base, CAT, frame, "r1")
    assert "secret" not in str(refused.value)
    assert not Path(base).exists()


def test_any_place_that_fsspec_knows_will_do() -> None:
    path = store("memory://bucket/prefix", CAT, cats(("Tom", 4, True, NOW)), "r1")

    assert path == "memory://bucket/prefix/cats.parquet"
    assert read(UPath(path))["name"].tolist() == ["Tom"]
    assert len(read(UPath("memory://bucket/prefix/history/cats/r1.parquet"))) == 1


def test_an_asset_is_stored_shown_and_loaded_by_the_next(base: str) -> None:
    result = materialized(some_cats, names)

    shown = {k: v.value for k, v in result.asset_materializations_for_node("cats")[0].metadata.items()}
    assert shown["dagster/row_count"] == 2
    assert shown["path"] == f"{base}/cats.parquet"
    assert "| Tom | 4 | True | 2026-08-01 12:00:00+00:00 |" in shown["preview"]
    first = shown["dagster/column_schema"].columns[0]
    assert (first.name, first.type, first.description) == ("name", "text", "What it is called.")
    after = {k: v.value for k, v in result.asset_materializations_for_node("names")[0].metadata.items()}
    assert after == {"names": "Tom", "type": "datetime64[us, UTC]"}
    assert (Path(base) / "history" / "cats" / f"{result.run_id}.parquet").is_file()


def test_the_place_is_that_of_the_run_and_not_that_of_the_import(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialized(some_cats)
    monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(tmp_path / "elsewhere"))
    materialized(some_cats)

    assert len(list((tmp_path / "tables" / "history" / "cats").iterdir())) == 1
    assert len(list((tmp_path / "elsewhere" / "history" / "cats").iterdir())) == 1


def test_settings_that_are_not_there_fail_the_step_with_their_names(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROVISIONING_CLERK_SECRET_KEY")
    monkeypatch.chdir(Path(base).parent)

    with pytest.raises(dg.Failure, match="PROVISIONING_CLERK_SECRET_KEY: is missing"):
        materialized(some_cats)


def test_an_asset_that_names_no_columns_is_told_so(base: str) -> None:
    with pytest.raises(TypeError, match="formless has no dagster/column_schema"):
        materialized(without_columns)


def test_a_preview_is_short_and_cannot_break_out_of_its_table() -> None:
    found = metadata_of(cats(*[("a|b" * 50, 1, True, NOW)] * 12), CAT.columns)

    text = found["preview"].value
    assert "…and 2 more." in text
    assert text.count("\n| a\\|b") == 10
    assert max(len(line) for line in text.splitlines()) < 200
    assert metadata_of(cats(), CAT.columns)["preview"].value == "No row."
