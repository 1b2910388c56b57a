"""GraphQL schemas of released Twenty versions, made of the facts that are kept about them."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from graphql import GraphQLSchema, build_schema

Types = Mapping[str, Mapping[str, Mapping[str, Any]]]
FACTS = Path(__file__).resolve().parents[1] / "data" / "twenty_api.json"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "twenty"
"""The whole schemas, where they are at hand."""
_BUILT_IN = frozenset({"String", "Boolean", "Int", "Float", "ID"})
_WITH_DEFAULT = {"isAutoSkipped": "false", "hasBookedCall": "false"}
"""Arguments that are required and have a default, which the packages do not tell (read in the source of 2.38)."""


@cache
def facts() -> dict[str, Types]:
    """Version → what it has."""
    known: dict[str, Types] = json.loads(FACTS.read_text("utf-8"))
    return known


@cache
def schema_at(version: str) -> GraphQLSchema:
    """The schema of a version of which facts are kept."""
    return schema_of(facts()[version])


def schema_of(types: Types) -> GraphQLSchema:
    """A schema with these types; what they mention and do not describe is a scalar."""
    mentioned = {field["type"] for fields in types.values() for field in fields.values()}
    mentioned |= {
        argument.strip("[]!").replace("]", "").replace("!", "")
        for fields in types.values()
        for field in fields.values()
        for argument in field.get("args", {}).values()
    }
    described = {name for name, fields in types.items() if fields}
    scalars = sorted((mentioned | set(types)) - described - _BUILT_IN)
    inputs = _inputs(types)
    parts = [f"scalar {name}" for name in scalars]
    for name in sorted(described):
        kind = "input" if name in inputs else "type"
        fields = "\n".join(f"  {field}{_arguments(fact)}: {fact['type']}" for field, fact in types[name].items())
        parts.append(f"{kind} {name} {{\n{fields}\n}}")
    return build_schema("\n".join(parts))


def _inputs(types: Types) -> set[str]:
    """The types that are arguments, and those of their fields."""
    found: set[str] = set()
    wanted = [
        argument.replace("[", "").replace("]", "").replace("!", "")
        for fields in types.values()
        for field in fields.values()
        for argument in field.get("args", {}).values()
    ]
    while wanted:
        name = wanted.pop()
        if name in types and name not in found:
            found.add(name)
            wanted += [field["type"] for field in types[name].values()]
    return found


def _arguments(field: Mapping[str, Any]) -> str:
    arguments = field.get("args", {})
    if not arguments:
        return ""
    declared = (
        f"{name}: {type_}" + (f" = {_WITH_DEFAULT[name]}" if name in _WITH_DEFAULT else "")
        for name, type_ in arguments.items()
    )
    return f"({', '.join(declared)})"
