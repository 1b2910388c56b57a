"""`provisioning serve` as a program."""

import re
import signal
import socket
from pathlib import Path

import httpx2
import pytest

from provisioning_pipeline_tests.http.fleet import Fleet, organization_event, signed
from provisioning_pipeline_tests.http.programs import program


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_takes_events_until_it_is_told_to_end(fleet: Fleet, tmp_path: Path, number: signal.Signals) -> None:
    running = program("--port", "0", environment=fleet.environment(), folder=tmp_path)
    try:
        assert running.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", running.stdout.readline())
        assert found
        raw, headers = signed(organization_event("updated", "org_1"))
        answer = httpx2.post(f"{found[0]}/webhooks/clerk", content=raw, headers=headers, timeout=20)
        running.send_signal(number)
        _, told = running.communicate(timeout=30)
    finally:
        running.kill()

    assert answer.status_code == 204
    assert "server" not in answer.headers
    assert running.returncode == 0, told
    assert "Traceback" not in told
    assert "organization.updated requested a review of 1 tenants" in told
    assert fleet.marked() == ["acme"]


@pytest.mark.slow
def test_bent_requests_show_nothing(fleet: Fleet, tmp_path: Path) -> None:
    issuers = {"PROVISIONING_CLERK_ISSUERS": '["https://clerk.example.com"]'}
    running = program("--port", "0", environment=fleet.environment() | issuers, folder=tmp_path)
    heads = {
        "GET /tenants/acme HTTP/1.1\r\nHost: localhost": 200,
        "GET http://evil.com/tenants/acme HTTP/1.1\r\nHost: localhost": 404,
        "GET http://localhost/tenants/acme HTTP/1.1\r\nHost: evil.com": 404,
        "GET /tenants/acme HTTP/1.1\r\nHost: localhost\r\nHost: evil.com": 400,
        "GET /tenants/acme HTTP/1.1\r\nHost: [::1].evil.com": 403,
        "GET /tenants/acme HTTP/1.1\r\nHost : localhost": 400,
        "GET /tenants/acme HTTP/1.1": 400,
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked": 400,
        # a gateway may ask about a websocket with all of its headers; it is no websocket here
        "GET /v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==": 401,
    }
    try:
        assert running.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", running.stdout.readline())
        assert found
        assert {head: status(int(found[1]), head) for head in heads} == heads
    finally:
        running.kill()
        running.communicate(timeout=30)


def status(port: int, head: str) -> int:
    """The status of the answer to this head, sent as it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(head.encode() + b"\r\n\r\n")
        return int(plain.makefile("rb").readline().split()[1])


@pytest.mark.slow
def test_a_request_whose_end_is_told_in_two_ways_is_its_connections_last(fleet: Fleet, tmp_path: Path) -> None:
    """Else what a proxy took for its body would be answered as a request of its own."""
    running = program("--port", "0", environment=fleet.environment(), folder=tmp_path)
    head = "Host: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked"
    try:
        assert running.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", running.stdout.readline())
        assert found
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=20) as plain:
            plain.sendall(f"POST /webhooks/clerk HTTP/1.1\r\n{head}\r\n\r\n0\r\n\r\n".encode())
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answers = plain.makefile("rb").read()
    finally:
        running.kill()
        running.communicate(timeout=30)

    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 400 ")


@pytest.mark.slow
def test_missing_settings_are_told_as_everywhere(tmp_path: Path) -> None:
    running = program(environment={}, folder=tmp_path)
    _, told = running.communicate(timeout=60)

    assert running.returncode == 2
    assert "PROVISIONING_REGISTRY_URL: is missing" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_sentence(fleet: Fleet, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = program("--port", str(port), environment=fleet.environment(), folder=tmp_path)
        _, told = running.communicate(timeout=60)

    assert running.returncode == 2
    assert told.strip() == f"Cannot listen on 127.0.0.1, port {port}: Address already in use."
