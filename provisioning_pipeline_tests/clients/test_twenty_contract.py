"""A Twenty that has everything is taken, and servers that are no Twenty of our kind are refused in words."""

import logging
from typing import Any

import pytest
from ariadne import QueryType, make_executable_schema
from ariadne.asgi import GraphQL
from graphql import GraphQLError, GraphQLSchema
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.clients.twenty.contract import KNOWN, onboarding_of
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.contract import Onboarding
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.twenty import FurtherStep, TwentyOptions
from provisioning_pipeline_tests.clients.conftest import AnyServer
from provisioning_pipeline_tests.clients.twenty import client, ready, sql, workspace

pytestmark = pytest.mark.anyio
SILENT = logging.Logger("refusals", level=logging.CRITICAL + 1)


async def test_the_contract_holds_on_the_stand_in_and_nothing_is_written(special: Any) -> None:
    server = special()
    async with client(server, dry_run=True) as opened:
        await opened.check_contract()
    assert server.mutating_calls == 0
    assert sql(server, 'SELECT count(*) FROM core."user"') == [(0,)]


async def test_a_server_that_lacks_a_field_is_refused_by_name_before_anything_is_written(special: Any) -> None:
    server = special(TwentyOptions(lacking=frozenset({"signUpInWorkspace"})))
    async with client(server) as opened:
        for attempt in (opened.check_contract, opened.sign_up_service_account):
            with pytest.raises(Fault, match=r"Mutation\.signUpInWorkspace") as raised:
                await attempt()
            assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.UNSUPPORTED_TWENTY)
            assert "Nothing was written" in raised.value.message
    assert sql(server, 'SELECT count(*) FROM core."user"') == [(0,)]


def as_graphql_js_says_it(error: GraphQLError, debug: bool = False) -> dict[str, str]:
    """Twenty runs on graphql-js, which quotes names with double quotes."""
    return {"message": error.message.replace("'", '"')}


def graphql_server(schema: GraphQLSchema) -> GraphQL:
    """A GraphQL application."""
    return GraphQL(schema, error_formatter=as_graphql_js_says_it, logger=SILENT)


async def refusal(base_url: str) -> Fault:
    async with client(base_url) as opened:
        with pytest.raises(Fault) as raised:
            await opened.check_contract()
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.UNSUPPORTED_TWENTY)
    assert '"eu"' in raised.value.message
    assert "c4nary" not in raised.value.message
    return raised.value


@pytest.mark.parametrize(
    "response",
    [
        PlainTextResponse("<html>a front page</html>"),
        PlainTextResponse("Not found", 404),
        JSONResponse({"hello": "world"}),
        JSONResponse(["data"]),
        JSONResponse("data"),
        PlainTextResponse("", 301, {"location": "https://elsewhere.test"}),
    ],
    ids=["html", "404", "other json", "list", "string", "redirect"],
)
async def test_what_speaks_no_graphql_is_no_twenty(
    response: Response, any_server: AnyServer, waits: list[float]
) -> None:
    base_url = any_server.answers(response)
    fault = await refusal(base_url)
    told = (
        "with a redirect (HTTP 301) to https://elsewhere.test, which is not followed"
        if response.status_code == 301
        else f"{base_url}/metadata answers HTTP {response.status_code} without GraphQL"
    )
    assert told in fault.message


async def test_a_graphql_server_that_is_not_twenty_is_told_what_it_lacks(
    any_server: AnyServer, waits: list[float]
) -> None:
    query = QueryType()
    query.set_field("hello", lambda *_: "world")
    application = graphql_server(make_executable_schema("type Query { hello: String }", query))
    fault = await refusal(any_server.answers(application))
    assert "lacks what workspaces cannot be made" in fault.message
    assert "currentUser" in fault.message
    assert len(fault.message) < 2000


def older_twenty() -> GraphQLSchema:
    """As in 1.x: the auth mutations on /metadata take other arguments."""
    return make_executable_schema(
        """
        scalar UUID
        type Query { currentUser: User currentWorkspace: Workspace }
        type User { id: UUID! email: String! }
        type Workspace { id: UUID! }
        type Mutation { signUpInNewWorkspace: Workspace activateWorkspace(data: ActivateWorkspaceInput!): Workspace }
        input ActivateWorkspaceInput { displayName: String! }
        """
    )


async def test_an_older_twenty_is_told_fields_and_arguments_that_it_lacks(
    any_server: AnyServer, waits: list[float]
) -> None:
    fault = await refusal(any_server.answers(graphql_server(older_twenty())))
    for name in ("signUpInNewWorkspace.input", "User.onboardingStatus", "Mutation.signUpInWorkspace", "inviteHash"):
        assert name in fault.message


async def test_a_server_of_1_x_is_told_to_be_one(special: Any) -> None:
    server = special(TwentyOptions(version="1.x"))
    async with client(server) as opened:
        surface = await opened.surface()
        with pytest.raises(Fault, match=r"is a Twenty 1\.x: .* Upgrade it to 2\.21") as raised:
            await opened.check_contract()
    assert surface.older
    assert "Mutation.signUpInNewWorkspace" in surface.lacks
    assert "Mutation.signUpInNewWorkspace" in raised.value.message
    assert server.mutating_calls == 0


async def test_the_stand_in_has_what_was_measured(special: Any) -> None:
    async with ready(special()) as opened:
        surface = await opened.surface()
        assert (surface.operations, surface.lacks, surface.older) == (KNOWN["2.21"].operations, (), False)
        assert await opened.onboarding(await workspace(opened)) == KNOWN["2.21"].onboarding


async def test_a_further_step_is_read_by_whoever_is_in_a_workspace(special: Any) -> None:
    step = FurtherStep("ONBOARDING_IMPORT_DATA_PENDING", "IMPORT_DATA")
    async with ready(special(TwentyOptions(activation_seconds=0, further_steps=(step,)))) as opened:
        found = await opened.onboarding(await workspace(opened))
    assert KNOWN["2.21"].onboarding is not None
    assert found is not None
    assert found.statuses - KNOWN["2.21"].onboarding.statuses == {"IMPORT_DATA"}
    assert found.mutations == KNOWN["2.21"].onboarding.mutations


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"errors": [{"message": "GraphQL introspection has been disabled"}]},
        {"data": None},
        {"data": {"__type": None, "__schema": {"mutationType": {"fields": []}}}},
        {"data": {"__type": {"enumValues": []}, "__schema": {"mutationType": None}}},
    ],
)
def test_an_answer_that_tells_nothing_is_nothing(answer: dict[str, Any]) -> None:
    assert onboarding_of(answer) is None


def test_only_mutations_that_end_a_step_are_taken() -> None:
    fields = [{"name": "signIn"}, {"name": "skipTourOnboardingStep"}]
    data = {"__type": {"enumValues": [{"name": "TOUR"}]}, "__schema": {"mutationType": {"fields": fields}}}
    assert onboarding_of({"data": data}) == Onboarding(frozenset({"TOUR"}), frozenset({"skipTourOnboardingStep"}))
