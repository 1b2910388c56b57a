"""Reports and timelines over HTTP: what is shown, to whom, and what is said instead."""

import asyncio
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from upath import UPath

from provisioning_pipeline.http.access import reader
from provisioning_pipeline.http.problems import Problem
from provisioning_pipeline.ledger.schema import in_ledger
from provisioning_pipeline.report import page
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.views.report_files import latest
from provisioning_pipeline_tests.http.api import Api, api_to
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in
from provisioning_pipeline_tests.http.test_webhooks import problem

PASSWORD = "a long password: with a colon"
NOON = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"
PAGES = ("/reports/latest", "/reports/run-1", "/tenants/acme", "/v1/tenants/acme/timeline")


@pytest.fixture(scope="module")
def told(
    sandbox_postgres: SandboxPostgres, first_fleet: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A finished run, whose report is a file, and 5 events of acme besides that it was seen first."""
    with fleet_in(sandbox_postgres, first_fleet) as made:
        made.sql("UPDATE provisioning.tenant_link SET created_at = %s", NOON)
        for number in range(5):
            made.sql(
                "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds, at) "
                "VALUES ('run-1', 'acme', 'add member', 'failed', %s, 1, %s)",
                *(f"{number} {HOSTILE}", NOON),
            )
        yield made


@pytest.fixture(scope="module")
def folder(told: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of run-1, and files that are none."""
    made = tmp_path_factory.mktemp("reports")
    (made / "reconciliation-run-1.html").write_text("<h1>as it was</h1>")
    (made / "secret.html").write_text("secret")
    (made.parent / "reconciliation-outside.html").write_text("secret")
    (made / "reconciliation-link.html").symlink_to(made / "secret.html")
    for run_id, path in (
        ("run-1", made / "reconciliation-run-1.html"),
        ("outside", made.parent / "reconciliation-outside.html"),
        ("around", made / "reconciliation-outside" / ".." / ".." / "reconciliation-outside.html"),
        ("other-name", made / "secret.html"),
        ("link", made / "reconciliation-link.html"),
        ("removed", made / "reconciliation-removed.html"),
        ("none", None),
    ):
        finish(told, run_id, path)
    return made


def finish(fleet: Fleet, run_id: str, report: Path | str | None) -> None:
    fleet.sql(
        "INSERT INTO provisioning.run (run_id, trigger, begun_at, finished_at, ready, unwell, actions, seconds, report)"
        " VALUES (%s, 'operator', %s, %s, 1, 2, 3, 4, %s)",
        *(run_id, NOON, NOON, str(report) if report else None),
    )


@pytest.fixture(scope="module")
def api(told: Fleet, folder: Path) -> Iterator[Api]:
    with api_to(told.settings(report_path=str(folder))) as made:
        yield made


@pytest.fixture(scope="module")
def locked(told: Fleet, folder: Path) -> Iterator[Api]:
    """The same behind a password."""
    with api_to(told.settings(report_path=str(folder), report_password=PASSWORD)) as made:
        yield made


# --- what is shown ----------------------------------------------------------------------------------------------


def test_the_last_report_is_drawn_with_the_tenants_as_they_are_now(told: Fleet, api: Api) -> None:
    told.link("new", None)
    try:
        answer = api.http.get("/reports/latest")
    finally:
        told.sql("DELETE FROM provisioning.tenant_link WHERE slug = 'new'")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "new" in answer.text
    assert "as it was" not in answer.text


def test_a_runs_own_report_is_shown_as_it_was_written(api: Api) -> None:
    answer = api.http.get("/reports/run-1")
    assert (answer.status_code, answer.text) == (200, "<h1>as it was</h1>")


@pytest.mark.parametrize("name", ["acme", "/acme"])
def test_a_tenants_page_shows_what_happened_as_text(api: Api, name: str) -> None:
    answer = api.http.get(f"/tenants/{name.strip('/')}")
    assert answer.status_code == 200
    assert "add member failed: 4 &lt;script&gt;" in answer.text
    assert "<script" not in answer.text
    assert 'href="../reports/run-1"' in answer.text


def test_a_timeline_is_read_page_by_page(api: Api) -> None:
    walked: list[str] = []
    before: dict[str, Any] = {}
    while True:
        answer = api.http.get("/v1/tenants/acme/timeline", params={"limit": 2} | before)
        document = answer.json()
        assert answer.status_code == 200
        walked += [event["what"] for event in document["events"]]
        if document["next"] is None:
            break
        before = {"before": document["next"]}

    assert [what.split()[3] for what in walked[:5]] == ["4", "3", "2", "1", "0"]
    assert len(walked) == 6
    assert document["tenant"]["database_name"] == "acme"
    assert document["tenant"]["clerk_org_id"] == "org_1"
    assert walked[5].startswith("Seen for the first time")


def test_a_timeline_may_begin_at_any_time(api: Api) -> None:
    def events(before: str) -> int:
        answer = api.http.get("/v1/tenants/acme/timeline", params={"before": before})
        return len(answer.json()["events"])

    assert (events("2026-08-01T12:00:00Z"), events("2026-08-01T12:00:00.000001Z"), events("2026-08-02")) == (0, 6, 6)


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_and_are_kept_nowhere(api: Api, path: str) -> None:
    headers = api.http.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control")]
    if not path.startswith("/v1"):
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
        assert "frame-ancestors 'none'" in policy


# --- what is not there ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_id", ["outside", "around", "other-name", "link", "removed", "none"])
def test_a_run_whose_own_report_is_not_there_is_drawn_from_the_ledger_and_no_other_file_is_read(
    api: Api, run_id: str
) -> None:
    answer = api.http.get(f"/reports/{run_id}")
    assert answer.status_code == 200
    assert "Drawn after the run" in answer.text
    assert "secret" not in answer.text


def test_a_report_in_an_object_store_is_shown_from_there_and_drawn_anew_without_it(told: Fleet) -> None:
    base = f"memory://reports-{uuid.uuid4().hex}"
    settings = told.settings(report_path=base)
    summary = asyncio.run(in_ledger(settings, lambda ledger: latest(ledger, settings)))
    assert summary is not None
    path = page.write(replace(summary, run_id="stored"), base)
    assert path == f"{base}/reconciliation-stored.html"
    finish(told, "stored", path)

    with api_to(settings) as api:
        there = api.http.get("/reports/stored")
        UPath(path).unlink()
        gone = api.http.get("/reports/stored")

    assert (there.status_code, gone.status_code) == (200, 200)
    assert "Drawn after the run" not in there.text
    assert "Drawn after the run" in gone.text


@pytest.mark.parametrize(
    "run_id",
    ["unknown", "secret", "..", "%2e%2e%2fsecret",
     "..%5csecret", "%00", "a" * 200, "run-1.html", "run-1%0a"],
)  # fmt: skip
def test_nothing_but_a_runs_own_report_can_be_read(api: Api, run_id: str) -> None:
    answer = api.http.get(f"/reports/{run_id}")
    problem(answer, 404)
    assert "secret" not in answer.text


@pytest.mark.parametrize("name", ["nobody", "a%00b", "%0a", "a%2fb", "'%20OR%201=1", "x" * 200, "%ff", "%e2%80%ae"])
def test_an_unknown_tenant_is_not_found_and_not_repeated(api: Api, name: str) -> None:
    for path in (f"/tenants/{name}", f"/v1/tenants/{name}/timeline"):
        problem(api.http.get(path), 404)
    assert "provisioning status" in problem(api.http.get("/tenants/nobody"), 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "limit=-1", "limit=", "before=yesterday",
                                   "before=2026-08-01~x", "before=2026-08-01T00:00:00%2B24:30"])  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused_without_being_repeated(api: Api, query: str) -> None:
    detail = problem(api.http.get(f"/v1/tenants/acme/timeline?{query}"), 400)
    assert detail.startswith(f"`{query.partition('=')[0]}`")


def test_before_the_first_run_there_is_no_report_and_it_says_how_to_get_one(own_fleet: Fleet, own_api: Api) -> None:
    assert "provisioning apply" in problem(own_api.http.get("/reports/latest"), 404)


def test_a_slug_of_several_tenants_names_their_databases(own_fleet: Fleet, own_api: Api) -> None:
    own_fleet.sql("INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('one', 's'), ('two', 's')")
    assert "one, two" in problem(own_api.http.get("/tenants/s"), 409)
    assert own_api.http.get("/tenants/one").status_code == 200


def test_while_the_ledger_is_away_one_is_told_to_come_back(own_fleet: Fleet, own_api: Api) -> None:
    own_fleet.shut()
    for path in PAGES:
        answer = own_api.http.get(path)
        problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
    assert own_api.http.get("/healthz").status_code == 200

    own_fleet.open()
    assert own_api.http.get("/tenants/acme").status_code == 200


# --- who may read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_with_the_password_everything_is_shown_whatever_the_user_name(locked: Api, path: str) -> None:
    for name in ("", "anybody"):
        assert locked.http.get(path, auth=(name, PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Basic", "Basic !", "Basic YQ==", "Basic YTpi", "Basic /w==", "Digest YTpi"]
)
def test_without_the_password_nobody_learns_even_what_is_there(locked: Api, header: str | None) -> None:
    for path in (*PAGES, "/reports/unknown", "/tenants/nobody", "/tenants/acme?limit=x"):
        answer = locked.http.get(path, headers={} if header is None else {"authorization": header})
        assert "PROVISIONING_REPORT_PASSWORD" in problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert "acme" not in answer.text


def test_a_part_of_the_password_is_not_the_password(locked: Api) -> None:
    for wrong in ("", PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper()):
        problem(locked.http.get("/tenants/acme", auth=("", wrong)), 401)


def test_health_and_webhooks_ask_for_no_password(locked: Api) -> None:
    assert locked.http.get("/healthz").json() == {"status": "ok"}
    assert "signature" in problem(locked.post(b"{}", {}), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"x-forwarded-host": "localhost"},
        {"via": "1.1 proxy"},
        {"host": "reports.example.com"},
        {"host": "rebound.example.com:8000"},
        {"host": "127.0.0.1.example.com"},
        {"host": "localhost.example.com"},
    ],
    ids=str,
)
def test_without_a_password_nothing_is_shown_through_a_proxy_or_under_another_name(
    api: Api, headers: dict[str, str]
) -> None:
    for path in PAGES:
        answer = api.http.get(path, headers=headers)
        assert "PROVISIONING_REPORT_PASSWORD" in problem(answer, 403)
    assert api.http.get("/healthz", headers=headers).status_code == 200


def test_without_a_password_this_machine_reads_by_any_name_of_its_own(api: Api) -> None:
    port = httpx2.URL(api.url).port
    for host in ("localhost", f"LOCALHOST:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert api.http.get("/tenants/acme", headers={"host": host}).status_code == 200


def test_a_request_without_a_host_is_not_taken_for_one_of_this_machine(api: Api) -> None:
    address = httpx2.URL(api.url)
    with socket.create_connection((address.host, address.port or 0), timeout=20) as plain:
        plain.sendall(b"GET /tenants/acme HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: plain.recv(65536), b""))
    assert b" 403 " in answer.partition(b"\r\n")[0] or b" 400 " in answer.partition(b"\r\n")[0]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("peer", "let_in"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.7", False),
     ("2001:db8::1", False), ("::ffff:192.0.2.7", False), ("172.17.0.1", False), ("", False), ("testclient", False),
     (None, False)],
)  # fmt: skip
async def test_without_a_password_only_peers_on_this_machine_are_let_in(
    told: Fleet, peer: str | None, let_in: bool
) -> None:
    client = None if peer is None else (peer, 50000)
    request = Request({"type": "http", "client": client, "headers": [(b"host", b"localhost:8000")]})
    may_read = reader(told.settings())
    if let_in:
        await may_read(request)
    else:
        with pytest.raises(Problem):
            await may_read(request)
