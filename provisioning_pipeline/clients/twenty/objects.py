"""The objects of a workspace as Twenty describes them, and how a record of one becomes a flat row. Pure.

Names stand in documents that we send and in names of files, so an answer with any other name is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator

from provisioning_pipeline.clients.twenty.operation import Answer, Id, Text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", text):
        raise ValueError("no name")
    return text


Name = Annotated[str, AfterValidator(_name)]


class ObjectTarget(Answer):
    name_singular: Name


class MorphRelation(Answer):
    """One of the objects that such a relation may lead to."""

    target_object_metadata: ObjectTarget


class ObjectField(Answer):
    name: Name
    type: Text
    settings: dict[str, Any] | None
    morph_relations: list[MorphRelation] | None


class SeenObject(Answer):
    """An object, standard or the customer's own. One that is not active keeps its records, which can be read."""

    name_singular: Name
    name_plural: Name
    is_active: bool
    fields_list: list[ObjectField]


class ObjectEdge(Answer):
    node: SeenObject


class ObjectPage(Answer):
    has_next_page: bool


class ObjectConnection(Answer):
    """All objects of a workspace, unless there is a next page."""

    page_info: ObjectPage
    edges: list[ObjectEdge]


class FileValue(Answer):
    """A file in a record. Its URL needs no token of ours, and lasts for a day."""

    file_id: Id
    label: Text | None = None
    extension: Text | None = None
    url: Text | None = None

    @property
    def name(self) -> str:
        """What the file is called in an export: its id, with its extension where that is a plain one."""
        plain = re.fullmatch(r"\.?([A-Za-z0-9]{1,16})", self.extension or "")
        return f"{self.file_id}.{plain[1].lower()}" if plain else self.file_id

    @property
    def path(self) -> str | None:
        """Where the server has it: its URL may name the server as browsers reach it, which we need not."""
        parts = urlsplit(self.url or "")
        at = parts.path.find("/file/")
        return f"{parts.path[at:]}?{parts.query}" if at >= 0 else None


Kind = Literal["text", "truth", "number", "json"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an object's table.

    Args:
        name: as the column in Twenty's own database: `nameFirstName` is the `firstName` of `name`.
        path: where the value stands in a record.
        kind: numbers are those that Twenty itself holds as such; amounts are texts, so that no digit is lost.
        type: of the field, in Twenty's words.
    """

    name: str
    path: tuple[str, ...]
    kind: Kind
    type: str


_COMPOSITES: Final[Mapping[str, Mapping[str, Kind]]] = {
    "ACTOR": {"source": "text", "workspaceMemberId": "text", "name": "text", "context": "json"},
    "ADDRESS": {
        "addressStreet1": "text",
        "addressStreet2": "text",
        "addressCity": "text",
        "addressState": "text",
        "addressPostcode": "text",
        "addressCountry": "text",
        "addressLat": "text",
        "addressLng": "text",
    },
    "CURRENCY": {"amountMicros": "text", "currencyCode": "text"},
    "EMAILS": {"primaryEmail": "text", "additionalEmails": "json"},
    "FULL_NAME": {"firstName": "text", "lastName": "text"},
    "LINKS": {"primaryLinkUrl": "text", "primaryLinkLabel": "text", "secondaryLinks": "json"},
    "PHONES": {
        "primaryPhoneNumber": "text",
        "primaryPhoneCountryCode": "text",
        "primaryPhoneCallingCode": "text",
        "additionalPhones": "json",
    },
    "RICH_TEXT": {"blocknote": "text", "markdown": "text"},
}
"""Fields that are several columns, with their parts (2.21.0)."""
_SIMPLE: Final[Mapping[str, Kind]] = {
    "ARRAY": "json",
    "BOOLEAN": "truth",
    "DATE": "text",
    "DATE_TIME": "text",
    "MULTI_SELECT": "json",
    "NUMBER": "number",
    "NUMERIC": "text",
    "POSITION": "number",
    "RATING": "text",
    "RAW_JSON": "json",
    "SELECT": "text",
    "TEXT": "text",
    "UUID": "text",
}
_FILES: Final = "FILES"
_FILE_PARTS: Final = ("fileId", "label", "extension", "url")
_DERIVED: Final = "TS_VECTOR"
"""What Twenty makes of other fields, to search by."""
_RELATIONS: Final = frozenset({"RELATION", "MORPH_RELATION"})
NEWEST: Final = "updatedAt"
ALL_ROWS: Final = "{or: [{deletedAt: {is: NULL}}, {deletedAt: {is: NOT_NULL}}]}"
"""Without it Twenty leaves out what is marked as deleted."""


@dataclass(frozen=True, slots=True)
class RecordObject:
    """An object whose records are to be read.

    Args:
        unknown: fields that are left out, because we do not know what their type holds: `name (TYPE)`.
    """

    name: str
    plural: str
    active: bool
    columns: tuple[Column, ...]
    unknown: tuple[str, ...]

    @property
    def selection(self) -> str:
        """What is asked of each record."""
        fields: dict[str, list[str]] = {}
        for column in self.columns:
            fields.setdefault(column.path[0], []).extend(column.path[1:] if column.type != _FILES else _FILE_PARTS)
        return " ".join(f"{name} {{ {' '.join(parts)} }}" if parts else name for name, parts in fields.items())


def object_of(seen: SeenObject) -> RecordObject:
    """What of an object is read: every field with its parts, and of a relation the id that it leads to."""
    columns, unknown = [], []
    for field in seen.fields_list:
        found = _columns_of(field)
        if found is None:
            unknown.append(f"{field.name} ({field.type})")
        else:
            columns += found
    return RecordObject(seen.name_singular, seen.name_plural, seen.is_active, tuple(columns), tuple(unknown))


def _columns_of(field: ObjectField) -> list[Column] | None:
    """The columns of a field; None when we do not know what its type holds."""
    if field.type == _DERIVED:
        return []
    if field.type in _RELATIONS:
        # the id alone: asked for the record, too, 2.21.0 answers null for both where that is marked as deleted
        return [Column(name, (name,), "text", field.type) for name in _ids_of(field)]
    if field.type == _FILES:
        return [Column(field.name, (field.name,), "json", field.type)]
    if field.type in _SIMPLE:
        return [Column(field.name, (field.name,), _SIMPLE[field.type], field.type)]
    parts = _COMPOSITES.get(field.type)
    if parts is None:
        return None
    return [Column(field.name + _capital(part), (field.name, part), kind, field.type) for part, kind in parts.items()]


def _ids_of(field: ObjectField) -> Iterator[str]:
    """Names of the ids that a relation has at this end; none where the other end has it."""
    settings = field.settings or {}
    if settings.get("relationType") != "MANY_TO_ONE":
        return
    if field.type == "RELATION":
        yield _name(str(settings.get("joinColumnName") or f"{field.name}Id"))
    for relation in field.morph_relations or ():
        yield f"{field.name}{_capital(relation.target_object_metadata.name_singular)}Id"


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


Value = str | bool | float | None


def row_of(columns: Sequence[Column], record: Mapping[str, Any]) -> dict[str, Value]:
    """A record as a flat row: what is nested is JSON text, and files go by their names in the export."""
    return {column.name: _value(column, record) for column in columns}


def _value(column: Column, record: Mapping[str, Any]) -> Value:
    found: Any = record
    for part in column.path:
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None:
        return None
    if column.type == _FILES:
        found = [_shown(file) for file in _files_in(found)]
    if column.kind == "json" or isinstance(found, dict | list):
        return json.dumps(found, ensure_ascii=False)
    if column.kind == "truth":
        return bool(found)
    if column.kind == "number":
        return float(found)
    return str(found)


def _shown(file: FileValue) -> dict[str, str | None]:
    return {"fileId": file.file_id, "label": file.label, "extension": file.extension, "file": f"files/{file.name}"}


def files_of(columns: Sequence[Column], record: Mapping[str, Any]) -> Iterator[FileValue]:
    """The files in a record.

    Raises:
        ValueError: when one has no id.
    """
    for column in columns:
        if column.type == _FILES and record.get(column.path[0]):
            yield from _files_in(record[column.path[0]])


def _files_in(value: Any) -> list[FileValue]:
    return [FileValue.model_validate(entry) for entry in (value if isinstance(value, list) else [value])]
