"""Answers that no system of its kind gives: what proxies, login pages, half-started servers and cut cables put in place
of them. A scripted fault of a stand-in names one."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.responses import Response

_PAGE = b"<!doctype html><html><head><title>Just a moment...</title></head><body>Please wait</body></html>"


@dataclass(frozen=True)
class OddAnswer:
    """One of them. `%s` in its content stands for the name of the operation that was called."""

    content: bytes
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, operation: str) -> Response:
        """It, as an answer to this operation."""
        return Response(
            self.content.replace(b"%s", operation.encode()),
            self.status,
            dict(self.headers),
            self.media_type,
        )


def _page(status: int) -> OddAnswer:
    return OddAnswer(_PAGE, status, "text/html")


ODD_ANSWERS: Final[Mapping[str, OddAnswer]] = {
    "html": _page(200),
    "html as json": OddAnswer(_PAGE),
    "bad request page": _page(400),
    "sign-in page": _page(401),
    "forbidden page": _page(403),
    "not found page": _page(404),
    "proxy sign-in page": _page(407),
    "too large page": _page(413),
    "legal reasons page": _page(451),
    "redirect": OddAnswer(b"", 302, "text/html", {"location": "https://sso.test/login?next=c4nary"}),
    "no content": OddAnswer(b"", 204),
    "empty": OddAnswer(b""),
    "broken": OddAnswer(b'{"data": {"%s": {"id": '),
    "two documents": OddAnswer(b"{}{}"),
    "not utf-8": OddAnswer(b'{"data": {"%s": "\xff\xfe"}}'),
    "utf-16": OddAnswer('{"data": {}}'.encode("utf-16")),
    "lone surrogate": OddAnswer(b'{"data": {"%s": {"id": "\\ud800"}}}'),
    "not gzipped": OddAnswer(b'{"data": {}}', headers={"content-encoding": "gzip"}),
    "gzip cut short": OddAnswer(gzip.compress(b'{"data": {}}' * 99)[:20], headers={"content-encoding": "gzip"}),
    "too deep": OddAnswer(b"[" * 100_000),
    "list": OddAnswer(b"[]"),
    "null": OddAnswer(b"null"),
    "text": OddAnswer(b'"ok"'),
    "number": OddAnswer(b"1e999"),
    "object": OddAnswer(b"{}"),
    "other json": OddAnswer(b'{"status": "ok", "message": "c4nary"}'),
    "data null": OddAnswer(b'{"data": null}'),
    "data list": OddAnswer(b'{"data": [{"%s": {}}]}'),
    "data text": OddAnswer(b'{"data": "%s"}'),
    "data empty": OddAnswer(b'{"data": {}}'),
    "data twice": OddAnswer(b'{"data": {"%s": {"id": "c4nary"}}, "data": null}'),
    "field null": OddAnswer(b'{"data": {"%s": null}}'),
    "field object": OddAnswer(b'{"data": {"%s": {}}}'),
    "field of wrong types": OddAnswer(
        b'{"data": {"%s": {"id": 5, "tokens": [], "loginToken": "c4nary", "workspace": null, "success": "yes",'
        b' "activationStatus": 1, "email": {}, "errors": "none", "availableWorkspaces": 7}}}'
    ),
    "field list of wrong types": OddAnswer(b'{"data": {"%s": [null, 1, {"id": [], "label": 5}]}}'),
    "errors text": OddAnswer(b'{"errors": "c4nary failed"}'),
    "errors object": OddAnswer(b'{"errors": {"message": "c4nary failed"}}'),
    "errors of null": OddAnswer(b'{"errors": [null]}'),
    "errors without message": OddAnswer(b'{"errors": [{}]}'),
    "errors of numbers": OddAnswer(b'{"errors": [{"message": 5}]}'),
    "errors of another": OddAnswer(b'{"errors": [{"message": "Forbidden"}]}', 403),
}
"""By name. `c4nary` stands in them where no one may show what an answer said."""
