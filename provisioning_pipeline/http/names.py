"""Names of tenants in addresses and headers: any text that a registry or a cluster may hold, percent-encoded."""

from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Path
from pydantic import BeforeValidator
from starlette.types import ASGIApp, Receive, Scope, Send

_IN_A_HEADER = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_OF_TENANTS = ("/v1/tenants/", "/tenants/")

AnyName = Annotated[str, BeforeValidator(unquote), Path(description="Slug or database name, percent-encoded.")]
Name = Annotated[
    str,
    BeforeValidator(unquote),
    Path(
        # neither "." nor "..", which would lead elsewhere
        pattern=r"^([^.\x00]|[^.\x00][^\x00]|[^\x00][^.\x00]|[^\x00]{3,255})$",
        description="Slug or database name, percent-encoded (a slash as %2F); a new tenant's slug: lower-case "
        "letters, digits and hyphens.",
        examples=["acme"],
    ),
]


def in_path(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def in_header(name: str) -> str:
    """A name as a header can carry it: spaces, per cent signs and what is no printable ASCII are percent-encoded."""
    return quote(name, safe=_IN_A_HEADER)


class EncodedNames:
    """ASGI middleware: the paths of tenants are matched as they were sent, so that a `%2F` in a name parts nothing.

    `Name` decodes the part that is the name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(_OF_TENANTS) and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        await self._app(scope, receive, send)
