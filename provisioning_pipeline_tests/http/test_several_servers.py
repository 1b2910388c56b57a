"""Two servers before one ledger: what they count together, and that they launch one run."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.dagster_stand_in import StandInDagster, running_dagster
from provisioning_pipeline_tests.http.programs import serving_alone
from provisioning_pipeline_tests.http.services import Tenants, caller, key_of, serving, tenants_in

pytestmark = pytest.mark.slow
MOST = 20
WAITING_FOR_A_LAUNCH = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 730160 AND NOT granted"


@pytest.fixture(scope="module")
def tenants(sandbox_postgres: SandboxPostgres) -> Iterator[Tenants]:
    with tenants_in(sandbox_postgres) as made:
        yield made


@pytest.fixture
def dagster(tenants: Tenants, servers: tuple[str, str], dagsters: tuple[StandInDagster, str]) -> StandInDagster:
    """Nothing is launched yet."""
    dagsters[0].forget()
    return dagsters[0]


@pytest.fixture(scope="module")
def dagsters() -> Iterator[tuple[StandInDagster, str]]:
    with running_dagster() as (made, server):
        yield made, f"{server.url}/graphql"


@pytest.fixture(scope="module")
def servers(
    tenants: Tenants, dagsters: tuple[StandInDagster, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Two processes."""
    folder: Path = tmp_path_factory.mktemp("servers")
    environment = tenants.environment() | {
        "PROVISIONING_DAGSTER_GRAPHQL_URL": dagsters[1],
        "PROVISIONING_KEY_REQUESTS_PER_MINUTE": str(MOST),
    }
    with serving_alone(environment, folder) as one, serving_alone(environment, folder) as other:
        yield one, other


def asked(http: httpx2.Client) -> httpx2.Response:
    return http.get("/v1/tenants")


def test_a_keys_limit_holds_over_both(tenants: Tenants, servers: tuple[str, str]) -> None:
    key, another = key_of(tenants.settings()), key_of(tenants.settings(), "another")
    with caller(servers[0], key) as one, caller(servers[1], key) as other, caller(servers[1], another) as stranger:
        answers = [asked(http) for _ in range(MOST) for http in (one, other)]
        assert asked(stranger).status_code == 200, "the limit is each key's own"
    let_in = [answer for answer in answers if answer.status_code == 200]
    # what was asked before the turn of a minute counts a little less with each second after it
    assert MOST <= len(let_in) <= MOST + 3
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(let_in) + len(refused) == len(answers)
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)


@pytest.mark.parametrize("many", [False, True])
def test_two_requests_at_once_launch_one_run(
    tenants: Tenants, servers: tuple[str, str], dagster: StandInDagster, many: bool
) -> None:
    name = tenants.add(f"both-{many}".lower())
    dagster.patience = 7.0
    # a key of its own, which has spent nothing
    key = key_of(tenants.settings(), f"both {many}")

    def ask(url: str) -> httpx2.Response:
        with caller(url, key) as http:
            if many:
                return http.post("/v1/reconcile", json={"tenants": [name]})
            return http.post(f"/v1/tenants/{name}/reconcile")

    with ThreadPoolExecutor() as threads:
        first = threads.submit(ask, servers[0])
        assert dagster.arrived.wait(10)
        second = threads.submit(ask, servers[1])
        while not tenants.sql(WAITING_FOR_A_LAUNCH):
            assert not second.done(), second.result().text
            time.sleep(0.01)
        dagster.let_go.set()
        answers = [first.result(), second.result()]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(dagster.runs) == 1
    assert answers[0].json()["run_id"] == dagster.runs[0].id
    # a request for many is told of a run only if it launched one
    assert answers[1].json()["run_id"] == (None if many else dagster.runs[0].id)


def test_a_server_without_its_ledger_counts_by_itself(tenants: Tenants) -> None:
    key = key_of(tenants.settings())
    settings = tenants.settings(key_requests_per_minute=3)
    with serving(settings) as url, caller(url, key) as http:
        assert asked(http).status_code == 200
        tenants.sql("ALTER TABLE provisioning.request_window RENAME TO away")
        try:
            assert [asked(http).status_code for _ in range(3)] == [200, 200, 429]
        finally:
            tenants.sql("ALTER TABLE provisioning.away RENAME TO request_window")
