"""Servers that are no Twenty of our kind are refused in words."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from ariadne import QueryType, make_executable_schema
from ariadne.asgi import GraphQL
from graphql import GraphQLError, GraphQLSchema
from pydantic import SecretStr
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.settings import TwentyServer
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
SILENT = logging.Logger("refusals", level=logging.CRITICAL + 1)


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[TwentyClient]:
    settings = TwentyServer(
        name="eu",
        base_url=base_url,
        database_url=SecretStr("postgresql://x/x"),
        service_email="provisioner@platform.test",
        service_password=SecretStr("service-c4nary"),
    )
    counter = CallCounter()
    async with TwentyClient(
        settings, timeout_seconds=5, activation_timeout_seconds=5, dry_run=False, counter=counter
    ) as opened:
        yield opened


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
async def test_what_speaks_no_graphql_is_no_twenty(response: Response, any_server: AnyServer) -> None:
    base_url = any_server.answers(response)
    fault = await refusal(base_url)
    assert f"{base_url}/metadata answers HTTP {response.status_code} without GraphQL" in fault.message


async def test_a_graphql_server_that_is_not_twenty_is_told_what_it_lacks(any_server: AnyServer) -> None:
    query = QueryType()
    query.set_field("hello", lambda *_: "world")
    application = graphql_server(make_executable_schema("type Query { hello: String }", query))
    fault = await refusal(any_server.answers(application))
    assert "lacks what provisioning needs" in fault.message
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


async def test_an_older_twenty_is_told_fields_and_arguments_that_it_lacks(any_server: AnyServer) -> None:
    fault = await refusal(any_server.answers(graphql_server(older_twenty())))
    for name in ("signUpInNewWorkspace.input", "User.onboardingStatus", "Mutation.signUpInWorkspace", "inviteHash"):
        assert name in fault.message
