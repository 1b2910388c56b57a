"""Whatever a tenant is called: its addresses lead to it, and no header or address holds a raw text."""

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioning_pipeline_tests.http.services import Service

SLUGS = [
    "日本語",
    "naïve",
    "mañana corp",
    "Acme Ltd",
    "a/b",
    "/",
    "..",
    ".",
    "a%2Fb",
    "100%",
    "a\\b",
    "a?b#c",
    "a;b=c&d",
    "'quoted' \"twice\"",
    "<b>bold</b>",
    "tab\tnew\nline\r",
    "bell\x07",
    "\N{GRINNING FACE}" * 15,
    "שלום\u202eabc",
    "-leading",
    "--help",
    " spaces ",
    "x" * 63,
    "x" * 300,
    "e\u0301\u200d",
    "reconcile",
    "a/timeline",
    "\ud7ff\ue000",
]
DATABASES = [
    "twenty_tenant_日本",
    "twenty_tenant_a/b",
    "twenty_tenant_a b%2Fc",
    "twenty_tenant_a\nb",
    "twenty_tenant_é?#",
]


def must_be_reached(service: Service, slug: str, name: str) -> None:
    found = service.http.get("/v1/tenants", params={"limit": 200}).json()["items"]
    (listed,) = [item for item in found if item["database_name"] == name]
    assert listed["slug"] == slug
    address = listed["status_url"]
    assert address.isascii()
    assert address.isprintable()
    path = address.removeprefix(str(service.http.base_url).rstrip("/"))
    answers = {
        "GET": service.http.get(path),
        "PUT": service.http.put(path),
        "reconcile": service.http.post(f"{path}/reconcile"),
        "timeline": service.http.get(f"{path}/timeline"),
        "page": service.http.get(path.removeprefix("/v1")),
    }
    for call, answer in answers.items():
        assert answer.status_code in (200, 202), (call, slug, name, answer.text[:300])
        assert all(value.isascii() for _, value in answer.headers.multi_items())
    for call in ("GET", "PUT", "reconcile"):
        document = answers[call].json()
        assert (document["database_name"], document["status_url"]) == (name, address)
    location = answers["reconcile"].headers["location"]
    assert location == address
    assert service.http.get(location).json()["database_name"] == name


@pytest.mark.parametrize(
    "slugs", [SLUGS[:1] + SLUGS[4:6] + SLUGS[15:16], pytest.param(SLUGS, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_a_tenant_is_reached_whatever_its_slug(service: Service, slugs: list[str]) -> None:
    for number, slug in enumerate(slugs):
        service.tenants.add(slug, database_name=f"twenty_tenant_{number}", ready=True)
    for number, slug in enumerate(slugs):
        must_be_reached(service, slug, f"twenty_tenant_{number}")


@pytest.mark.parametrize("names", [DATABASES[1:2], pytest.param(DATABASES, marks=pytest.mark.slow)], ids=["few", "all"])
def test_a_tenant_is_reached_whatever_its_database_is_called(service: Service, names: list[str]) -> None:
    for number, name in enumerate(names):
        slug = ("acme", "..", "a/b")[number % 3]
        service.tenants.add(slug, database_name=name, ready=True)
        must_be_reached(service, slug, name)
        service.tenants.sql("DELETE FROM tenant_registry")


def test_a_slug_that_is_anothers_leads_to_neither(service: Service) -> None:
    service.tenants.add("twin", database_name="twenty_tenant_twin_1", ready=True)
    service.tenants.add("twin-2", database_name="twenty_tenant_twin_2", ready=True)
    service.tenants.add("twenty_tenant_twin_1", database_name="twenty_tenant_twin_3", ready=True)
    service.tenants.sql("UPDATE provisioning.tenant_link SET slug = 'twin' WHERE slug = 'twin-2'")
    for slug, name in (
        ("twin", "twenty_tenant_twin_1"),
        ("twin", "twenty_tenant_twin_2"),
        ("twenty_tenant_twin_1", "twenty_tenant_twin_3"),
    ):
        found = service.http.get(f"/v1/tenants/{name}").json()
        assert found["slug"] == slug
        assert service.http.get(found["status_url"]).json()["database_name"] == name


def test_an_odd_slug_may_be_said_together_with_its_database(service: Service) -> None:
    service.tenants.add("日本語", database_name="twenty_tenant_x", ready=True)
    answer = service.http.put("/v1/tenants/日本語", json={"database_name": "twenty_tenant_x", "name": "日本"})
    assert answer.status_code in (200, 202), answer.text
    assert service.tenants.row("twenty_tenant_x")["name"] == "日本"
    other = service.http.put("/v1/tenants/日本語", json={"database_name": "twenty_tenant_y"})
    assert other.status_code == 422


@pytest.mark.slow
@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=70),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12),
)
def test_any_name_is_reached(service: Service, slug: str, more: str) -> None:
    name = f"twenty_tenant_{uuid.uuid4().hex[:8]}{more}"
    while len(name.encode()) > 63:
        name = name[:-1]
    service.tenants.sql("DELETE FROM tenant_registry")
    service.tenants.sql("DELETE FROM provisioning.tenant_link")
    service.tenants.add(slug, database_name=name, ready=True)
    must_be_reached(service, slug, name)
