"""`GET /metrics`: figures that a monitor can parse, of requests and of the fleet."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.twenty.contract import KNOWN
from provisioning_pipeline.http import metrics as figures
from provisioning_pipeline.model.contract import Certificate, Contract
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.http.services import PROBLEM, Tenants, caller, key_of, serving, tenants_in

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_READ_EVERY_SECONDS", 0.0)


@pytest.fixture
def tenants(sandbox_postgres: SandboxPostgres) -> Iterator[Tenants]:
    with tenants_in(sandbox_postgres) as made:
        yield made


@pytest.fixture
def settings(tenants: Tenants) -> Settings:
    return tenants.settings()


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serving(settings) as running:
        yield running


def read(url: str, **headers: str) -> httpx2.Response:
    with caller(url) as http:
        return http.get("/metrics", headers=headers)


def samples(answer: httpx2.Response) -> Samples:
    """Every sample of an answer, once."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def test_the_fleet_as_the_ledger_has_it(url: str, tenants: Tenants) -> None:
    ready, unwell, aside = (tenants.add(slug) for slug in ("ready", "unwell", "aside"))
    tenants.looked(str(uuid.uuid4()), ready)
    tenants.looked(str(uuid.uuid4()), unwell, ready=False, reason="ServerFull")
    tenants.looked(str(uuid.uuid4()), aside, ready=False, reason="TenantSuspended")
    tenants.sql(
        "INSERT INTO provisioning.run (run_id, trigger, record)"
        " VALUES ('planned', 'tenant-manager', '{}'), ('a sign-in', 'session', NULL)"
    )
    tenants.sql("UPDATE provisioning.tenant_link SET marked_at = to_timestamp(1e9) WHERE database_name = %s", unwell)
    tenants.sql("UPDATE provisioning.condition SET since = to_timestamp(2e9) WHERE reason = 'ServerFull'")
    tenants.looked("longer", tenants.add("longer"), ready=False)
    tenants.sql("UPDATE provisioning.condition SET since = to_timestamp(1e9) WHERE run_id = 'longer'")
    tenants.sql(
        """UPDATE provisioning.run SET record = record || '{"waiting": {"name": "plan-x", "people": 5}}',"""
        " begun_at = to_timestamp(3e9) WHERE run_id = 'longer'"
    )
    tenants.sql(
        "UPDATE provisioning.tenant_link SET created_at = now() - interval '40 seconds' WHERE database_name = %s", ready
    )
    tenants.sql(
        "INSERT INTO provisioning.condition_change (database_name, type, status, reason, message, run_id)"
        " VALUES (%s, 'Ready', 'True', 'AllTrue', '', 'r')",
        ready,
    )

    found = samples(read(url))

    assert value(found, "provisioning_ledger_up") == 1
    for state, count in (("ready", 1), ("unwell", 2), ("aside", 1)):
        assert value(found, "provisioning_tenants", state=state) == count
    assert value(found, "provisioning_tenants_marked") == 1
    assert value(found, "provisioning_conditions", type="Ready", status="False", reason="ServerFull") == 2
    assert value(found, "provisioning_conditions", type="Ready", status="True", reason="AllTrue") == 1
    # one for each reason, and none for what is excluded
    longest = {labels: at for (name, labels), at in found.items() if name.startswith("provisioning_not_ready_since")}
    assert longest == {(("reason", "ServerFull"), ("tenant", "longer")): 1e9}
    assert value(found, "provisioning_review_pending_since_timestamp_seconds") == 1e9
    assert value(found, "provisioning_harm_waiting_people") == 5
    assert value(found, "provisioning_runs", trigger="sensor", state="finished") == 4
    assert value(found, "provisioning_run_actions", trigger="sensor") == 12
    assert value(found, "provisioning_run_begun_timestamp_seconds", trigger="sensor") == 3e9
    assert value(found, "provisioning_runs", trigger="tenant-manager", state="open") == 1
    assert value(found, "provisioning_runs", trigger="session", state="open") is None
    assert value(found, "provisioning_clerk_calls_last_run") == 7
    assert (value(found, "provisioning_last_run_timestamp_seconds") or 0) > 1_700_000_000
    assert value(found, "provisioning_tenant_ready_seconds_bucket", le="30") == 0
    assert value(found, "provisioning_tenant_ready_seconds_bucket", le="60") == 1
    assert value(found, "provisioning_tenant_ready_seconds_bucket", le="+Inf") == 1
    assert value(found, "provisioning_tenant_ready_seconds_count") == 1
    assert 40 <= (value(found, "provisioning_tenant_ready_seconds_sum") or 0) < 60


def test_what_is_no_longer_so_is_no_longer_told(url: str, tenants: Tenants) -> None:
    name = tenants.add("acme")
    tenants.looked(str(uuid.uuid4()), name, ready=False, reason="ServerFull")
    before = samples(read(url))
    tenants.looked(str(uuid.uuid4()), name)

    after = samples(read(url))

    labels = {"type": "Ready", "status": "False", "reason": "ServerFull"}
    assert value(before, "provisioning_conditions", **labels) == 1
    assert value(after, "provisioning_conditions", **labels) is None


def test_an_empty_fleet_has_figures_too(url: str) -> None:
    found = samples(read(url))

    assert value(found, "provisioning_ledger_up") == 1
    assert value(found, "provisioning_tenants", state="ready") == 0
    assert value(found, "provisioning_tenant_ready_seconds_count") == 0
    assert value(found, "provisioning_review_pending_since_timestamp_seconds") == 0
    assert value(found, "provisioning_harm_waiting_people") == 0
    assert value(found, "provisioning_twenty_certified", server="twenty") == 0
    assert value(found, "provisioning_twenty_certified_timestamp_seconds", server="twenty") == 0


def test_a_certificate_holds_until_the_server_answers_otherwise(url: str, tenants: Tenants) -> None:
    contract = replace(KNOWN["2.33"], onboarding=None)
    certificate = Certificate(
        "twenty", "https://crm.test", "2.33.0", contract, datetime.now(UTC), 1.0, (), (), (), (), ()
    )

    def certify(of: Certificate, seconds: int) -> None:
        tenants.sql(
            "INSERT INTO provisioning.certificate (server, version, fingerprint, holds, report, certified_at)"
            " VALUES ('twenty', '2.33.0', %s, %s, %s, to_timestamp(%s))",
            *(contract.fingerprint, of.holds, Jsonb(of.as_json()), seconds),
        )

    def see(now: Contract) -> None:
        tenants.sql(
            "INSERT INTO provisioning.server_contract (server, fingerprint, contract) VALUES ('twenty', %s, %s)",
            *(now.fingerprint, Jsonb(now.as_json())),
        )

    def certified() -> tuple[float | None, float | None]:
        found = samples(read(url))
        at = value(found, "provisioning_twenty_certified_timestamp_seconds", server="twenty")
        return value(found, "provisioning_twenty_certified", server="twenty"), at

    certify(certificate, 1000)
    assert certified() == (1, 1000)
    # its steps could not be read the first time: nothing is otherwise
    see(KNOWN["2.33"])
    assert certified() == (1, 1000)
    see(replace(contract, operations=frozenset({"something else"})))
    assert certified() == (0, 1000)


def test_what_clerk_allows(tenants: Tenants) -> None:
    settings = tenants.settings(clerk_requests_per_10_seconds=200, clerk_share=0.5, clerk_look_share=0.1)
    with serving(settings) as url:
        found = samples(read(url))

    assert value(found, "provisioning_clerk_calls_allowed", use="runs") == 100
    assert value(found, "provisioning_clerk_calls_allowed", use="sessions") == 20
    for use in ("runs", "sessions", "sign-ins"):
        assert value(found, "provisioning_clerk_budget_used_ratio", use=use) == 0, "no call was sent"


def test_requests_are_counted_by_route_and_not_by_path(url: str, settings: Settings, tenants: Tenants) -> None:
    tenants.add("acme", ready=True)
    with caller(url, key_of(settings)) as http:
        for path in ("/v1/tenants/acme", "/v1/tenants/acme", "/v1/tenants/nobody", "/wp-login.php", "/%00/secret"):
            http.get(path)
        http.request("BREW", "/v1/tenants")
        http.get("/v1/session")

    found = samples(read(url))

    total, route = "provisioning_http_requests_total", "/v1/tenants/{slug}"
    assert value(found, total, method="GET", route=route, status="200") == 2
    assert value(found, total, method="GET", route=route, status="404") == 1
    assert value(found, total, method="GET", route="(no route)", status="404") == 2
    assert value(found, "provisioning_http_request_seconds_count", method="GET", route=route) == 3
    assert value(found, "provisioning_http_request_seconds_bucket", method="GET", route=route, le="+Inf") == 3
    methods = {dict(labels).get("method") for name, labels in found if name == total}
    assert methods <= {"GET", "OTHER"}
    assert "acme" not in read(url).text
    assert "secret" not in read(url).text


def test_without_the_ledger_it_says_so_and_what_it_last_knew(url: str, tenants: Tenants) -> None:
    tenants.add("acme", ready=True)
    samples(read(url))
    tenants.shut()

    found = samples(read(url))

    assert value(found, "provisioning_ledger_up") == 0
    assert value(found, "provisioning_tenants", state="ready") == 1
    tenants.open()
    assert value(samples(read(url)), "provisioning_ledger_up") == 1


@pytest.mark.slow
def test_it_starts_without_the_ledger(tenants: Tenants, settings: Settings) -> None:
    tenants.shut()
    with serving(settings) as url:
        assert value(samples(read(url)), "provisioning_ledger_up") == 0
        tenants.open()
        assert value(samples(read(url)), "provisioning_ledger_up") == 1


def test_who_may_read_it(tenants: Tenants) -> None:
    settings = tenants.settings(report_password="open wide, sesame")
    key = key_of(settings)
    with serving(settings) as url:
        assert read(url, Authorization=f"Bearer {key}").status_code == 200
        assert read(url, Authorization="Basic bW9uaXRvcjpvcGVuIHdpZGUsIHNlc2FtZQ==").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic bW9uaXRvcjp3cm9uZw=="}):
            answer = read(url, **headers)
            assert answer.status_code == 401
            assert answer.headers["content-type"] == PROBLEM
            assert "provisioning_" not in answer.text


def test_without_a_password_it_is_for_this_machine(url: str, settings: Settings) -> None:
    assert read(url).status_code == 200
    for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Host": "evil.example"}):
        answer = read(url, **headers)
        assert answer.status_code == 403
        assert "provisioning_" not in answer.text
    with_key = {"Authorization": f"Bearer {key_of(settings)}", "X-Forwarded-For": "192.0.2.1"}
    assert read(url, **with_key).status_code == 200
