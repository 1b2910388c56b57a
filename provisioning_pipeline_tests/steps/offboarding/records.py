"""Records in a workspace of the stand-in, with objects of the customer's own and files, and reading an export back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

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
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    known = manifested["objects"][name]
    path = where / known["file"]
    if path.suffix == ".parquet":
        return sorted(pq.read_table(path).to_pylist(), key=lambda row: row["id"])
    kinds = {"BOOLEAN": pa.bool_(), "NUMBER": pa.float64(), "POSITION": pa.float64()}
    types = {column: kinds.get(type_, pa.string()) for column, type_ in known["columns"].items()}
    found = pc.read_csv(
        path,
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(
            column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        ),
    )
    return sorted(found.to_pylist(), key=lambda row: row["id"])
