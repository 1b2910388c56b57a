"""The HTTP surface: Twenty's own paths, and `/sandbox/…` to watch and steer it from another process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from graphql import GraphQLError, GraphQLSchema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.twenty import record_lists, sessions
from provisioning_pipeline.sandbox.twenty.callers import identify
from provisioning_pipeline.sandbox.twenty.errors import TwentyError
from provisioning_pipeline.sandbox.twenty.execution import Document, answer, entry_of
from provisioning_pipeline.sandbox.twenty.http import (
    Json,
    UnreadableError,
    client_config,
    health,
    not_found,
    read_body,
)
from provisioning_pipeline.sandbox.twenty.runtime import Call, Runtime
from provisioning_pipeline.sandbox.twenty.schemas import endpoints
from provisioning_pipeline.sandbox.twenty.store import Session, open_pool, prepare
from provisioning_pipeline.sandbox.twenty.tokens import Tokens

# Mutations that hand out tokens and leave everything else as it was.
TOKEN_ONLY = frozenset(
    ["signIn", "getLoginTokenFromCredentials", "getAuthTokensFromLoginToken", "renewToken", "impersonate", "signOut"]
)

HANGING_LOOK_SECONDS = 0.02

# Of the calls without a token these hang with Redis away (recorded on 2.21.0): the one before its effect, and only
# where no one logged in of late, the other after it.
EXCHANGE, JOIN = "getAuthTokensFromLoginToken", "signUpInWorkspace"


class CutAnswer(Response):
    """Promises a body and ends without one, as a connection that breaks after the effect."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def create_app(runtime: Runtime, database_url: str) -> Starlette:
    """The stand-in's ASGI application; its pool lives as long as the server runs."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        secret = await asyncio.to_thread(prepare, database_url, runtime.options.traits)
        async with open_pool(database_url) as pool:
            runtime.db = Session(pool)
            runtime.tokens = Tokens(secret, runtime.options)
            yield

    served = endpoints(runtime.options)

    async def on_metadata(request: Request) -> Response:
        return await _answer(runtime, served.metadata, served.metadata, request)

    async def on_client_config(_: Request) -> Response:
        return client_config(runtime.options)

    async def on_graphql(request: Request) -> Response:
        return await _answer(runtime, served.graphql, served.graphql_for_nobody, request)

    async def on_file(request: Request) -> Response:
        return await record_lists.file_answer(runtime, request.path_params["file"], request.query_params.get("token"))

    return Starlette(
        routes=[
            Route("/metadata", on_metadata, methods=["GET", "POST"]),
            Route("/graphql", on_graphql, methods=["GET", "POST"]),
            Route("/file/files-field/{file}", on_file, methods=["GET"]),
            Route("/metadata", _preflight, methods=["OPTIONS"]),
            Route("/graphql", _preflight, methods=["OPTIONS"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/client-config", on_client_config, methods=["GET"]),
            *_sandbox_routes(runtime),
        ],
        exception_handlers={404: not_found, 405: not_found},
        lifespan=lifespan,
    )


async def _preflight(_: Request) -> Response:
    return Response(status_code=204)


async def _answer(runtime: Runtime, schema: GraphQLSchema, for_nobody: GraphQLSchema, request: Request) -> Response:
    refused = sessions.refusal(runtime, request)
    if refused is not None:
        return refused
    try:
        body = await read_body(request)
        variables = body.get("variables")
        document = Document(body["query"], body.get("operationName"), variables if isinstance(variables, dict) else {})
    except UnreadableError as error:
        return error.answer
    except GraphQLError as error:
        return Json({"errors": [entry_of(error)]})
    runtime.calls.update(document.called_fields)
    drawn = _draw(runtime, document)
    fault = drawn.kind if drawn else None
    if runtime.faults.latency_seconds:
        await asyncio.sleep(runtime.faults.latency_seconds)
    if ("authorization" in request.headers or document.called_fields == [EXCHANGE]) and not await _answers(runtime):
        return CutAnswer()
    if drawn and fault == "odd":
        return drawn.odd_answer()
    if fault == "error":
        return Json({"errors": [{"message": "Internal server error"}]}, status_code=500)
    if fault == "refuse":
        refusal = {"errors": [{"message": "Too many requests"}]}
        return Json(refusal, status_code=429, headers={"Retry-After": "1"})
    if document.is_mutation:
        runtime.mutating_calls += sum(name not in TOKEN_ONLY for name in document.called_fields)
    done = await _run(runtime, schema, for_nobody, request, document)
    if document.called_fields == [JOIN] and not await _answers(runtime):
        return CutAnswer()
    if drawn and fault == "odd after":
        return drawn.odd_answer()
    return CutAnswer() if fault == "drop" else done


async def _answers(runtime: Runtime) -> bool:
    """Wait while the server hangs, whether its caller still does or not; False where it is stopped meanwhile."""
    while runtime.faults.hanging:
        if runtime.stopping:
            return False
        await asyncio.sleep(HANGING_LOOK_SECONDS)
    return True


def _draw(runtime: Runtime, document: Document) -> ScriptedFault | None:
    # a document whose fields are all skipped runs nothing: it meets faults of no operation, only random ones
    for name in document.called_fields or ["nothing"]:
        fault = runtime.faults.draw(name)
        if fault is not None:
            return fault
    return None


async def _run(
    runtime: Runtime, schema: GraphQLSchema, for_nobody: GraphQLSchema, request: Request, document: Document
) -> Response:
    try:
        caller = await identify(runtime, request.headers.get("authorization"))
        if caller.user is None and caller.api_key is None:
            caller = await sessions.caller_of_cookie(runtime, request)
        document.check_root_fields()
        sessions.check_origin(runtime, request, document.called_fields)
    except TwentyError as error:
        # Refused before GraphQL: such answers carry no `data` at all (recorded on 2.21.0).
        return Json({"errors": [error.as_entry()]})
    headers = request.headers
    call = Call(runtime, caller, headers.get("user-agent"), request.cookies.get(sessions.COOKIE))
    listed = record_lists.asked_for(document) if schema is not for_nobody and caller.workspace is not None else None
    if listed is not None:
        result = await record_lists.answer(call, listed, document.variables)
    else:
        result = await answer(for_nobody if caller.workspace is None else schema, document, call)
    response = Json(result.body, result.status)
    sessions.set_cookie(response, call)
    return response


def _sandbox_routes(runtime: Runtime) -> list[Route]:
    async def state(_: Request) -> Response:
        return JSONResponse(
            {
                "calls": dict(runtime.calls),
                "mutating_calls": runtime.mutating_calls,
                "mails": [asdict(mail) for mail in runtime.mails],
                "faults": dict(runtime.faults.injected),
            }
        )

    async def reset(_: Request) -> Response:
        runtime.calls.clear()
        runtime.mutating_calls = 0
        runtime.mails.clear()
        runtime.faults.injected.clear()
        return JSONResponse({"reset": True})

    async def faults(request: Request) -> Response:
        wanted = await request.json()
        for name in ("latency_seconds", "error_rate", "drop_rate"):
            if name in wanted:
                setattr(runtime.faults, name, float(wanted[name]))
        if "hanging" in wanted:
            runtime.faults.hanging = bool(wanted["hanging"])
        if "scripted" in wanted:
            runtime.faults.scripted = [ScriptedFault(**fault) for fault in wanted["scripted"]]
        return JSONResponse({"set": sorted(wanted)})

    return [
        Route("/sandbox/state", state, methods=["GET"]),
        Route("/sandbox/reset", reset, methods=["POST"]),
        Route("/sandbox/faults", faults, methods=["POST"]),
    ]
