"""Writes all that a workspace holds to the place of exports, object after object, and goes on where it was cut off."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from pydantic import ValidationError

from provisioning_pipeline.clients.files import NotWritten, read_if_there, write_whole, written_whole
from provisioning_pipeline.clients.twenty.export import Record, Standing, WorkspaceReader
from provisioning_pipeline.clients.twenty.objects import FileValue, RecordObject, files_of, row_of
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.settings import Readers
from provisioning_pipeline.steps.offboarding.manifest import (
    NAME,
    Manifest,
    ObjectExport,
    columns_of,
    manifest_in,
)
from provisioning_pipeline.steps.offboarding.table_file import Format, table_file

if TYPE_CHECKING:
    from upath import UPath

_SETTING: Final = "PROVISIONING_EXPORT_PATH"
_TRIES: Final = 3
"""An object that is written to while it is read is read again."""
_FILES: Final = "files"
Told = Callable[[str], None]
"""Gets a sentence about each object, as soon as its table is written."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an export goes, and how it is written."""

    folder: "UPath"
    format: Format
    readers: Readers

    def write(self, name: str, content: bytes) -> None:
        write_whole(self.folder / name, content, setting=_SETTING, readers=self.readers)

    def read(self, name: str) -> bytes | None:
        """A file of an earlier try; None when there is none."""
        return read_if_there(self.folder / name, setting=_SETTING)

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()


class _Changed(Exception):
    """How many records there were is not how many were read."""


async def export_workspace(reader: WorkspaceReader, to: Destination, about: Manifest, told: Told) -> Manifest:
    """Write every object of the workspace, with the files of its records; the finished manifest.

    A table that an earlier try finished is not written again, unless Twenty counts other records by now, or one of
    them was changed since. Memory holds a page of records at a time.

    Args:
        about: what is known of the export before it begins, without objects.

    Raises:
        Fault: EXPORT_INCOMPLETE where not all of it can be read, EXPORT_NOT_WRITTEN where it cannot be written.
    """
    try:
        return await _export(reader, to, about, told)
    except NotWritten as error:
        raise Fault(FaultKind.TENANT, Reason.EXPORT_NOT_WRITTEN, f"{error}") from None


async def _export(reader: WorkspaceReader, to: Destination, about: Manifest, told: Told) -> Manifest:
    earlier = await asyncio.to_thread(_earlier, to, about)
    found = await reader.objects()
    unknown = [f"{wanted.name}.{name}" for wanted in found for name in wanted.unknown]
    if unknown:
        raise Fault(
            FaultKind.TENANT,
            Reason.EXPORT_INCOMPLETE,
            f"{reader.client.system} has fields of types that this program does not know: {first_few(unknown)}. An "
            "export would lack them, so none was made: update this program.",
        )
    done: dict[str, ObjectExport] = {}
    for number, wanted in enumerate(found, start=1):
        kept = earlier.get(wanted.name)
        table, again = await _table(reader, to, wanted, kept)
        done[wanted.name] = table
        under_way = {**earlier, **done}
        if again:
            await asyncio.to_thread(to.write, NAME, replace(about, objects=under_way).content())
        how = "exported" if again else "exported before, and unchanged since"
        told(f"{wanted.plural} ({number} of {len(found)}): {_counted(table.rows, table.files)} {how}")
    whole = replace(about, objects=done, complete=True, taken_at=datetime.now(UTC))
    await asyncio.to_thread(to.write, NAME, whole.content())
    return whole


def _counted(rows: int, files: int) -> str:
    more = f" and {files} file{'s' if files != 1 else ''}" if files else ""
    return f"{rows} record{'s' if rows != 1 else ''}{more}"


def _earlier(to: Destination, about: Manifest) -> Mapping[str, ObjectExport]:
    """The tables that an earlier try finished; none where its manifest is another workspace's, or not whole."""
    content = to.read(NAME)
    known = manifest_in(content) if content is not None else None
    if known is None or (known.workspace_id, known.format) != (about.workspace_id, about.format):
        return {}
    return {name: table for name, table in known.objects.items() if to.has(table.file)}


async def _table(
    reader: WorkspaceReader, to: Destination, wanted: RecordObject, kept: ObjectExport | None
) -> tuple[ObjectExport, bool]:
    """The table of an object, and whether it was written now."""
    file = f"{wanted.name}.{to.format}"
    why = ""
    for _ in range(_TRIES):
        before = await reader.standing(wanted)
        if kept is not None and kept.still_holds(wanted, file, before):
            return kept, False
        try:
            return await _written(reader, to, wanted, file, before), True
        except _Changed as changed:
            why = str(changed)
    raise Fault(
        FaultKind.TENANT,
        Reason.EXPORT_INCOMPLETE,
        f"{reader.client.system}: {wanted.plural} of workspace {reader.address.workspace_id} changed each of the "
        f"{_TRIES} times that we read them: {why}. The next run reads them again; while the workspace is locked no "
        "member writes to it.",
    )


async def _written(
    reader: WorkspaceReader, to: Destination, wanted: RecordObject, file: str, before: Standing
) -> ObjectExport:
    ids: set[str] = set()
    files, missing = 0, list[str]()
    with written_whole(to.folder / file, setting=_SETTING, readers=to.readers) as opened:
        with table_file(opened, wanted.columns, to.format) as table:
            async for page in _pages(reader, wanted, before):
                of_page = _files_of(reader, wanted, page)
                await asyncio.to_thread(table.write, [row_of(wanted.columns, record) for record in page])
                ids.update(str(record.get("id")) for record in page)
                for found in of_page:
                    if await _fetched(reader, to, found):
                        files += 1
                    else:
                        missing.append(found.file_id)
            await asyncio.to_thread(table.finish)
        # asked before the file takes its place
        after = await reader.standing(wanted)
        if not before.count == len(ids) == after.count:
            raise _Changed(f"{before.count} before, {len(ids)} read, {after.count} afterwards")
    return ObjectExport(wanted.plural, wanted.active, file, len(ids), before.newest, columns_of(wanted), files, missing)


async def _pages(reader: WorkspaceReader, wanted: RecordObject, before: Standing) -> AsyncIterator[list[Record]]:
    if before.count:
        async for page in reader.pages(wanted):
            yield page


def _files_of(reader: WorkspaceReader, wanted: RecordObject, page: list[Record]) -> list[FileValue]:
    try:
        return [found for record in page for found in files_of(wanted.columns, record)]
    except ValidationError:
        raise Fault(
            FaultKind.TENANT,
            Reason.EXPORT_INCOMPLETE,
            f"{reader.client.system} answers a file without an id among the {wanted.plural} of workspace "
            f"{reader.address.workspace_id}, so the export would lack it.",
        ) from None


async def _fetched(reader: WorkspaceReader, to: Destination, found: FileValue) -> bool:
    """Write a file, unless an earlier try did: what has an id does not change. False: Twenty has no such file."""
    name = str(PurePosixPath(_FILES, found.name))
    if await asyncio.to_thread(to.has, name):
        return True
    if found.path is None:
        return False
    try:
        with written_whole(to.folder / name, setting=_SETTING, readers=to.readers) as opened:
            return await _downloaded(reader, found.path, opened)
    except _NoSuchFile:
        return False


class _NoSuchFile(Exception):
    """So that no empty file takes its place."""


async def _downloaded(reader: WorkspaceReader, path: str, opened: BinaryIO) -> bool:
    if not await reader.download(path, opened.write):
        raise _NoSuchFile
    return True
