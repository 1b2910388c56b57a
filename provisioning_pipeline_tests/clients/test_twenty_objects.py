"""Objects become columns, and records flat rows; no name that Twenty tells leaves its place."""

import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from provisioning_pipeline.clients.twenty.objects import (
    FileValue,
    SeenObject,
    files_of,
    object_of,
    row_of,
)


def field(name: str, type_: str, relation: str | None = None, targets: tuple[str, ...] = ()) -> dict[str, Any]:
    settings = {"relationType": relation, "joinColumnName": f"{name}Id"} if relation else None
    morphs = [{"targetObjectMetadata": {"nameSingular": target}} for target in targets] or None
    return {"name": name, "type": type_, "settings": settings, "morphRelations": morphs}


def seen(*fields: dict[str, Any], name: str = "thing") -> SeenObject:
    described = {"nameSingular": name, "namePlural": f"{name}s", "isActive": True, "fieldsList": list(fields)}
    return SeenObject.model_validate(described)


def test_each_type_is_selected_with_its_parts_and_relations_by_their_ids() -> None:
    found = object_of(
        seen(
            field("id", "UUID"),
            field("name", "FULL_NAME"),
            field("owner", "RELATION", "MANY_TO_ONE"),
            field("tasks", "RELATION", "ONE_TO_MANY"),
            field("target", "MORPH_RELATION", "MANY_TO_ONE", ("company", "person")),
            field("searchVector", "TS_VECTOR"),
            field("file", "FILES"),
        )
    )
    assert found.selection == (
        "id name { firstName lastName } ownerId targetCompanyId targetPersonId file { fileId label extension url }"
    )
    assert [column.name for column in found.columns] == [
        "id",
        "nameFirstName",
        "nameLastName",
        "ownerId",
        "targetCompanyId",
        "targetPersonId",
        "file",
    ]
    assert found.unknown == ()


def test_a_type_that_we_do_not_know_is_told_and_nothing_is_guessed() -> None:
    found = object_of(seen(field("id", "UUID"), field("shape", "POLYGON")))
    assert found.unknown == ("shape (POLYGON)",)
    assert found.selection == "id"


@pytest.mark.parametrize("name", ["", "../x", "a b", "a{b}", "a/b", "é", "1a", "a" * 64, "a\n"])
def test_a_name_that_could_leave_a_folder_or_a_document_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        seen(field("id", "UUID"), name=name)
    with pytest.raises(ValidationError):
        seen(field(name, "TEXT"))


def test_no_digit_of_an_amount_is_lost_and_missing_is_not_empty() -> None:
    columns = object_of(seen(field("amount", "CURRENCY"), field("note", "TEXT"), field("done", "BOOLEAN"))).columns
    amount = 9_007_199_254_740_993_001
    row = row_of(columns, {"amount": {"amountMicros": amount}, "note": "", "done": False})
    assert row == {"amountAmountMicros": str(amount), "amountCurrencyCode": None, "note": "", "done": False}
    assert set(row_of(columns, {}).values()) == {None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=JSON)
def test_what_is_nested_is_read_back_from_its_text(value: Any) -> None:
    (column,) = object_of(seen(field("raw", "RAW_JSON"))).columns
    told = row_of([column], {"raw": value})["raw"]
    assert (None if told is None else json.loads(str(told))) == value


@given(extension=st.text(), url=st.text())
def test_a_file_is_called_by_its_id_whatever_its_extension_says(extension: str, url: str) -> None:
    file_id = str(uuid4())
    try:
        found = FileValue.model_validate({"fileId": file_id, "extension": extension, "url": url})
    except ValidationError:
        return
    assert found.name.startswith(file_id)
    assert not {"/", "\\", "\0"} & set(found.name)
    assert found.path is None or found.path.startswith("/file/")


def test_the_path_of_a_file_is_taken_and_not_the_host_that_browsers_use() -> None:
    found = FileValue.model_validate({"fileId": str(uuid4()), "url": "https://crm.example/file/files-field/x?token=t"})
    assert found.path == "/file/files-field/x?token=t"


def test_a_file_without_an_id_is_an_error_and_an_empty_field_is_none() -> None:
    columns = object_of(seen(field("file", "FILES"))).columns
    assert list(files_of(columns, {"file": None})) == []
    with pytest.raises(ValidationError):
        list(files_of(columns, {"file": [{"fileId": "../../etc"}]}))
