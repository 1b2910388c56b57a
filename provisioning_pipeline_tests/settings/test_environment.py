"""Proxies and certificates that the environment names: they work, or the variable is named before anything is sent."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.settings import PREFIX, proxy_for
from provisioning_pipeline_tests.settings.complete import CANARY, COMPLETE, faults_of

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *(variable.lower() for variable in VARIABLES)):
        monkeypatch.delenv(name, raising=False)


PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("no_proxy", "direct", "through"),
    [
        ("", [], ["a.test", "10.0.0.1"]),
        ("*", ["a.test", "10.0.0.1", "[::1]"], []),
        ("a.test, .b.test", ["a.test", "x.a.test", "b.test", "x.b.test", "A.TEST"], ["xa.test", "test"]),
        ("*.b.test;c.test.", ["x.b.test", "c.test", "c.test."], ["c.test.evil"]),
        ("[::1]", ["[::1]", "[0:0::1]"], ["[::2]", "localhost"]),
        ("::1,10.0.0.1", ["[::1]", "10.0.0.1"], ["10.0.0.10"]),
        ("[fd00::1]:8080", [], ["[fd00::1]", "[fd00::2]:8080"]),
        (
            "fd00::/8,[fe80::]/10,10.0.0.0/8,192.168.1.5/24",
            ["[fd12::1]", "[fe80::1]", "10.9.9.9", "192.168.1.9"],
            ["11.0.0.1"],
        ),
        ("a.test:8443", ["a.test:8443"], ["a.test", "a.test:80"]),
        ("a.test:443,http://b.test", ["a.test", "b.test"], ["a.test:8443"]),
        ("[::1, ]:,10.0.0.0/99,/, ,[fd00::/8]", ["[fd00::1]"], ["[::1]", "10.0.0.1", "a.test"]),
    ],
)
def test_no_proxy_is_read_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, load: Any, no_proxy: str, direct: list[str], through: list[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    load()
    for host in direct:
        assert proxy_for(f"https://{host}/v1") is None, host
    for host in through:
        proxy = proxy_for(f"https://{host}/v1")
        assert proxy is not None, host
        assert (proxy.variable, proxy.url) == ("HTTPS_PROXY", PROXY)


@pytest.mark.parametrize(
    ("variables", "url", "found"),
    [
        ({"HTTP_PROXY": "proxy"}, "http://a.test", ("HTTP_PROXY", "http://proxy")),
        ({"http_proxy": "one:1", "HTTP_PROXY": "two:2"}, "http://a.test", ("http_proxy", "http://one:1")),
        ({"http_proxy": "", "HTTP_PROXY": "two:2"}, "http://a.test", None),
        ({"ALL_PROXY": "https://all:443\r\n"}, "https://a.test", ("ALL_PROXY", "https://all:443")),
        ({"HTTPS_PROXY": "http://u:p%40@one:1/"}, "https://a.test", ("HTTPS_PROXY", "http://u:p%40@one:1/")),
        ({"HTTP_PROXY": "one"}, "https://a.test", None),
        # nothing of ours goes that way
        (
            {"HTTP_PROXY": "one", "HTTPS_PROXY": "two", "ALL_PROXY": "socks://three"},
            "https://a.test",
            ("HTTPS_PROXY", "http://two"),
        ),
    ],
)
def test_the_proxy_is_the_one_that_other_programs_take(
    monkeypatch: pytest.MonkeyPatch, load: Any, variables: dict[str, str], url: str, found: tuple[str, str] | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    load()
    proxy = proxy_for(url)
    assert (proxy and (proxy.variable, proxy.url)) == found


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", f"socks://u:{CANARY}@127.0.0.1:1080/"),
        ("all_proxy", "socks5h://127.0.0.1:1080"),
        ("HTTPS_PROXY", f"http://u:{CANARY}@proxy:port"),
        ("https_proxy", "http://proxy:99999"),
        ("HTTP_PROXY", "http://[::1"),
        ("http_proxy", f"http://u:a/{CANARY}@proxy"),
        ("HTTP_PROXY", "ftp://proxy"),
        ("HTTP_PROXY", "http://"),
        ("HTTPS_PROXY", "a proxy"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_FILE", os.devnull),
        ("SSL_CERT_FILE", "/"),
        ("SSL_CERT_DIR", "/nowhere"),
        ("SSL_CERT_DIR", f"/{os.pathsep}{os.devnull}"),
        ("SSLKEYLOGFILE", "/nowhere/keys"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_by_every_command(
    monkeypatch: pytest.MonkeyPatch, load: Any, variable: str, value: str
) -> None:
    from provisioning_pipeline.cli.main import app

    monkeypatch.setenv(variable, value)
    (fault,) = faults_of(load)
    assert fault.startswith(f"{variable}: ")
    for command in ("plan", "serve"):
        result = CliRunner().invoke(app, [command], env={PREFIX + name: text for name, text in COMPLETE.items()})
        assert (result.exit_code, result.stdout) == (2, "")
        assert fault in result.stderr


def test_a_gateway_is_told_too(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    from provisioning_pipeline.gateway import SessionSettings, SettingsError

    load()
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080")
    with pytest.raises(SettingsError, match="ALL_PROXY: names a SOCKS proxy"):
        SessionSettings.from_environment()


def test_a_store_of_certificates_is_taken(monkeypatch: pytest.MonkeyPatch, load: Any, tmp_path: Path) -> None:
    import certifi

    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    load()
