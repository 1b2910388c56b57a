"""The webhook of alerts, over real HTTP: what arrives, and that its URL is never shown."""

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from provisioning_pipeline.clients.webhook import NotPosted, post
from provisioning_pipeline_tests.answering import answering

SECRET = "canary-of-the-url"


class Receiver(ThreadingHTTPServer):
    """Answers every POST with `status`, and keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}?token={SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.headers.append(dict(self.headers))
        self.server.received.append(json.loads(body))
        self.send_response(self.server.status)
        if 300 <= self.server.status < 400:
            self.send_header("Location", self.server.url)
        self.end_headers()
        self.wfile.write(SECRET.encode())

    def do_GET(self) -> None:
        self.server.received.append({"text": "a redirect was followed"})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A webhook on this machine."""
    with answering(Receiver()) as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def refused(url: str) -> NotPosted:
    with pytest.raises(NotPosted) as found:
        post(SecretStr(url), {"text": "hello"}, timeout_seconds=5)
    return found.value


def test_the_message_arrives_once_as_json(receiver: Receiver) -> None:
    post(SecretStr(receiver.url), {"text": "grüße <b>"}, timeout_seconds=5)

    assert receiver.received == [{"text": "grüße <b>"}]
    assert receiver.headers[0]["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("status", [302, 307, 400, 404, 429, 500])
def test_any_answer_but_a_yes_is_told_by_its_number(receiver: Receiver, status: int) -> None:
    receiver.status = status

    assert str(refused(receiver.url)) == f"the webhook answered HTTP {status}"
    assert receiver.received == [{"text": "hello"}]


def test_no_answer_is_told_by_its_kind() -> None:
    with receiving() as gone:
        url = gone.url

    assert "cannot be reached: ConnectionRefusedError" in str(refused(url))
    assert "cannot be reached" in str(refused(f"http://127.0.0.1:9/{SECRET} with blank"))
    assert "cannot be reached" in str(refused(f"ftp://{SECRET}/x"))


def test_the_url_stands_in_no_error_no_trace_and_no_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    post(SecretStr(receiver.url), {"text": "hello"}, timeout_seconds=5)
    receiver.status = 500
    told = [caplog.text]
    for url in (receiver.url, f"http://127.0.0.1:9/{SECRET}", f"http://127.0.0.1:9/{SECRET} x\n", f"ftp://{SECRET}"):
        error = refused(url)
        assert error.__cause__ is None
        assert error.__context__ is None
        told += ["".join(traceback.format_exception(error)), repr(error)]

    assert not [text for text in told if SECRET in text]
