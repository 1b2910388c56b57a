"""What an export consists of: `manifest.json` beside its tables, written anew with each table, complete at the end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from provisioning_pipeline.clients.twenty.export import Standing
from provisioning_pipeline.clients.twenty.objects import RecordObject

NAME: Final = "manifest.json"
NOT_EXPORTED: Final = (
    "searchVector of each object, which Twenty makes of other fields",
    "views, page layouts, the navigation menu",
    "roles, permissions, invitations",
    "settings of the workspace, its domains and identity providers, and of its data model all but the columns above",
    "API keys, webhooks, connected accounts and channels",
    "applications, logic functions, agents and their chats",
    "files that no record names",
    "messages and calendar events that their owners do not share with the workspace",
)


@dataclass(frozen=True, slots=True)
class ObjectExport:
    """The table of one object.

    Args:
        rows: records in it, deleted ones counted: as many as Twenty counted before and after.
        newest: when one of them had been changed last, before they were read.
        columns: name → the type of its field in Twenty.
        files: how many files of its records lie below `files/`.
        missing_files: ids of those of which Twenty has no file.
    """

    plural: str
    active: bool
    file: str
    rows: int
    newest: str | None
    columns: dict[str, str]
    files: int = 0
    missing_files: list[str] = field(default_factory=list)

    def still_holds(self, wanted: RecordObject, file: str, standing: Standing) -> bool:
        """Whether the table that was written is what would be written now."""
        same_table = (self.file, self.columns) == (file, columns_of(wanted))
        return same_table and (self.rows, self.newest) == (standing.count, standing.newest)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An export, finished or under way.

    Args:
        objects: name → its table.
        taken_at: when the export was finished, or else begun.
        not_exported: what the workspace may have besides, in words.
    """

    slug: str
    database_name: str
    server: str
    version: str | None
    workspace_id: str
    format: str
    taken_at: datetime
    complete: bool
    objects: dict[str, ObjectExport]
    not_exported: tuple[str, ...] = NOT_EXPORTED

    @property
    def counts(self) -> dict[str, int]:
        """Object → records."""
        return {name: table.rows for name, table in self.objects.items()}

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    @property
    def files(self) -> int:
        return sum(table.files for table in self.objects.values())

    @property
    def missing_files(self) -> list[str]:
        return [file for table in self.objects.values() for file in table.missing_files]

    def content(self) -> bytes:
        """The file."""
        told: Mapping[str, Any] = _MANIFEST.dump_python(self, mode="json")
        return json.dumps({**told, "rows": self.rows, "files": self.files}, indent=2, ensure_ascii=False).encode()


_MANIFEST: Final = TypeAdapter(Manifest)


def columns_of(wanted: RecordObject) -> dict[str, str]:
    return {column.name: column.type for column in wanted.columns}


def manifest_in(content: bytes) -> Manifest | None:
    """The manifest in a file of ours; None when it is none."""
    try:
        return _MANIFEST.validate_json(content)
    except ValidationError:
        return None
