"""Who counts as being on this machine: only a well-formed `Host` of its own, however a request is bent."""

import asyncio
import socket
from collections.abc import Iterator
from functools import cache
from secrets import token_hex

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from provisioning_pipeline.http.access import reader
from provisioning_pipeline.http.problems import Problem
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.http.api import Api, api_to
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

NAMES = ("localhost", "LocalHost", "127.0.0.1", "127.255.255.254", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]")
PORTS = ("", ":1", ":80", ":8000", ":65535")
OURS = frozenset(f"{name}{port}" for name in NAMES for port in PORTS)
NOT_OURS = (
    *("", "[::1", "::1", "[::1]]", "[::1].evil.com", "[::1]evil.com", "[::1]:80.evil.com", "[::1%lo]", "[127.0.0.1]"),
    *("127.0.0.1:1@evil.com", "localhost@evil.com", "evil.com@localhost", "localhost.evil.com", "evil.com#localhost"),
    *("127.1", "127.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.", "localhost.", "0.0.0.0"),
    *(
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:99999999999999999999",
        "localhost:80a",
        "localhost:-1",
    ),
    *(
        "localhost:80:80",
        "localhost: 80",
        "localhost :80",
        "localhost:\u0668\u0660",
        "localhost/",
        "localhost, evil.com",
    ),
    *("http://localhost", "[fe80::1]", "[::ffff:10.0.0.1]", "10.0.0.1", "local\u017fhost", "*", "localhost\x00"),
)


@cache
def without_password() -> Settings:
    return Settings(
        registry_url="postgresql://u@db/registry",
        tenant_cluster_url="postgresql://u@db/postgres",
        twenty_base_url="https://crm.example.com",
        twenty_database_url="postgresql://u@db/twenty",
        twenty_service_email="provisioner@example.com",
        twenty_service_password="secret secret",
        clerk_secret_key="sk_test_secret",
        member_password_key=token_hex(32),
        _env_file=None,
    )


def is_here(*hosts: str) -> bool:
    """Whether a request of this machine with these `Host`s may read reports."""
    headers = [(b"host", host.encode("latin-1", "replace")) for host in hosts]
    request = Request({"type": "http", "client": ("127.0.0.1", 50000), "headers": headers})
    try:
        asyncio.run(reader(without_password())(request))
    except Problem as problem:
        return problem.status != 403
    return True


def test_this_machine_by_each_of_its_names() -> None:
    assert [host for host in OURS if not is_here(host)] == []


@pytest.mark.parametrize("host", NOT_OURS)
def test_a_host_that_only_looks_like_this_machine(host: str) -> None:
    assert not is_here(host)


PARTS = st.sampled_from(
    [
        *NAMES,
        *PORTS,
        "[",
        "]",
        "@",
        ".",
        ":",
        "%",
        "#",
        "/",
        "?",
        "\\",
        " ",
        ",",
        "evil.com",
        "evil.com:1",
        "127",
        "::1",
    ]
)


@given(st.lists(PARTS | st.text("[]@.:%1270localhst", max_size=9), max_size=4).map("".join) | st.text(max_size=20))
@example("localhost:08000")
def test_nothing_but_one_of_our_names_and_a_port_is_this_machine(host: str) -> None:
    """Held against a second reading of the same rule, which takes addresses apart by hand."""
    assert is_here(host) == of_this_machine(host)


def of_this_machine(host: str) -> bool:
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name, port = host, "1"
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65_536):
        return False
    if name.lower() == "localhost":
        return name.isascii()
    try:
        if name.startswith("[") and name.endswith("]") and not set(name) - set("[]:.0123456789abcdefABCDEF"):
            packed = socket.inet_pton(socket.AF_INET6, name[1:-1])
            return packed == b"\0" * 15 + b"\1" or packed[:13] == b"\0" * 10 + b"\xff\xff\x7f"
        return socket.inet_pton(socket.AF_INET, name)[0] == 127
    except (OSError, ValueError):
        return False


def test_two_hosts_are_none() -> None:
    assert not is_here()
    assert not is_here("localhost", "localhost")
    assert not is_here("localhost", "evil.com")


# --- over the wire ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        made.link("acme")
        yield made


@pytest.fixture(scope="module")
def api(fleet: Fleet) -> Iterator[Api]:
    with api_to(fleet.settings()) as made:
        yield made


@pytest.fixture(scope="module")
def locked(fleet: Fleet) -> Iterator[Api]:
    with api_to(fleet.settings(report_password="open sesame twice")) as made:
        yield made


def status(api: Api, head: str) -> int:
    """The status of the answer to this head, sent as it is."""
    address = httpx2.URL(api.url)
    with socket.create_connection((address.host, address.port or 0), timeout=20) as plain:
        plain.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        return int(plain.makefile("rb").readline().split()[1])


def test_bent_requests_show_nothing(api: Api) -> None:
    assert status(api, "GET /tenants/acme HTTP/1.1\nHost: localhost") == 200
    for head in (
        "GET /tenants/acme HTTP/1.1\nHost: localhost\nHost: evil.com",
        "GET /tenants/acme HTTP/1.1\nHost: evil.com\nHost: localhost",
        # its Host counts, whatever the target says: no page can have a browser send this
        "GET http://localhost/tenants/acme HTTP/1.1\nHost: evil.com",
        "GET //evil.com/tenants/acme HTTP/1.1\nHost: localhost",
        "GET /tenants/acme HTTP/1.1\nHost: [::1].evil.com",
        "GET /tenants/acme HTTP/1.1\nHost: 127.0.0.1:1@evil.com",
        "GET /tenants/acme HTTP/1.1\nHost : localhost",
        "GET /tenants/acme HTTP/1.1\n Host: localhost",
        "GET /tenants/acme HTTP/1.0",
    ):
        assert status(api, head) in (400, 403, 404), head


BASIC = "Authorization: Basic eDpvcGVuIHNlc2FtZSB0d2ljZQ=="


def test_two_passwords_are_none(locked: Api) -> None:
    for path in ("/tenants/acme", "/v1/tenants/acme/timeline", "/metrics"):
        line = f"GET {path} HTTP/1.1\nHost: localhost"
        assert status(locked, f"{line}\n{BASIC}") == 200
        for more in (BASIC, "Authorization: Bearer x", "Authorization:", "authorization: Basic eDp4"):
            assert status(locked, f"{line}\n{BASIC}\n{more}") == 401, (path, more)
            assert status(locked, f"{line}\n{more}\n{BASIC}") == 401, (path, more)
        for joined in (f"{BASIC}, {BASIC[15:]}", f"{BASIC}, Bearer x", f"Authorization: Bearer x, {BASIC[15:]}"):
            assert status(locked, f"{line}\n{joined}") == 401, (path, joined)
