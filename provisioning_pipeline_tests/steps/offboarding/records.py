"""Records in a workspace of the stand-in, with objects of the customer's own and files, and reading an export back."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from arro3.io import read_parquet

from provisioning_pipeline_tests.world import World

NOBODY = "00000000-0000-4000-8000-000000000001"


def add(world: World, slug: str, kind: str, *, deleted: bool = False, **data: Any) -> str:
    """A record of this kind; its id."""
    rows = world.twenty(
        'INSERT INTO sandbox_twenty.record ("workspaceId", object, data, "deletedAt") '
        "VALUES (%s, %s, %s, CASE WHEN %s THEN now() END) RETURNING id::text",
        world.link(slug)["workspace_id"],
        kind,
        json.dumps(data),
        deleted,
    )
    return str(rows[0][0])


def add_object(world: World, slug: str, singular: str, plural: str, fields: str) -> None:
    """An object of the customer's own, whose fields are `name:TYPE`."""
    world.twenty(
        'INSERT INTO sandbox_twenty.object ("workspaceId", "nameSingular", "namePlural", fields) '
        "VALUES (%s, %s, %s, %s) RETURNING 1",
        world.link(slug)["workspace_id"],
        singular,
        plural,
        fields,
    )


def add_attachment(world: World, slug: str, content: bytes | None, label: str = "offer.txt") -> str:
    """A record with a file, whose storage has lost it where there is no content; the file's id."""
    file_id = str(uuid4())
    if content is not None:
        world.twenty("INSERT INTO sandbox_twenty.file (id, content) VALUES (%s, %s) RETURNING 1", file_id, content)
    add(world, slug, "attachment", name=label, file=[{"fileId": file_id, "label": label, "extension": ".txt"}])
    return file_id


def fill(world: World, slug: str, companies: int) -> None:
    """Records of several kinds: marked as deleted, with rich text, with quotes and line ends, of an own object."""
    for number in range(companies):
        add(
            world,
            slug,
            "company",
            name=f'Company "{number}",\nÜ',
            domainName={"primaryLinkUrl": f"https://{number}.example", "secondaryLinks": []},
            employees=number,
        )
    add(
        world,
        slug,
        "person",
        deleted=True,
        name={"firstName": "Ada", "lastName": ""},
        emails={"additionalEmails": ["a@b.c"]},
    )
    add(world, slug, "note", title="", bodyV2={"blocknote": "[]", "markdown": "# Hello"})
    add_object(world, slug, "rocket", "rockets", "name:TEXT manned:BOOLEAN kinds:MULTI_SELECT plan:RAW_JSON")
    add(world, slug, "rocket", name="One", manned=True, kinds=["A", "B"], plan={"stages": [1, 2]})


def folder(world: World, slug: str, place: Path) -> Path:
    """Where the export of the tenant's workspace is."""
    link = world.link(slug)
    return place / f"{slug}-{link['database_name']}" / link["workspace_id"]


def manifest(where: Path) -> dict[str, Any]:
    return dict(json.loads((where / "manifest.json").read_text("utf-8")))


def rows_of(where: Path, name: str, manifested: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table, by either format, in the order of their ids."""
    known = manifested["objects"][name]
    return rows_in(where / known["file"], known["columns"])


def rows_in(path: Path, types: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of a file, in the order of their ids; `types` by column, in Twenty's words."""
    if path.suffix == ".parquet":
        table = read_parquet(path.read_bytes()).read_all()
        columns = [table.column(column).to_pylist() for column in table.column_names]
        rows = [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
    else:
        names, *lines = cells_of(path.read_bytes().decode())
        rows = [
            {str(name): _value(types[str(name)], cell) for name, cell in zip(names, line, strict=True)}
            for line in lines
        ]
    return sorted(rows, key=lambda row: str(row["id"]))


def cells_of(text: str) -> list[list[str | None]]:
    """The lines of a CSV file; Python's own reader takes a missing value for an empty text until 3.12."""
    lines: list[list[str | None]] = [[]]
    for quoted, bare, end in _CELL.findall(text):
        lines[-1].append(quoted[1:-1].replace('""', '"') if quoted else bare or None)
        if end == "\n":
            lines.append([])
    assert lines.pop() == []
    return lines


_CELL = re.compile(r'("(?:[^"]|"")*")?([^",\n]*)(,|\n)')


def _value(kind: str, cell: str | None) -> str | bool | float | None:
    if cell is None:
        return None
    if kind == "BOOLEAN":
        return {"true": True, "false": False}[cell]
    return float(cell) if kind in {"NUMBER", "POSITION"} else cell
