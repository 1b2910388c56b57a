"""What each version of the stand-in takes is what the released version takes."""

import json
from collections.abc import Iterator

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    parse,
    validate,
)

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.sandbox.twenty.schemas import endpoints
from provisioning_pipeline.sandbox.twenty.versions import Version
from provisioning_pipeline_tests.clients.twenty_versions import SHARED, Types, facts, schema_at

RELEASED: dict[Version, str] = {"2.21": "2.21.0", "2.38": "2.38.0", "2.47": "2.43.0"}
"""The released version that stands for each; of 2.47 there is none, and 2.43 is the newest before it."""

GONE: dict[Version, frozenset[str]] = {
    "2.21": frozenset(),
    "2.38": frozenset(),
    "2.47": frozenset({"triggerInstallAppsOnboardingStep"}),
}
"""Root fields that a version lacks, although the released one that stands for it has them (source only)."""

METADATA_2_21 = SHARED / "metadata-2.21.0.graphql"


def metadata(version: Version) -> GraphQLSchema:
    return endpoints(TwentyOptions(version=version)).metadata


def fields(schema: GraphQLSchema) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Type, field, the bare name of what it is, and its arguments, of everything that the stand-in has."""
    for name, type_ in schema.type_map.items():
        if name.startswith("__") or not isinstance(type_, GraphQLObjectType | GraphQLInputObjectType):
            continue
        for field_name, field in type_.fields.items():
            arguments = {argument: str(value.type) for argument, value in getattr(field, "args", {}).items()}
            yield name, field_name, get_named_type(field.type).name, arguments


def disagreements(schema: GraphQLSchema, released: Types) -> list[str]:
    """What the stand-in has otherwise than the released version, of the types of which facts are kept."""
    enums = {name for name, type_ in schema.type_map.items() if isinstance(type_, GraphQLEnumType)}
    found = []
    for type_name, field_name, kind, arguments in fields(schema):
        if not released.get(type_name):
            continue
        fact = released[type_name].get(field_name)
        if fact is None:
            continue
        if fact["type"] != kind and not (kind in enums and fact["type"] == "String"):
            found.append(f"{type_name}.{field_name}: {kind}, and not {fact['type']}")
        if arguments != fact.get("args", {}):
            found.append(f"{type_name}.{field_name}: {arguments}, and not {fact.get('args', {})}")
    return found


@pytest.mark.parametrize("version", RELEASED)
def test_what_the_stand_in_takes_the_released_version_takes(version: Version) -> None:
    assert disagreements(metadata(version), facts()[RELEASED[version]]) == []


@pytest.mark.parametrize("version", RELEASED)
def test_nothing_is_wider_than_the_released_version(version: Version) -> None:
    path = SHARED / "api" / f"{RELEASED[version]}.json"
    if not path.exists():
        pytest.skip("the whole schema of that version is not beside this checkout")
    released: Types = json.loads(path.read_text("utf-8"))
    schema = metadata(version)
    assert [
        f"{type_name}.{name}" for type_name, name, _, _ in fields(schema) if name not in released.get(type_name, {})
    ] == []
    assert disagreements(schema, released) == []


@pytest.mark.parametrize("version", RELEASED)
def test_each_operation_is_valid_where_the_released_version_takes_it(version: Version) -> None:
    ours, released = metadata(version), schema_at(RELEASED[version])
    seen = 0
    for name, operation in vars(operations).items():
        if not isinstance(operation, Operation) or operation.records:
            continue
        document = parse(operation.document)
        valid = not validate(released, document) and operation.name not in GONE[version]
        assert (not validate(ours, document)) == valid, name
        seen += valid
    assert seen > 15


def test_every_type_and_field_of_2_21_is_in_the_real_schema() -> None:
    if not METADATA_2_21.exists():
        pytest.skip("no introspection of a real server beside this checkout")
    real, ours = build_schema(METADATA_2_21.read_text("utf-8")), metadata("2.21")
    for name, type_ in ours.type_map.items():
        if name.startswith("__"):
            continue
        theirs = real.type_map[name]
        assert type(theirs).__name__ == type(type_).__name__
        if isinstance(type_, GraphQLObjectType | GraphQLInputObjectType):
            assert isinstance(theirs, GraphQLObjectType | GraphQLInputObjectType)
            for field_name, field in type_.fields.items():
                assert str(theirs.fields[field_name].type) == str(field.type), f"{name}.{field_name}"
        if isinstance(type_, GraphQLEnumType):
            assert isinstance(theirs, GraphQLEnumType)
            assert list(type_.values) == list(theirs.values)
