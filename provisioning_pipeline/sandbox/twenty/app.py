"""The HTTP surface: Twenty's own paths, and `/sandbox/…` to watch and steer it from another process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from graphql import GraphQLError, GraphQLSchema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from provisioning_pipeline.sandbox.faults import FaultKind, ScriptedFault
from provisioning_pipeline.sandbox.twenty.callers import identify
from provisioning_pipeline.sandbox.twenty.errors import TwentyError
from provisioning_pipeline.sandbox.twenty.execution import Document, execute
from provisioning_pipeline.sandbox.twenty.options import TwentyOptions
from provisioning_pipeline.sandbox.twenty.runtime import Call, Runtime
from provisioning_pipeline.sandbox.twenty.schemas import endpoints
from provisioning_pipeline.sandbox.twenty.store import Session, open_pool, prepare
from provisioning_pipeline.sandbox.twenty.tokens import Tokens

# Mutations that hand out tokens and leave everything else as it was.
TOKEN_ONLY = frozenset(
    ["signIn", "getLoginTokenFromCredentials", "getAuthTokensFromLoginToken", "renewToken", "impersonate"]
)


class CutAnswer(Response):
    """Promises a body and ends without one, as a connection that breaks after the effect."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def create_app(runtime: Runtime, database_url: str) -> Starlette:
    """The stand-in's ASGI application; its pool lives as long as the server runs."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        secret = await asyncio.to_thread(prepare, database_url)
        async with open_pool(database_url) as pool:
            runtime.db = Session(pool)
            runtime.tokens = Tokens(secret, runtime.options)
            yield

    served = endpoints(runtime.options)

    async def on_metadata(request: Request) -> Response:
        return await _answer(runtime, served.metadata, request)

    async def on_client_config(_: Request) -> Response:
        return _client_config(runtime.options)

    async def on_graphql(request: Request) -> Response:
        return await _answer(runtime, served.graphql, request)

    return Starlette(
        routes=[
            Route("/metadata", on_metadata, methods=["POST"]),
            Route("/graphql", on_graphql, methods=["POST"]),
            Route("/healthz", _health, methods=["GET"]),
            Route("/client-config", on_client_config, methods=["GET"]),
            *_sandbox_routes(runtime),
        ],
        lifespan=lifespan,
    )


def _client_config(options: TwentyOptions) -> Response:
    """The part of Twenty's public settings that a program needs (names read in the source of 2.21).

    The version is that of the image; a server built without one tells none (source only).
    """
    return JSONResponse(
        {
            "appVersion": "2.21.0" if options.generation == "2.x" else None,
            "authProviders": {"google": False, "magicLink": False, "password": True, "microsoft": False, "sso": []},
            "isMultiWorkspaceEnabled": True,
            "isEmailVerificationRequired": options.email_verification_required,
            "captcha": {},
        }
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "info": {}, "error": {}, "details": {}})


async def _answer(runtime: Runtime, schema: GraphQLSchema, request: Request) -> Response:
    try:
        body = await request.json()
        document = Document(str(body["query"]), body.get("operationName"))
    except GraphQLError as error:
        return JSONResponse({"errors": [{"message": error.message}]})
    except (json.JSONDecodeError, KeyError, TypeError):
        return JSONResponse({"errors": [{"message": "Must provide query string."}]}, status_code=400)
    runtime.calls.update(document.called_fields)
    fault = _draw(runtime, document)
    if runtime.faults.latency_seconds:
        await asyncio.sleep(runtime.faults.latency_seconds)
    if fault == "error":
        return JSONResponse({"errors": [{"message": "Internal server error"}]}, status_code=500)
    if fault == "refuse":
        refusal = {"errors": [{"message": "Too many requests"}]}
        return JSONResponse(refusal, status_code=429, headers={"Retry-After": "1"})
    if document.is_mutation:
        runtime.mutating_calls += sum(name not in TOKEN_ONLY for name in document.called_fields)
    answer = await _run(runtime, schema, request, document, body)
    return CutAnswer() if fault == "drop" else JSONResponse(answer)


def _draw(runtime: Runtime, document: Document) -> FaultKind | None:
    # a document whose fields are all skipped runs nothing: it meets faults of no operation, only random ones
    for name in document.called_fields or ["nothing"]:
        fault = runtime.faults.draw(name)
        if fault is not None:
            return fault
    return None


async def _run(
    runtime: Runtime, schema: GraphQLSchema, request: Request, document: Document, body: dict[str, Any]
) -> dict[str, Any]:
    try:
        caller = await identify(runtime, request.headers.get("authorization"))
        document.check_root_fields()
    except TwentyError as error:
        # Refused before GraphQL: such answers carry no `data` at all (recorded on 2.21.0).
        return {"errors": [error.as_entry()]}
    return await execute(schema, document, body, Call(runtime, caller))


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
        if "scripted" in wanted:
            runtime.faults.scripted = [ScriptedFault(**fault) for fault in wanted["scripted"]]
        return JSONResponse({"set": sorted(wanted)})

    return [
        Route("/sandbox/state", state, methods=["GET"]),
        Route("/sandbox/reset", reset, methods=["POST"]),
        Route("/sandbox/faults", faults, methods=["POST"]),
    ]
