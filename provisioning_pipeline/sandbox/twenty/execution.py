"""Runs a GraphQL document and shapes the answer as Twenty's server does: HTTP 200, errors without a path."""

import logging
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from uuid import UUID

from ariadne import ObjectType, ScalarType, graphql, make_executable_schema
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    print_ast,
)
from graphql.validation import ASTValidationRule

from provisioning_pipeline.sandbox.twenty.errors import TwentyError
from provisioning_pipeline.sandbox.twenty.runtime import Call

log = logging.getLogger(__name__)

# The library reports every refusal with a traceback; what is really unexpected is logged by `_entry`.
_silent = logging.Logger("stand-in twenty: refusals", level=logging.CRITICAL + 1)

MAX_ROOT_FIELDS = 10


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


def schema_text(file_name: str) -> str:
    """What one of the files here says in GraphQL's schema language."""
    return resources.files("provisioning_pipeline.sandbox.twenty").joinpath(file_name).read_text("utf-8")


def build(
    file_name: str, bindables: Collection[ObjectType], lacking: Collection[str] = (), more: str = ""
) -> GraphQLSchema:
    """The executable schema of one endpoint: a file and `more`, without the root fields that are to be lacking."""
    scalars = [
        ScalarType("UUID", serializer=str, value_parser=UUID),
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


class Document:
    """A parsed request: which operation runs, and which root fields it asks for."""

    def __init__(self, query: str, operation_name: str | None) -> None:
        self.ast: DocumentNode = parse(query)
        operations = [node for node in self.ast.definitions if isinstance(node, OperationDefinitionNode)]
        named = [node for node in operations if node.name and node.name.value == operation_name]
        self.operation = next(iter(named or operations), None)
        self._fragments = {
            node.name.value: node for node in self.ast.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self.root_fields = self._names(self.operation.selection_set, frozenset()) if self.operation else []

    @property
    def is_mutation(self) -> bool:
        return self.operation is not None and self.operation.operation.value == "mutation"

    @property
    def called_fields(self) -> list[str]:
        """The root fields that run: a literal `@skip(if: true)` means that a caller only wants them validated."""
        if self.operation is None:
            return []
        skipped = {
            node.name.value
            for node in self.operation.selection_set.selections
            if isinstance(node, FieldNode) and "@skip(if: true)" in map(print_ast, node.directives)
        }
        return [name for name in self.root_fields if name not in skipped and not name.startswith("__")]

    def _names(self, selections: SelectionSetNode, seen: frozenset[str]) -> list[str]:
        names: list[str] = []
        for node in selections.selections:
            if isinstance(node, FieldNode):
                names.append(node.name.value)
            elif isinstance(node, InlineFragmentNode):
                names += self._names(node.selection_set, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                fragment = self._fragments.get(node.name.value)
                if fragment is not None:
                    names += self._names(fragment.selection_set, seen | {node.name.value})
        return names

    def check_root_fields(self) -> None:
        """A root field may stand once per document (recorded on 2.21.0), and 10 of them (source only)."""
        counted = Counter(name for name in self.root_fields if not name.startswith("__"))
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


def _entry(error: GraphQLError, debug: bool = False) -> dict[str, Any]:
    del debug
    original = error.original_error
    while isinstance(original, GraphQLError):
        original = original.original_error
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


async def execute(schema: GraphQLSchema, document: Document, body: dict[str, Any], call: Call) -> dict[str, Any]:
    """Validate and run; what comes back is the JSON of the answer."""
    rules: list[type[ASTValidationRule]] = []
    if call.caller.workspace is None and not call.runtime.options.introspection_for_anonymous:
        rules.append(NoSchemaIntrospectionCustomRule)
    _, answer = await graphql(
        schema,
        {key: body.get(key) for key in ("query", "variables", "operationName")},
        context_value=call,
        query_document=document.ast,
        validation_rules=rules,
        error_formatter=_entry,
        logger=_silent,
    )
    return answer
