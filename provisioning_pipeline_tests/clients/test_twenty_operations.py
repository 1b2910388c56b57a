"""Every document that we send is lawful for the stand-in and for the real server's own schema."""

from pathlib import Path

import pytest
from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.contract import lacking
from provisioning_pipeline.clients.twenty.operations import Operation
from provisioning_pipeline.sandbox.twenty.execution import build

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "twenty" / "metadata-2.21.0.graphql"
NAMED = [pytest.param(operation, id=operation.name) for operation in operations.ALL]


@pytest.fixture(scope="module")
def stand_in() -> GraphQLSchema:
    return build("schema.graphql", ())


@pytest.fixture(scope="module")
def real() -> GraphQLSchema:
    if not REAL.exists():
        pytest.skip("no ../shared/data beside this checkout")
    return build_schema(REAL.read_text())


@pytest.mark.parametrize("operation", NAMED)
def test_a_document_is_valid_for_the_stand_in(operation: Operation, stand_in: GraphQLSchema) -> None:
    for document in (operation.document, operation.probe()):
        assert [error.message for error in validate(stand_in, parse(document))] == []


@pytest.mark.parametrize("operation", NAMED)
def test_a_document_is_valid_for_the_real_server(operation: Operation, real: GraphQLSchema) -> None:
    for document in (operation.document, operation.probe()):
        assert [error.message for error in validate(real, parse(document))] == []


@pytest.mark.parametrize("operation", NAMED)
def test_a_document_has_the_one_root_field_that_it_is_named_after(operation: Operation) -> None:
    for document, beside in ((operation.document, []), (operation.probe(), ["__typename"])):
        (definition,) = parse(document).definitions
        assert isinstance(definition, OperationDefinitionNode)
        assert definition.operation.value == operation.kind
        roots = [node.name.value for node in definition.selection_set.selections if isinstance(node, FieldNode)]
        # a probe asks for something that runs: the real executor fails on a mutation with nothing to run
        assert roots == [*beside, operation.name]


def test_no_mutation_is_called_a_read() -> None:
    for operation in operations.ALL:
        assert (operation.kind == "query") == (operation.effect is Effect.READ), operation.name


def test_what_makes_a_workspace_is_never_sent_twice() -> None:
    creations = [operation.name for operation in operations.ALL if operation.effect is Effect.CREATE]
    assert creations == ["signUpInNewWorkspace"]


def test_every_operation_that_exists_is_asked_for_before_the_first_write() -> None:
    declared = {value.name for value in vars(operations).values() if isinstance(value, Operation)}
    assert declared == {operation.name for operation in operations.ALL}


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ('Cannot query field "signUp" on type "Mutation".', ("Mutation.signUp",)),
        ('Cannot query field "signUp" on type "Mutation". Did you mean "signIn"?', ("Mutation.signUp",)),
        ('Unknown argument "input" on field "Mutation.signUp".', ("Mutation.signUp.input",)),
        ('Field "displayName" is not defined by type "ActivateInput".', ("ActivateInput.displayName",)),
        ('Unknown type "UUID". Did you mean "ID"?', ("UUID",)),
        (
            'Field "Mutation.signUp" argument "captcha" of type "String!" is required, but it was not provided.',
            ("Mutation.signUp.captcha",),
        ),
        (
            'Variable "$userId" of type "UUID!" used in position expecting type "String!".',
            ('Variable "$userId" of type "UUID!" used in position expecting type "String!".',),
        ),
        ("Something that nobody foresaw", ("Something that nobody foresaw",)),
    ],
)
def test_what_a_server_lacks_is_read_from_its_complaints(message: str, missing: tuple[str, ...]) -> None:
    assert lacking([message]) == missing
    assert lacking([message, message]) == missing
