"""What can be said of the samples for gateways that are not run here."""

import re
from typing import Any

import pytest
import yaml

from provisioning_pipeline_tests.gateway.nginx import SAMPLE

FOLDER = SAMPLE.parent
IDENTITY = ["X-Tenant", "X-Twenty-Workspace-Id", "X-Twenty-User-Id", "X-Twenty-Role"]


@pytest.fixture(scope="module")
def traefik() -> Any:
    return yaml.safe_load((FOLDER / "traefik.yml").read_text("utf-8"))["http"]


def test_traefik_protects_every_router(traefik: Any) -> None:
    for router in traefik["routers"].values():
        (name,) = router["middlewares"]
        verify = traefik["middlewares"][name]["forwardAuth"]
        assert verify["address"].startswith("http://127.0.0.1:8000/v1/auth/verify")
        assert verify["authResponseHeaders"] == IDENTITY
        assert verify["authRequestHeaders"] == ["Authorization", "Cookie", "Origin", "Sec-WebSocket-Version"]
        assert verify["trustForwardHeader"] is False
        assert router["service"] in traefik["services"]


def test_traefik_asks_for_the_tenant_of_a_host_name(traefik: Any) -> None:
    for router in traefik["routers"].values():
        (host,) = re.findall(r"^Host\(`([a-z0-9.-]+)`\)$", router["rule"])
        tenant = host.removesuffix("app.example.com").removesuffix(".")
        asked = traefik["middlewares"][router["middlewares"][0]]["forwardAuth"]["address"].partition("?")[2]
        assert asked == (f"tenant={tenant}" if tenant else "")


def test_caddy_strips_before_it_asks_and_asks_before_it_serves() -> None:
    text = (FOLDER / "Caddyfile").read_text("utf-8")
    assert f"copy_headers {' '.join(IDENTITY)}\n" in text
    assert all(f"request_header -{name}\n" in text for name in IDENTITY)
    route = text[text.index("\troute {\n") :]
    assert route.index("import no_forged_identity") < route.index("forward_auth")
    asked = re.findall(r"forward_auth 127\.0\.0\.1:8000 \{.*?\}\s+import application", route, re.DOTALL)
    assert len(asked) == route.count("import application") == 2
    # without a question mark the client's own query would go along
    assert all("?" in uri for uri in re.findall(r"uri (\S+)", route))


def test_the_readme_leads_to_each_sample() -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+)\)", (FOLDER / "README.md").read_text("utf-8")))
    assert {path.name for path in FOLDER.iterdir()} - {"README.md"} <= linked
    assert all((FOLDER / target).is_file() for target in linked)


@pytest.mark.parametrize("name", ["README.md", "nginx.conf", "traefik.yml", "Caddyfile"])
def test_no_line_is_too_long_or_about_one_machine(name: str) -> None:
    lines = (FOLDER / name).read_text("utf-8").splitlines()
    assert [line for line in lines if re.search(r"(?<!var)/(?:tmp|root|home|work|Users)/", line)] == []
    prose = [line for line in lines if not line.lstrip().startswith(("|", "return "))]
    assert [line for line in prose if len(line) > 120] == []
