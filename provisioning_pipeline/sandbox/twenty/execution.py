"""Runs a GraphQL document and shapes the answer as Twenty's server does: HTTP 200, errors without a path."""

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from typing import Any
from uuid import UUID

from ariadne import ObjectType, ScalarType, make_executable_schema
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    execute,
    parse,
    specified_rules,
    validate,
    value_from_ast_untyped,
)
from graphql.execution.collect_fields import collect_fields
from graphql.execution.values import get_variable_values

from provisioning_pipeline.sandbox.twenty.errors import TwentyError, internal
from provisioning_pipeline.sandbox.twenty.runtime import Call

log = logging.getLogger(__name__)

MAX_ROOT_FIELDS = 10


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


class InvalidUuidError(ValueError):
    """A value that is no UUID where one is asked for; refused before anything runs (recorded on 2.21.0)."""

    def __init__(self, value: object) -> None:
        super().__init__(f"Invalid UUID: '{value}'")
        self.value = value


def _uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise InvalidUuidError(value) from None


def schema_text(file_name: str) -> str:
    """What one of the files here says in GraphQL's schema language."""
    return resources.files("provisioning_pipeline.sandbox.twenty").joinpath(file_name).read_text("utf-8")


def build(
    file_name: str, bindables: Collection[ObjectType], lacking: Collection[str] = (), more: str = ""
) -> GraphQLSchema:
    """The executable schema of one endpoint: a file and `more`, without the root fields that are to be lacking."""
    scalars = [
        ScalarType("UUID", serializer=str, value_parser=_uuid),
        ScalarType("DateTime", serializer=_moment),
    ]
    text = schema_text(file_name) + more
    present = [scalar for scalar in scalars if f"scalar {scalar.name}" in text]
    schema = make_executable_schema(text, *bindables, *present)
    for root in (schema.query_type, schema.mutation_type):
        for name in lacking:
            if root is not None:
                root.fields.pop(name, None)
    return schema


# a program asks with the same few documents again and again, and one is valid or not for a schema as it stands
_DOCUMENTS = 512


@lru_cache(_DOCUMENTS)
def _parsed(query: str) -> DocumentNode:
    return parse(query)


@lru_cache(_DOCUMENTS)
def _invalid(schema: GraphQLSchema, query: str, *, may_introspect: bool) -> tuple[GraphQLError, ...]:
    """What is wrong with a document that parses."""
    rules = specified_rules if may_introspect else (*specified_rules, NoSchemaIntrospectionCustomRule)
    return tuple(validate(schema, _parsed(query), rules))


class Document:
    """A parsed request: which operation runs, and which root fields it asks for."""

    def __init__(self, query: str, operation_name: str | None, variables: dict[str, Any] | None = None) -> None:
        self.query = query
        self.ast = _parsed(query)
        self.operation_name = operation_name
        self.variables = variables or {}
        self._operations = [node for node in self.ast.definitions if isinstance(node, OperationDefinitionNode)]
        named = [node for node in self._operations if node.name and node.name.value == operation_name]
        self.operation = next(iter(named or self._operations), None)
        self._fragments = {
            node.name.value: node for node in self.ast.definitions if isinstance(node, FragmentDefinitionNode)
        }

    @property
    def is_mutation(self) -> bool:
        return self.operation is not None and self.operation.operation.value == "mutation"

    @property
    def called_fields(self) -> list[str]:
        """The root fields that run: one that is skipped is only asked for to be validated."""
        if self.operation is None:
            return []
        names = self._names(self.operation.selection_set, frozenset(), skipped=True)
        return [name for name in names if not name.startswith("__")]

    def _names(self, selections: SelectionSetNode, seen: frozenset[str], *, skipped: bool) -> list[str]:
        """The fields of a selection, those inside fragments too; without the skipped ones if so wanted."""
        names: list[str] = []
        for node in selections.selections:
            if skipped and self._is_skipped(node):
                continue
            if isinstance(node, FieldNode):
                names.append(node.name.value)
            elif isinstance(node, InlineFragmentNode):
                names += self._names(node.selection_set, seen, skipped=skipped)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                fragment = self._fragments.get(node.name.value)
                if fragment is not None:
                    names += self._names(fragment.selection_set, seen | {node.name.value}, skipped=skipped)
        return names

    def _is_skipped(self, node: SelectionNode) -> bool:
        given = {
            directive.name.value: value_from_ast_untyped(argument.value, self.variables)
            for directive in node.directives
            for argument in directive.arguments
        }
        return given.get("skip") is True or given.get("include") is False

    def runs_anything(self, schema: GraphQLSchema, variables: dict[str, Any]) -> bool:
        """Whether a root field is left once the skipped ones are taken out, `__typename` counted."""
        if self.operation is None or schema.mutation_type is None:
            return False
        root = schema.mutation_type
        return bool(collect_fields(schema, self._fragments, variables, root, self.operation.selection_set))

    def check_root_fields(self) -> None:
        """A root field may stand once per document (recorded on 2.21.0), and 10 of them (source only)."""
        # Of all operations together, whichever is to run (recorded on 2.21.0).
        names = [
            name for node in self._operations for name in self._names(node.selection_set, frozenset(), skipped=False)
        ]
        counted = Counter(name for name in names if not name.startswith("__"))
        for name, times in counted.items():
            if times > 1:
                raise TwentyError(
                    f'Duplicate root resolver: "{name}"',
                    "BAD_USER_INPUT",
                    None,
                    {
                        "id": "UrzTjS",
                        "message": "Duplicate root resolver found."
                        " Each root resolver can only be called once per document.",
                    },
                )
        if len(counted) > MAX_ROOT_FIELDS:
            raise TwentyError(
                f"Query too complex - Too many root resolvers requested: {len(counted)}"
                f" - Maximum allowed root resolvers: {MAX_ROOT_FIELDS}",
                "BAD_USER_INPUT",
                None,
                "The request is too complex to process. Please try reducing the amount of requested root resolvers.",
            )


def entry_of(error: GraphQLError) -> dict[str, Any]:
    """An error as it stands in `errors[]`."""
    original = error.original_error
    while isinstance(original, GraphQLError):
        original = original.original_error
    if isinstance(original, InvalidUuidError):
        return _refused_variable(error)
    if isinstance(original, TwentyError):
        return original.as_entry()
    if original is not None:
        log.error("a resolver of the stand-in failed", exc_info=original)
        return TwentyError(str(original), "INTERNAL_SERVER_ERROR").as_entry()
    # graphql-js quotes names with double quotes where graphql-core uses single ones.
    entry: dict[str, Any] = {"message": error.message.replace("'", '"')}
    if error.locations:
        entry["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    return entry


def _refused_variable(error: GraphQLError) -> dict[str, Any]:
    """A variable that is missing or of another kind, with the cause's own text (recorded on 2.21.0)."""
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    extensions: dict[str, Any] = {
        "code": "BAD_USER_INPUT",
        "http": {"status": 400},
        "userFriendlyMessage": "An error occurred.",
    }
    message = error.message.replace("'", '"')
    if isinstance(original, InvalidUuidError):
        extensions |= {"code": "GRAPHQL_VALIDATION_FAILED", "value": original.value}
        message = str(original)
    elif original is not None:
        message = str(original)
    return {"message": message, "extensions": extensions}


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP: 400 where the variables do not fit, else 200 (recorded on 2.21.0)."""

    body: dict[str, Any]
    status: int = 200


async def answer(schema: GraphQLSchema, document: Document, call: Call) -> Answer:
    """Validate and run; what comes back is the JSON of the answer."""
    known = call.caller.workspace is not None or call.runtime.options.introspection_for_anonymous
    refused = [entry_of(error) for error in _invalid(schema, document.query, may_introspect=known)]
    if refused:
        if not known:
            # Nor is a hint given to those who may not look at the schema (recorded on 2.21.0).
            refused = [entry | {"message": entry["message"].partition(" Did you mean ")[0]} for entry in refused]
        return Answer({"errors": refused})
    if document.operation is not None:
        variables = get_variable_values(schema, document.operation.variable_definitions or (), document.variables)
        if isinstance(variables, list):
            return Answer({"errors": [_refused_variable(error) for error in variables]}, status=400)
        if document.is_mutation and not document.runs_anything(schema, variables):
            # The real executor reduces over the fields, and fails where there are none (recorded on 2.21.0).
            message = "(0 , utils_1.promiseReduce)(...).resolve is not a function"
            return Answer({"data": None, "errors": [internal(message).as_entry()]})
    running = execute(
        schema,
        document.ast,
        context_value=call,
        variable_values=document.variables,
        operation_name=document.operation_name,
    )
    result = running if isinstance(running, ExecutionResult) else await running
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [entry_of(error) for error in result.errors]
    return Answer(body)
