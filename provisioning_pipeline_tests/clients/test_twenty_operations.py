"""Every document that we send is lawful for each released version that has it, and for the stand-in."""

import json

import pytest
from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.contract import KNOWN, lacking
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline.sandbox.twenty.execution import build
from provisioning_pipeline_tests.clients.twenty_versions import SHARED, facts, schema_at, schema_of

NAMED = [pytest.param(operation, id=f"{operation.name} {operation.arguments}") for operation in operations.ALL]


def complaints(schema: GraphQLSchema, operation: Operation) -> list[str]:
    """What a server with this schema says to the document and to its probe."""
    documents = (operation.document, operation.probe())
    return [error.message for document in documents for error in validate(schema, parse(document))]


def refused(schema: GraphQLSchema) -> set[str]:
    """Documents that a server with this schema refuses."""
    return {operation.document for operation in operations.ALL if complaints(schema, operation)}


def known_for(version: str) -> frozenset[str]:
    """The documents that we believe this version to take."""
    minor = int(version.split(".")[1])
    return KNOWN[max(since for since in KNOWN if int(since.split(".")[1]) <= minor)].operations


@pytest.mark.parametrize("version", facts())
def test_each_released_version_takes_exactly_what_we_believe_it_to_take(version: str) -> None:
    everything = {operation.document for operation in operations.ALL}
    assert everything - refused(schema_at(version)) == known_for(version)


@pytest.mark.parametrize("version", facts())
def test_no_released_version_lacks_what_is_needed(version: str) -> None:
    schema = schema_at(version)
    needed = [operation for operation in operations.ALL if operation.needed]
    assert {
        operation.name: complaints(schema, operation) for operation in needed if complaints(schema, operation)
    } == {}


@pytest.mark.slow
@pytest.mark.parametrize("version", [version for version in facts() if version != "2.21.0"])
def test_what_is_kept_about_a_version_is_what_its_whole_schema_says(version: str) -> None:
    whole = SHARED / "api" / f"{version}.json"
    if not whole.exists():
        pytest.skip("no ../shared/data beside this checkout")
    assert refused(schema_of(json.loads(whole.read_text()))) == refused(schema_at(version))


@pytest.mark.slow
def test_what_is_kept_about_2_21_is_what_its_whole_schema_says() -> None:
    whole = SHARED / "metadata-2.21.0.graphql"
    if not whole.exists():
        pytest.skip("no ../shared/data beside this checkout")
    assert refused(build_schema(whole.read_text())) == refused(schema_at("2.21.0"))


def test_nothing_that_goes_back_in_the_wizard_is_ever_sent() -> None:
    assert "goBackToPreviousOnboardingStep" not in {operation.name for operation in operations.ALL}


@pytest.mark.parametrize(
    "operation", [operation for operation in operations.ALL if operation.document in KNOWN["2.21"].operations]
)
def test_a_document_is_valid_for_the_stand_in(operation: Operation) -> None:
    assert complaints(build("schema.graphql", ()), operation) == []


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


def test_every_operation_that_exists_is_asked_for_before_the_first_write_but_those_on_records() -> None:
    declared = {value.name for value in vars(operations).values() if isinstance(value, Operation)}
    asked_for = {operation.name for operation in operations.ALL}
    # /graphql runs a root field that is skipped (run on 2.21.0), so it is never probed
    assert declared - asked_for == {"updateWorkspaceMember", "companies"}
    assert not asked_for & {operation.name for operation in operations.ON_RECORDS}


def test_what_is_sent_about_records_is_lawful_for_the_stand_in() -> None:
    lawful = {
        operation.name
        for operation in operations.ON_RECORDS
        if not validate(build("records.graphql", ()), parse(operation.document))
    }
    # the other objects by which a role is tried stand for companies where a customer has none
    assert lawful == {"updateWorkspaceMember", "companies"}


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
