"""What is old and is taken away: rows of the ledger, report files, saved plans and tables, values between steps.

Dagster's own runs are `defs.operations`' to prune.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from provisioning_pipeline.ledger.pruning import prune_ledger
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.run.saved_plans import PLAN_ID
from provisioning_pipeline.settings import Settings

if TYPE_CHECKING:
    from upath import UPath

_RUN_ID = r"[0-9A-Za-z][0-9A-Za-z_-]*"
_REPORT = re.compile(rf"reconciliation-{_RUN_ID}\.html")
_PLAN = re.compile(rf"{PLAN_ID.pattern}\.json")
_TABLE = re.compile(rf"{_RUN_ID}\.parquet")
_UNFINISHED = re.compile(r"\.[0-9A-Za-z_-]+\.(parquet|html|json)\.[0-9a-f]{32}")
"""What a process that was killed while it wrote a table, a report or a plan left."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class PrunedFiles:
    """How many files were removed, or would be. `values` are the folders of runs, with all that their steps left."""

    reports: int
    plans: int
    tables: int
    values: int


async def prune_rows(settings: Settings, *, dry_run: bool) -> dict[str, int]:
    """Table of the ledger → rows older than the settings say that were deleted, or would be.

    Raises:
        Fault: when the ledger cannot be reached, or is older than this program.
    """
    async with ledger_database(settings, read_only=dry_run) as database:
        return await prune_ledger(
            database,
            outcomes_days=settings.keep_outcomes_days,
            timelines_days=settings.keep_timelines_days,
            removed_rows_days=settings.keep_removed_rows_days,
            reports_days=settings.keep_reports_days,
            dry_run=dry_run,
        )


def prune_files(settings: Settings, *, now: datetime, dry_run: bool) -> PrunedFiles:
    """Remove our files that were last written before the settings say; by name, so that no other file is touched.

    The newest report stays however old it is, and so does the latest of each table. `now` is aware of its time zone.

    Raises:
        OSError: when a file that is there cannot be removed.
    """
    from upath import UPath

    base = UPath(settings.tables)
    before = now - timedelta(days=settings.keep_reports_days)
    shown = UPath(settings.report_path)
    reports = sorted(_files(shown, _REPORT), key=lambda found: found[0])
    tables = [
        *_files(base, _UNFINISHED),
        *_files(base / "plans", _UNFINISHED),
        *_files(base / "history", _UNFINISHED, below=True),
        *_files(base / "history", _TABLE, below=True),
    ]
    return PrunedFiles(
        reports=_remove([*_files(shown, _UNFINISHED), *reports[:-1]], before, dry_run=dry_run),
        plans=_remove(_files(base / "plans", _PLAN), before, dry_run=dry_run),
        tables=_remove(tables, before, dry_run=dry_run),
        values=_remove(_values(base / "values"), now - timedelta(days=settings.keep_dagster_days), dry_run=dry_run),
    )


Found = tuple[datetime, "UPath"]
"""When it was last written, and where it is."""


def _files(folder: "UPath", name: re.Pattern[str], *, below: bool = False) -> Iterator[Found]:
    """The files with such a name in a folder, or also in those below it."""
    for path in _entries(folder):
        if path.is_dir():
            yield from _files(path, name, below=True) if below else ()
        elif name.fullmatch(path.name):
            yield from _written(path)


def _values(folder: "UPath") -> Iterator[Found]:
    """The folder of each run; an object store knows no time of a folder, so it is that of its youngest file."""
    for path in _entries(folder):
        if _UUID.fullmatch(path.name) and path.is_dir():
            times = [_modified(path.fs, inner) for inner in path.fs.find(path.path)]
            if times:
                yield max(times), path


def _entries(folder: "UPath") -> "list[UPath]":
    return list(folder.iterdir()) if folder.is_dir() else []


def _written(path: "UPath") -> Iterator[Found]:
    # another process may have taken it meanwhile
    with suppress(FileNotFoundError):
        yield _modified(path.fs, path.path), path


def _modified(filesystem: Any, path: str) -> datetime:
    found: datetime = filesystem.modified(path)
    return found


def _remove(found: "Iterator[Found] | list[Found]", before: datetime, *, dry_run: bool) -> int:
    old = [path for written, path in found if written < before]
    if not dry_run:
        for path in old:
            # another process may have taken it meanwhile
            with suppress(FileNotFoundError):
                path.fs.rm(path.path, recursive=path.is_dir())
    return len(old)
