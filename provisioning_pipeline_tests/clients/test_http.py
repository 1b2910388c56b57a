"""How connections are made: through the environment's proxy, and only to servers that this machine trusts."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from provisioning_pipeline.clients.clerk.jwks import KeysAway, PublicKeys
from provisioning_pipeline.clients.dagster import DagsterAway, DagsterClient
from provisioning_pipeline.clients.http import certificates, seconds_to_wait
from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.clients.webhook import NotPosted, post
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline_tests.answering import answering

pytestmark = pytest.mark.anyio
CANARY = "c4nary-s3cret"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy and no certificates but what a test names."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    certificates.cache_clear()
    yield
    certificates.cache_clear()


class Server(ThreadingHTTPServer):
    """Answers every request alike, and keeps its request line and who it says it is."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str | None]] = []

    def handle_error(self, *_: Any) -> None:
        """A handshake that was refused is what a test wants."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_GET(self) -> None:
        self.server.seen.append((self.requestline, self.headers.get("Proxy-Authorization")))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_CONNECT(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with answering(server):
        yield server


async def fault_of(url: str) -> str:
    """What a call says that comes to nothing."""
    transport = Transport(
        url,
        system="The remote",
        unreachable=Reason.SERVER_UNREACHABLE,
        timeout_seconds=5,
        dry_run=False,
        counter=CallCounter(),
    )
    async with transport:
        with pytest.raises(Fault) as raised:
            await transport.send("POST", "/things", name="makeThing", effect=Effect.CREATE)
    assert not raised.value.effect_unknown
    return raised.value.message


# --- proxies --------------------------------------------------------------------------------------------------------


async def test_every_client_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    with serving() as proxy:
        proxy.status = 404
        monkeypatch.setenv("HTTP_PROXY", f"http://boss:{CANARY}@127.0.0.1:{proxy.server_port}")
        transport = Transport(
            "http://twenty.invalid",
            system="Twenty",
            unreachable=Reason.SERVER_UNREACHABLE,
            timeout_seconds=5,
            dry_run=True,
            counter=CallCounter(),
        )
        async with transport:
            assert (await transport.send("GET", "/a", name="read", effect=Effect.READ)).status_code == 404
        with pytest.raises(KeysAway):
            await PublicKeys("http://clerk.invalid/keys", stale_seconds=0).get("kid")
        async with DagsterClient("http://dagster.invalid/graphql") as dagster:
            with pytest.raises(DagsterAway, match="HTTP 404"):
                await dagster.launch("job", {}, {})
        with pytest.raises(NotPosted, match="HTTP 404"):
            post(SecretStr("http://hooks.invalid/x"), {}, timeout_seconds=5)
    assert [line.split()[1] for line, _ in proxy.seen] == [
        "http://twenty.invalid/a",
        "http://clerk.invalid/keys",
        "http://dagster.invalid/graphql",
        "http://hooks.invalid/x",
    ]
    assert all(authorization for _, authorization in proxy.seen)


async def test_a_proxy_that_refuses_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    with serving() as proxy:
        proxy.status = 407
        monkeypatch.setenv("https_proxy", f"http://boss:{CANARY}@127.0.0.1:{proxy.server_port}")
        told = await fault_of("https://twenty.invalid")
    assert "407" in told
    assert "through the proxy that https_proxy names" in told
    assert CANARY not in told


# --- certificates ---------------------------------------------------------------------------------------------------


class Authority:
    """A private certificate authority."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("Our own authority", self._key.public_key(), NOW + DAY, [], ca=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *names: x509.GeneralName, until: datetime = NOW + DAY) -> ssl.SSLContext:
        """A server with a certificate for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("server", key.public_key(), until, names, ca=False)
        file = self._folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        until: datetime,
        names: Any,
        *,
        ca: bool,
    ) -> x509.Certificate:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Our own authority")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 10 * DAY)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("how", ["file", "folder"])
async def test_a_private_authority_is_trusted_once_it_is_named(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path, how: str
) -> None:
    if how == "file":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    else:
        # as c_rehash names the files
        folder = tmp_path / "certs"
        folder.mkdir()
        (folder / f"{_subject_hash(authority)}.0").symlink_to(authority.file)
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    with serving(authority.context(LOOPBACK)) as server:
        url = f"https://127.0.0.1:{server.server_port}"
        transport = Transport(
            url,
            system="The remote",
            unreachable=Reason.SERVER_UNREACHABLE,
            timeout_seconds=5,
            dry_run=True,
            counter=CallCounter(),
        )
        async with transport:
            assert (await transport.send("GET", "/a", name="read", effect=Effect.READ)).status_code == 200
        post(SecretStr(f"{url}/hook"), {}, timeout_seconds=5)
    assert [line for line, _ in server.seen] == ["GET /a HTTP/1.1", "POST /hook HTTP/1.1"]


def _subject_hash(authority: Authority) -> str:
    import subprocess

    command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(authority.file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("names", "until", "trusted", "words"),
    [
        ([LOOPBACK], NOW + DAY, False, "comes from no authority that this machine trusts"),
        ([LOOPBACK], NOW - DAY, True, "its certificate has expired"),
        ([x509.DNSName("elsewhere.test")], NOW + DAY, True, "is for another address: correct the URL"),
    ],
)
async def test_a_certificate_that_is_not_trusted_is_told_with_its_cause(
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    names: list[x509.GeneralName],
    until: datetime,
    trusted: bool,
    words: str,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(authority.context(*names, until=until)) as server:
        url = f"https://127.0.0.1:{server.server_port}"
        assert words in await fault_of(url)
        with pytest.raises(KeysAway):
            await PublicKeys(f"{url}/keys", stale_seconds=0).get("kid")
        assert words in caplog.text
        async with DagsterClient(f"{url}/graphql") as dagster:
            with pytest.raises(DagsterAway, match=words):
                await dagster.launch("job", {}, {})
        with pytest.raises(NotPosted, match=words):
            post(SecretStr(f"{url}/{CANARY}"), {}, timeout_seconds=5)
    assert server.seen == []


async def test_a_server_without_tls_is_told_from_one_that_is_away(waits: list[float]) -> None:
    with serving() as server:
        assert "it does not speak TLS" in await fault_of(f"https://127.0.0.1:{server.server_port}")


def test_a_machine_without_a_store_trusts_mozillas_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing = ssl.DefaultVerifyPaths(None, str(tmp_path), "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert certificates().cert_store_stats()["x509_ca"] > 50


# --- when to come again ---------------------------------------------------------------------------------------------

DATE = "Sun, 29 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("Sun, 29 Nov 2026 12:00:07 GMT", 7.0),
        ("Sunday, 29-Nov-26 12:00:07 GMT", 7.0),
        ("Sun, 29 Nov 2026 14:00:07 +0200", 7.0),
        ("Sun, 29 Nov 2026 12:00:07 -0000", 7.0),
        ("Sun, 29 Nov 2026 11:59:00 GMT", 0.0),
        ("-5", 0.0),
        ("3.5", 3.5),
        ("nan", None),
        ("soon", None),
        ("Sun, 99 Nov 2026 12:00:07 GMT", None),
        ("", None),
        ("Wed, 01 Jan 2098 00:00:00 GMT", 2243419200.0),
    ],
)
def test_a_date_to_come_again_counts_from_the_answers_own(asked: str, waited: float | None) -> None:
    assert seconds_to_wait(httpx2.Response(429, headers={"retry-after": asked, "date": DATE})) == waited


def test_a_date_to_come_again_counts_from_our_clock_where_the_answer_has_none() -> None:
    assert seconds_to_wait(httpx2.Response(503, headers={"retry-after": "Sun, 29 Nov 2020 12:00:07 GMT"})) == 0
    assert (seconds_to_wait(httpx2.Response(503, headers={"retry-after": "Wed, 01 Jan 2098 00:00:00 GMT"})) or 0) > 1e8
