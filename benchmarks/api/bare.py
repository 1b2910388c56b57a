"""The least that a gateway's check of a session can be: one route, one `jwt.decode`, four headers from a dictionary."""

import json
import socket
import sys
from pathlib import Path
from typing import Literal, TypedDict

import jwt
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HTTP: Literal["h11"] = "h11"
"""The parser that `provisioning serve` has."""


class Known(TypedDict):
    """What the server is given: the public key as PEM, what a token must say, and the headers by organization and
    user."""

    key: str
    issuer: str
    audience: str
    headers: dict[str, dict[str, str]]


def create_app(known: Known) -> Starlette:
    """The application for that key and these headers."""
    algorithm = jwt.get_algorithm_by_name("RS256")
    key = algorithm.prepare_key(known["key"])

    async def verify(request: Request) -> Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, key, algorithms=["RS256"], audience=known["audience"], issuer=known["issuer"])
        return Response(headers=known["headers"][f"{claims['o']['id']} {claims['sub']}"])

    return Starlette(routes=[Route("/v1/auth/verify", verify)])


def _serve(app: Starlette) -> None:
    # with the protocol named, asyncio turns Nagle's algorithm off, as for the HTTP API
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    print(f"Listening on http://127.0.0.1:{listener.getsockname()[1]}.", flush=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, proxy_headers=False, http=HTTP)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve(create_app(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
