"""A tenant manager asks for tenants: registered once, made ready by real runs, told as they stand."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import dagster as dg
import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.api.body_limit import MOST_BYTES
from provisioning_pipeline.decide.admin import choose_admin
from provisioning_pipeline.defs.members.sensors import clerk_changes
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.api.dagster_stand_in import Run, StandInDagster, running_dagster
from provisioning_pipeline_tests.api.services import (
    PROBLEM,
    Tenants,
    caller,
    database_of,
    key_of,
    reconciled_by,
    serving,
    small_world,
    tenants_in,
)
from provisioning_pipeline_tests.world import World

# --- tenants as rows: what is decided without a run ---------------------------------------------------------------


class Service:
    """The tenant manager, and what it sees."""

    def __init__(self, http: httpx.Client, tenants: Tenants, dagster: StandInDagster, settings: Settings) -> None:
        self.http, self.tenants, self.dagster, self.settings = http, tenants, dagster, settings

    def put(self, slug: str, *, wait: float = 0, word: str | None = None, **body: Any) -> httpx.Response:
        """Ask for a tenant; without a body when nothing is said of it."""
        headers = {"Idempotency-Key": word} if word else {}
        return self.http.put(f"/v1/tenants/{slug}", params={"wait": wait}, json=body or None, headers=headers)

    def reconcile(self, name: str, *, wait: float = 0, word: str | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": word} if word else {}
        return self.http.post(f"/v1/tenants/{name}/reconcile", params={"wait": wait}, headers=headers)

    def get(self, name: str) -> httpx.Response:
        return self.http.get(f"/v1/tenants/{name}")

    def looked(self, run: Run) -> None:
        """A run that finds all of its tenants ready."""
        for number, name in enumerate(run.tenants):
            self.tenants.looked(run.id if not number else str(uuid.uuid4()), name)


@pytest.fixture(scope="module")
def served(sandbox_postgres: SandboxPostgres) -> Iterator[Service]:
    with tenants_in(sandbox_postgres) as tenants, running_dagster() as (dagster, server):
        settings = tenants.settings(dagster_graphql_url=f"{server.url}/graphql", key_requests_per_minute=100_000)
        with serving(settings) as url, caller(url, key_of(settings)) as http:
            yield Service(http, tenants, dagster, settings)


@pytest.fixture
def service(served: Service) -> Service:
    """Nobody is registered yet, and Dagster launches runs that stay queued."""
    served.dagster.forget()
    served.tenants.sql("TRUNCATE tenant_registry CASCADE")
    served.tenants.sql("TRUNCATE provisioning.tenant_link CASCADE")
    for table in ("tenant_request", "run", "condition", "condition_change", "login_proof"):
        served.tenants.sql(f"TRUNCATE provisioning.{table} CASCADE")
    return served


def problem(answer: httpx.Response, status: int) -> str:
    """What a problem document says."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == PROBLEM
    document = answer.json()
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    return str(document["detail"])


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text[:500]
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == document["status_url"]
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["cache-control"] == "no-store"
    return document


def ready(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text[:500]
    document: dict[str, Any] = answer.json()
    assert document["state"] == "ready"
    assert (document["workspace_id"], document["user_id"]) != (None, None)
    assert "location" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    return document


def test_a_new_tenant_is_registered_with_everything_that_was_said(service: Service) -> None:
    document = accepted(
        service.put(
            "acme",
            name="  Acme \N{GRINNING FACE} & Sons  ",
            database_name="twenty_tenant_acme",
            clerk_org_id="org_1",
            admin_email="Ada@Acme.Test",
        )
    )

    row = service.tenants.row("twenty_tenant_acme")
    assert {name: row[name] for name in ("slug", "name", "database_name", "clerk_org_id", "status")} == {
        "slug": "acme",
        "name": "Acme \N{GRINNING FACE} & Sons",
        "database_name": "twenty_tenant_acme",
        "clerk_org_id": "org_1",
        "status": "provisioning",
    }
    assert service.tenants.linked("twenty_tenant_acme")["asked_admin_email"] == "ada@acme.test"
    assert (document["slug"], document["state"], document["waiting"]) == ("acme", "unwell", True)
    (run,) = service.dagster.runs
    assert run.tenants == ["twenty_tenant_acme"]
    assert run.tags == {"trigger": "tenant-manager", "tenant": "twenty_tenant_acme"}
    assert document["run_id"] == run.id
    assert document["status_url"].endswith("/v1/tenants/acme")
    assert service.http.get(document["status_url"]).json() | {"look_again_at": None} == document | {
        "look_again_at": None
    }


def test_a_tenant_without_a_name_is_called_by_its_slug(service: Service) -> None:
    accepted(service.put("acme", database_name="twenty_tenant_acme"))

    row = service.tenants.row("twenty_tenant_acme")
    assert (row["name"], row["clerk_org_id"]) == ("acme", None)


def test_a_new_tenant_needs_its_database(service: Service) -> None:
    assert "`database_name`" in problem(service.put("acme"), 404)
    assert "`database_name`" in problem(service.put("acme", name="Acme"), 404)
    assert service.tenants.requests() == 0
    assert service.dagster.runs == []


@pytest.mark.parametrize("name", ["postgres", "template1", "other_tenant_acme", "TWENTY_tenant_acme"])
def test_a_database_that_is_no_tenants_is_refused(service: Service, name: str) -> None:
    assert "PROVISIONING_TENANT_DATABASE_PATTERN" in problem(service.put("acme", database_name=name), 422)
    assert service.tenants.row(name) == {}


def test_a_tenant_that_is_ready_is_answered_at_once_and_nothing_begins(service: Service) -> None:
    name = service.tenants.add("acme", "org_1", ready=True)

    for body in ({}, {"database_name": name}, {"name": "Acme", "clerk_org_id": "org_1", "database_name": name}):
        document = ready(service.put("acme", **body))
        assert (document["waiting"], document["run_id"]) == (False, None)

    assert service.dagster.runs == []
    assert service.tenants.marked() == []
    assert service.tenants.requests() == 0


@pytest.mark.parametrize(
    ("change", "column"), [({"name": "Acme Ltd"}, "name"), ({"clerk_org_id": "org_2"}, "clerk_org_id")]
)
def test_a_change_has_the_tenant_looked_at(service: Service, change: dict[str, str], column: str) -> None:
    name = service.tenants.add("acme", ready=True)
    before = service.tenants.row(name)

    document = accepted(service.put("acme", **change))

    after = service.tenants.row(name)
    assert after[column] == change[column]
    untouched = before.keys() - {column, "updated_at"}
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert after["updated_at"] > before["updated_at"]
    assert document["waiting"] is True
    assert [run.tenants for run in service.dagster.runs] == [[name]]
    assert service.tenants.marked() == [name]


def test_what_is_null_stays_as_it_is(service: Service) -> None:
    name = service.tenants.add("acme", "org_1", ready=True)
    before = service.tenants.row(name)

    ready(service.put("acme", name=None, clerk_org_id=None, admin_email=None, database_name=None))

    assert service.tenants.row(name) == before


def test_a_change_is_answered_when_its_run_has_ended(service: Service) -> None:
    service.tenants.add("acme", "org_1", ready=True)
    service.dagster.work = service.looked

    document = ready(service.put("acme", name="Acme Ltd", wait=30))

    assert document["run_id"] == service.dagster.runs[0].id
    assert document["waiting"] is False


def test_that_it_was_ready_before_is_no_answer_to_a_change(service: Service) -> None:
    """The run has unmarked the tenant, and is not done with it."""
    name = service.tenants.add("acme", "org_1", ready=True)

    def begin(run: Run) -> None:
        service.tenants.sql("INSERT INTO provisioning.run (run_id, trigger) VALUES (%s, 'tenant-manager')", run.id)
        service.tenants.unmark()

    service.dagster.work = begin

    document = accepted(service.put("acme", name="Acme Ltd", wait=1.2))

    assert (document["state"], document["waiting"]) == ("ready", True)
    assert service.get(name).json()["waiting"] is True


class TestConflicts:
    """What is another tenant's stays with it, and nothing is half done."""

    @pytest.fixture(autouse=True)
    def acme(self, service: Service) -> Iterator[None]:
        service.tenants.add("acme", "org_1", ready=True)
        yield
        assert service.dagster.runs == []
        assert service.tenants.marked() == []
        assert service.tenants.requests() == 0
        assert service.tenants.row(database_of("acme"))["clerk_org_id"] == "org_1"

    def test_the_slug_has_another_database(self, service: Service) -> None:
        answer = service.put("acme", database_name="twenty_tenant_other")

        assert "acme is registered with database twenty_tenant_acme" in problem(answer, 409)
        assert service.tenants.row("twenty_tenant_other") == {}

    def test_the_database_has_another_slug(self, service: Service) -> None:
        answer = service.put("other", database_name="twenty_tenant_acme")

        assert "twenty_tenant_acme is registered as tenant acme" in problem(answer, 409)

    def test_the_organization_is_another_tenants(self, service: Service) -> None:
        answer = service.put("other", database_name="twenty_tenant_other", clerk_org_id="org_1")

        assert "org_1 is tenant acme's" in problem(answer, 409)
        assert service.tenants.row("twenty_tenant_other") == {}

    def test_a_tenants_own_organization_cannot_be_changed(self, service: Service) -> None:
        """Whoever decides whose organization it is decides who gets into the workspace."""
        answer = service.put("acme", clerk_org_id="org_2", name="Acme Ltd")

        assert "Change it in the registry itself" in problem(answer, 409)
        assert service.tenants.row(database_of("acme"))["name"] == "Acme"

    def test_nor_one_that_the_ledger_alone_knows(self, service: Service) -> None:
        service.tenants.sql("UPDATE tenant_registry SET clerk_org_id = NULL")

        problem(service.put("acme", clerk_org_id="org_2"), 409)

        assert service.tenants.row(database_of("acme"))["clerk_org_id"] is None
        service.tenants.sql("UPDATE tenant_registry SET clerk_org_id = 'org_1'")

    def test_an_update_cannot_take_one_either(self, service: Service) -> None:
        other = service.tenants.add("other", "org_2", ready=True)

        problem(service.put("other", clerk_org_id="org_1", name="Other"), 409)

        assert service.tenants.row(other)["clerk_org_id"] == "org_2"
        assert service.tenants.row(other)["name"] == "Other"


def test_the_organization_of_a_suspended_tenant_is_free(service: Service) -> None:
    service.tenants.add("gone", "org_1", status="Suspended")

    accepted(service.put("acme", database_name="twenty_tenant_acme", clerk_org_id="org_1"))

    assert service.tenants.row("twenty_tenant_acme")["clerk_org_id"] == "org_1"


class TestTheSameRequestAgain:
    """`Idempotency-Key`: one effect, whatever gets lost on the way."""

    BODY = {"database_name": "twenty_tenant_acme", "name": "Acme"}  # noqa: RUF012  # never changed

    def test_it_has_one_effect(self, service: Service) -> None:
        answers = [accepted(service.put("acme", word="a-1", **self.BODY)) for _ in range(3)]

        assert len({answer["run_id"] for answer in answers}) == 1
        assert len(service.dagster.runs) == service.tenants.requests() == 1

    def test_its_answer_is_the_tenant_as_it_stands_by_then(self, service: Service) -> None:
        accepted(service.put("acme", word="a-1", **self.BODY))
        service.looked(service.dagster.runs[0])
        service.tenants.sql("UPDATE tenant_registry SET name = 'Renamed since'")

        ready(service.put("acme", word="a-1", **self.BODY))

        assert service.tenants.row("twenty_tenant_acme")["name"] == "Renamed since"
        assert len(service.dagster.runs) == 1

    def test_for_a_tenant_that_is_ready_it_is_remembered_too(self, service: Service) -> None:
        service.tenants.add("acme", ready=True)
        ready(service.put("acme", word="a-1"))

        problem(service.put("acme", word="a-1", name="Another"), 409)

        assert service.dagster.runs == []
        assert service.tenants.marked() == []

    def test_another_request_under_it_is_refused(self, service: Service) -> None:
        accepted(service.put("acme", word="a-1", **self.BODY))
        others: list[Callable[[], httpx.Response]] = [
            lambda: service.put("acme", word="a-1", **(self.BODY | {"name": "Other"})),
            lambda: service.put("acme", word="a-1"),
            lambda: service.put("other", word="a-1", database_name="twenty_tenant_other"),
            lambda: service.reconcile("acme", word="a-1"),
        ]

        for other in others:
            assert "Idempotency-Key" in problem(other(), 409)

        assert len(service.dagster.runs) == service.tenants.requests() == 1
        assert service.tenants.row("twenty_tenant_other") == {}

    def test_how_a_body_is_written_does_not_matter(self, service: Service) -> None:
        accepted(service.put("acme", word="a-1", **self.BODY))

        answer = service.http.put(
            "/v1/tenants/acme?wait=0.1",
            content=b'{"name":\t"Acme", "clerk_org_id": null, "database_name": "twenty_tenant_acme"}',
            headers={"Idempotency-Key": "a-1", "Content-Type": "application/json"},
        )

        accepted(answer)
        assert len(service.dagster.runs) == 1

    def test_another_callers_same_word_is_another_request(self, service: Service) -> None:
        accepted(service.put("acme", word="a-1", **self.BODY))
        with caller(str(service.http.base_url), key_of(service.settings)) as http:
            other = Service(http, service.tenants, service.dagster, service.settings)

            accepted(other.put("other", word="a-1", database_name="twenty_tenant_other"))

        assert service.tenants.requests() == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["put", "reconcile"])
    def test_two_at_the_same_time_launch_one_run(self, service: Service, kind: str) -> None:
        """The second comes before the first has stored its own."""
        service.tenants.add("acme")
        service.dagster.patience = 1.0

        def ask() -> httpx.Response:
            if kind == "put":
                return service.put("acme", word="a-1", **self.BODY)
            return service.reconcile("acme", word="a-1")

        with together(service.tenants, ask, ask) as asking:
            pass

        answers = [accepted(future.result()) for future in asking]
        assert len(service.dagster.runs) == service.tenants.requests() == 1
        assert {answer["run_id"] for answer in answers} <= {service.dagster.runs[0].id, None}

    @pytest.mark.slow
    def test_of_two_others_at_the_same_time_one_is_refused_and_has_no_effect(self, service: Service) -> None:
        def ask(name: str) -> Callable[[], httpx.Response]:
            return lambda: service.put("acme", word="a-1", **(self.BODY | {"name": name}))

        with together(service.tenants, ask("One"), ask("Other")) as asking:
            pass

        answers = [future.result() for future in asking]
        assert sorted(answer.status_code for answer in answers) == [202, 409]
        taken = next(name for name, answer in zip(("One", "Other"), answers, strict=True) if answer.status_code == 202)
        assert service.tenants.row("twenty_tenant_acme")["name"] == taken
        assert len(service.dagster.runs) == service.tenants.requests() == 1

    @pytest.mark.parametrize("word", ["two words", "x" * 201, "caf\xe9"])
    def test_a_word_that_is_none_is_refused(self, service: Service, word: str) -> None:
        headers = {"Idempotency-Key": word.encode("latin-1")}
        answer = service.http.put("/v1/tenants/acme", json=self.BODY, headers=headers)

        problem(answer, 422)
        assert word not in answer.text
        assert service.tenants.requests() == 0

    def test_reconciliations_have_it_too(self, service: Service) -> None:
        service.tenants.add("acme", ready=True)
        runs = {accepted(service.reconcile("acme", word="r-1"))["run_id"] for _ in range(2)}

        assert runs == {service.dagster.runs[0].id}
        assert len(service.dagster.runs) == 1


@contextmanager
def together(tenants: Tenants, *asks: Callable[[], httpx.Response]) -> Iterator[list["Future[httpx.Response]"]]:
    """All at once: none gets to store its request before all of them have come."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        " AND (query LIKE '%%provisioning.tenant_link%%' OR query LIKE '%%pg_advisory_lock%%')"
    )
    with ThreadPoolExecutor(len(asks)) as pool, tenants.postgres.connect(tenants.name) as other:
        with other.transaction():
            other.execute("LOCK TABLE provisioning.tenant_link IN SHARE ROW EXCLUSIVE MODE")
            asking = [pool.submit(ask) for ask in asks]
            poll = threading.Event()
            for _ in range(200):
                if tenants.postgres.execute("postgres", waiting, [tenants.name])[0][0] >= len(asks):
                    break
                poll.wait(0.02)
            else:
                pytest.fail("they never came to store their requests")
        yield asking


def test_a_run_that_is_under_way_is_not_launched_again(service: Service) -> None:
    first = accepted(service.put("acme", database_name="twenty_tenant_acme"))
    again = accepted(service.put("acme"))
    other = accepted(service.reconcile("acme"))

    assert first["run_id"] == again["run_id"] == other["run_id"]
    assert len(service.dagster.runs) == 1
    assert service.tenants.marked() == ["twenty_tenant_acme"]


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_a_run_that_has_ended_at_dagster_is_launched_anew(service: Service, status: str) -> None:
    """A run that was killed before it could tell the ledger is not waited for."""
    first = accepted(service.put("acme", database_name="twenty_tenant_acme"))
    service.dagster.runs[0].status = status

    again = accepted(service.put("acme"))

    assert again["run_id"] not in (first["run_id"], None)
    assert len(service.dagster.runs) == 2


def test_a_run_that_dagster_has_forgotten_is_launched_anew(service: Service) -> None:
    accepted(service.put("acme", database_name="twenty_tenant_acme"))
    service.dagster.runs.clear()

    assert accepted(service.put("acme"))["run_id"] == service.dagster.runs[0].id


class TestWithoutDagster:
    """The tenant is marked, and the sensor does what the door could not."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "answer",
        [
            lambda: PlainTextResponse("<html>Bad gateway</html>", 502),
            lambda: JSONResponse([]),
            lambda: JSONResponse(None),
            lambda: JSONResponse({"errors": [{"message": "no"}]}),
            lambda: JSONResponse({"data": None, "errors": [{"message": "no"}]}, 500),
            lambda: JSONResponse({"data": {}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": {"__typename": "PythonError", "message": "x"}}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": None, "launchRun": None}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": {"nodes": [{"name": "x"}]}}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": []}}),
            lambda: Response(b"\xff\xfe", 200, media_type="application/json"),
        ],
        ids=["gateway", "list", "null", "errors", "error", "empty", "python", "nulls", "half", "odd", "bytes"],
    )
    def test_what_it_answers_may_be_anything(self, service: Service, answer: Callable[[], Response]) -> None:
        with own_door(service) as own:
            own.dagster.answer = answer

            self.is_marked_and_accepted(own)

    @pytest.mark.parametrize(
        "answer",
        [
            {"__typename": "RunConfigValidationInvalid", "errors": [{"message": "x"}]},
            {"__typename": "PythonError", "message": "x"},
            {"__typename": "UnauthorizedError"},
            {"__typename": "LaunchRunSuccess"},
            {"__typename": "LaunchRunSuccess", "run": None},
        ],
        ids=["config", "python", "unauthorized", "no run", "null run"],
    )
    def test_it_may_refuse_the_launch(self, service: Service, answer: dict[str, Any]) -> None:
        with own_door(service) as own:
            accepted(own.put("other", database_name="twenty_tenant_other"))
            own.dagster.runs.clear()
            own.tenants.sql("UPDATE provisioning.tenant_link SET marked_at = NULL")
            own.dagster.answer = lambda: JSONResponse({"data": {"launchRun": answer}})

            self.is_marked_and_accepted(own)

    @pytest.mark.parametrize("locations", [[], ["one", "two"]])
    def test_the_job_may_be_nowhere_or_twice(self, service: Service, locations: list[str]) -> None:
        with own_door(service) as own:
            own.dagster.locations = locations

            self.is_marked_and_accepted(own)

    def test_it_may_be_away(self, service: Service) -> None:
        with own_door(service, dagster_graphql_url="http://127.0.0.1:9/graphql") as own:
            self.is_marked_and_accepted(own)

    def test_nobody_may_have_named_it(self, service: Service) -> None:
        with own_door(service, dagster_graphql_url=None) as own:
            self.is_marked_and_accepted(own)

    def test_a_code_location_may_be_renamed_meanwhile(self, service: Service) -> None:
        with own_door(service) as own:
            accepted(own.put("other", database_name="twenty_tenant_other"))
            own.dagster.locations = ["renamed"]
            accepted(own.put("acme", database_name="twenty_tenant_acme"))
            assert service.tenants.marked() == ["twenty_tenant_acme", "twenty_tenant_other"]

            accepted(own.put("acme"))

            assert [run.tenants for run in own.dagster.runs] == [["twenty_tenant_other"], ["twenty_tenant_acme"]]

    def test_the_sensor_launches_it_before_others(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        clerks = service.tenants.add("clerks")
        service.tenants.sql("UPDATE provisioning.tenant_link SET marked_at = now(), marked_by = 'clerk'")
        with own_door(service, dagster_graphql_url="http://127.0.0.1:9/graphql") as own:
            self.is_marked_and_accepted(own, others=[clerks])
        for name, value in service.tenants.environment().items():
            monkeypatch.setenv(name, value)

        with dg.DagsterInstance.ephemeral() as instance:
            request = clerk_changes(dg.build_sensor_context(instance=instance))

        assert isinstance(request, dg.RunRequest)
        assert request.run_config["ops"]["detect_tenants"]["config"]["tenants"] == ["twenty_tenant_acme"]
        assert request.tags["trigger"] == "tenant-manager"

    @staticmethod
    def is_marked_and_accepted(own: Service, *, others: list[str] | None = None) -> None:
        document = accepted(own.put("acme", database_name="twenty_tenant_acme"))

        assert (document["run_id"], document["waiting"]) == (None, True)
        assert own.dagster.runs == []
        assert own.tenants.marked() == sorted(["twenty_tenant_acme", *(others or [])])
        (found,) = own.tenants.sql(
            "SELECT marked_by FROM provisioning.tenant_link WHERE database_name = 'twenty_tenant_acme'"
        )
        assert found == ("tenant-manager",)


@contextmanager
def own_door(service: Service, stopping: Callable[[], bool] = lambda: False, **overrides: Any) -> Iterator[Service]:
    """Another server before the same tenants, which has not met Dagster yet."""
    settings = service.settings.model_copy(update=overrides)
    with serving(settings, stopping) as url, caller(url, key_of(settings)) as http:
        yield Service(http, service.tenants, service.dagster, settings)


class TestWaiting:
    """Each of these waits for longer than its caller would, were it not answered early."""

    LONG = 60

    @pytest.fixture(autouse=True)
    def impatient(self, service: Service) -> Iterator[None]:
        before, service.http.timeout = service.http.timeout, httpx.Timeout(25)
        yield
        service.http.timeout = before

    def test_it_ends_when_the_tenant_is_ready(self, service: Service) -> None:
        service.dagster.work = service.looked

        document = ready(service.put("acme", database_name="twenty_tenant_acme", wait=self.LONG))

        assert document["waiting"] is False

    def test_it_ends_when_the_run_has_ended_without_a_ready_tenant(self, service: Service) -> None:
        service.dagster.work = lambda run: service.tenants.looked(run.id, run.tenants[0], ready=False)

        document = accepted(service.put("acme", database_name="twenty_tenant_acme", wait=self.LONG))

        assert (document["state"], document["waiting"]) == ("unwell", False)
        assert document["conditions"][0]["reason"] == "ServerFull"

    def test_it_ends_when_the_server_is_about_to(self, service: Service) -> None:
        stopping = threading.Event()
        service.dagster.work = lambda _: stopping.set()
        with own_door(service, stopping.is_set) as own:
            accepted(own.put("acme", database_name="twenty_tenant_acme", wait=self.LONG))

    def test_it_ends_at_its_time(self, service: Service) -> None:
        document = accepted(service.put("acme", database_name="twenty_tenant_acme", wait=0.1))

        assert document["waiting"] is True

    def test_a_repeated_request_waits_for_the_run_of_the_first(self, service: Service) -> None:
        accepted(service.put("acme", word="w-1", database_name="twenty_tenant_acme"))
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(service.put, "acme", word="w-1", wait=self.LONG, database_name="twenty_tenant_acme")
            service.looked(service.dagster.runs[0])
            ready(asking.result())

    def test_a_tenant_that_is_set_aside_is_told_when_its_run_has_ended(self, service: Service) -> None:
        service.tenants.add("acme", status="suspended")
        service.dagster.work = lambda run: service.tenants.looked(
            run.id, run.tenants[0], ready=False, reason="TenantSuspended"
        )

        assert accepted(service.put("acme", wait=self.LONG))["state"] == "aside"

    @pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon", ""])
    def test_no_other_time_is_taken(self, service: Service, wait: str) -> None:
        problem(service.http.put("/v1/tenants/acme", params={"wait": wait}), 422)


class TestReconcile:
    """`POST /v1/tenants/{slug}/reconcile`: looked at, ready or not."""

    def test_a_ready_tenant_is_looked_at_again(self, service: Service) -> None:
        name = service.tenants.add("acme", ready=True)

        document = accepted(service.reconcile("acme"))

        assert document["run_id"] == service.dagster.runs[0].id
        assert service.dagster.runs[0].tenants == [name]
        assert service.tenants.marked() == [name]

    def test_it_can_be_waited_for(self, service: Service) -> None:
        service.tenants.add("acme", ready=True)
        service.dagster.work = service.looked

        assert ready(service.reconcile("acme", wait=30))["run_id"] == service.dagster.runs[0].id

    def test_the_database_name_does_as_well(self, service: Service) -> None:
        name = service.tenants.add("acme", ready=True)

        assert accepted(service.reconcile(name))["slug"] == "acme"
        assert service.get(name).json()["slug"] == "acme"

    def test_a_tenant_that_only_the_registry_knows_can_be_asked_for(self, service: Service) -> None:
        service.tenants.add("acme")
        service.tenants.sql("TRUNCATE provisioning.tenant_link CASCADE")

        assert accepted(service.reconcile("acme"))["database_name"] == database_of("acme")
        assert [run.tenants for run in service.dagster.runs] == [[database_of("acme")]]

    def test_an_unknown_tenant_is_told(self, service: Service) -> None:
        assert "GET /v1/tenants lists them" in problem(service.reconcile("nobody"), 404)
        problem(service.get("nobody"), 404)
        assert service.dagster.runs == []

    def test_of_several_with_one_slug_the_database_name_tells_which(self, service: Service) -> None:
        names = [service.tenants.add("acme", database_name=f"twenty_tenant_acme_{n}") for n in (1,)]
        service.tenants.sql(
            "INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('twenty_tenant_acme_2', 'acme')"
        )

        for answer in (service.get("acme"), service.reconcile("acme"), service.put("acme")):
            assert "twenty_tenant_acme_1, twenty_tenant_acme_2" in problem(answer, 409)

        assert accepted(service.reconcile(names[0]))["database_name"] == names[0]


class TestLists:
    """`GET /v1/tenants`."""

    def names(self, service: Service, **wanted: Any) -> list[str]:
        """Every tenant, page after page."""
        found: list[str] = []
        cursor = None
        for _ in range(100):
            page = service.http.get("/v1/tenants", params=wanted | ({"cursor": cursor} if cursor else {})).json()
            assert len(page["items"]) <= wanted.get("limit", 50)
            found += [item["database_name"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def test_pages_hold_each_tenant_once(self, service: Service) -> None:
        expected = sorted(service.tenants.add(f"t{number}", ready=number % 2 == 0) for number in range(7))

        for limit in (1, 2, 3, 7, 8, 200):
            assert self.names(service, limit=limit) == expected

    def test_a_tenant_that_comes_meanwhile_moves_no_other(self, service: Service) -> None:
        expected = sorted(service.tenants.add(slug) for slug in ("b", "d", "f"))
        first = service.http.get("/v1/tenants", params={"limit": 2}).json()
        service.tenants.add("a")
        service.tenants.add("e")

        second = service.http.get("/v1/tenants", params={"limit": 2, "cursor": first["next"]}).json()

        found = [item["database_name"] for item in (*first["items"], *second["items"])]
        assert found == sorted({*expected, database_of("e")})

    def test_it_can_be_one_state_or_one_organization(self, service: Service) -> None:
        one = service.tenants.add("one", "org_1", ready=True)
        other = service.tenants.add("other", "org_2")
        aside = service.tenants.add("aside", "org_3")
        service.tenants.looked(str(uuid.uuid4()), aside, ready=False, reason="TenantSuspended")

        assert self.names(service, state="ready") == [one]
        assert self.names(service, state="unwell") == [other]
        assert self.names(service, state="aside") == [aside]
        assert self.names(service, clerk_org_id="org_2") == [other]
        assert self.names(service, clerk_org_id="org_2", state="ready") == []
        for item in service.http.get("/v1/tenants").json()["items"]:
            assert item == service.get(item["database_name"]).json()

    @pytest.mark.parametrize("cursor", ["?", "a", "%%%", "////", "AA", "__4", "YQ==", "x" * 201])
    def test_a_cursor_that_is_none_is_told(self, service: Service, cursor: str) -> None:
        problem(service.http.get("/v1/tenants", params={"cursor": cursor}), 422)

    @pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"state": "broken"}])
    def test_a_wrong_question_is_told(self, service: Service, wrong: dict[str, Any]) -> None:
        problem(service.http.get("/v1/tenants", params=wrong), 422)

    @pytest.mark.parametrize("text", ["\x00", "org_\x00", "\ud800".encode("utf-16", "surrogatepass"), "' OR 1=1 --"])
    def test_an_organization_that_cannot_be_one_is_nobodys(self, service: Service, text: str | bytes) -> None:
        service.tenants.add("acme", "org_1")

        answer = service.http.get("/v1/tenants", params={"clerk_org_id": text})

        assert answer.status_code in (200, 422)
        assert answer.status_code == 422 or answer.json()["items"] == []


class TestBodies:
    """What is no request is told, and nothing of it repeated."""

    SECRET = "hunter2-canary"
    JSON = {"Content-Type": "application/json"}  # noqa: RUF012  # never changed

    @pytest.mark.parametrize(
        "body",
        [
            {"name": 5},
            {"name": ""},
            {"name": "   "},
            {"name": "x" * 201},
            {"name": f"{SECRET}\x00"},
            {"name": f"{SECRET}\n2"},
            {"name": [SECRET]},
            {"name": {"x": SECRET}},
            {"database_name": f"{SECRET}; DROP TABLE"},
            {"database_name": "x" * 64},
            {"database_name": "1abc"},
            {"clerk_org_id": SECRET},
            {"clerk_org_id": f"org_{SECRET} "},
            {"admin_email": SECRET},
            {"admin_email": f"{SECRET}@x@y"},
            {"admin_email": f"{SECRET}\x00@acme.test"},
            {"admin_email": "a" * 250 + "@acme.test"},
            {"password": SECRET},
            {"name": "Acme", "slug": SECRET},
            [SECRET],
            SECRET,
            5,
            True,
        ],
        ids=lambda body: json.dumps(body)[:40],
    )
    def test_a_body_of_another_form_is_refused(self, service: Service, body: Any) -> None:
        answer = service.http.put("/v1/tenants/acme", json=body)

        self.is_refused(service, answer, 422)
        assert answer.json()["errors"]
        assert all(fault["field"] and fault["message"] for fault in answer.json()["errors"])

    @pytest.mark.parametrize(
        "raw",
        [
            b"{",
            b"{'name': 'hunter2-canary'}",
            b'{"name": "hunter2-canary"',
            b"\xff\xfe\x00",
            b'{"name": "\xff"}',
            b'{"name": "\\ud800"}',
            b"\x00",
            b"[" * 20_000,
            b'{"name": NaN}',
            b'{"name": ' + b"9" * 5000 + b"}",
        ],
        ids=lambda raw: repr(raw[:12]),
    )
    def test_a_body_that_is_no_json_is_refused(self, service: Service, raw: bytes) -> None:
        answer = service.http.put("/v1/tenants/acme", content=raw, headers=self.JSON)

        assert answer.status_code in (400, 422)
        self.is_refused(service, answer, answer.status_code)

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml", ""]
    )
    def test_a_body_of_another_kind_is_refused(self, service: Service, kind: str) -> None:
        raw = json.dumps({"database_name": "twenty_tenant_acme", "name": self.SECRET}).encode()

        answer = service.http.put("/v1/tenants/acme", content=raw, headers={"Content-Type": kind})

        assert answer.status_code in (415, 422)
        self.is_refused(service, answer, answer.status_code)

    def test_a_body_that_is_too_large_is_refused(self, service: Service) -> None:
        raw = json.dumps({"name": self.SECRET, "more": "x" * MOST_BYTES}).encode()

        self.is_refused(service, service.http.put("/v1/tenants/acme", content=raw, headers=self.JSON), 413)

    def test_also_one_without_a_length(self, service: Service) -> None:
        def pieces() -> Iterator[bytes]:
            yield b'{"name": "hunter2-canary'
            for _ in range(20):
                yield b"x" * (MOST_BYTES // 10)

        self.is_refused(service, service.http.put("/v1/tenants/acme", content=pieces(), headers=self.JSON), 413)

    @pytest.mark.parametrize(
        "slug", ["Acme", "-acme", "acme-", "a_b", "a.b", "x" * 64, "a%00b", "a%2Fb", "..", "%F0%9F%98%80", "a b"]
    )
    def test_a_slug_that_is_none_is_refused(self, service: Service, slug: str) -> None:
        answer = service.http.put(f"/v1/tenants/{slug}", json={"database_name": "twenty_tenant_acme"})

        assert answer.status_code in (404, 405, 422)
        self.is_refused(service, answer, answer.status_code)

    def is_refused(self, service: Service, answer: httpx.Response, status: int) -> None:
        problem(answer, status)
        assert self.SECRET not in answer.text
        assert service.tenants.requests() == 0
        assert service.tenants.row("twenty_tenant_acme") == {}


def test_while_the_ledger_is_away_callers_are_asked_to_come_again(sandbox_postgres: SandboxPostgres) -> None:
    with tenants_in(sandbox_postgres) as tenants:
        settings = tenants.settings()
        with serving(settings) as url, caller(url, key_of(settings)) as http:
            assert http.get("/v1/tenants").status_code == 200
            tenants.shut()
            for method, path in (
                ("GET", "/v1/tenants"),
                ("GET", "/v1/tenants/acme"),
                ("PUT", "/v1/tenants/acme"),
                ("POST", "/v1/tenants/acme/reconcile"),
            ):
                answer = http.request(method, path)
                problem(answer, 503)
                assert int(answer.headers["retry-after"]) >= 1
            tenants.open()
            answer = http.put("/v1/tenants/acme", json={"database_name": "twenty_tenant_acme"})
            assert answer.status_code == 202


# --- a whole sandbox: runs are real -------------------------------------------------------------------------------


class Manager:
    """A tenant manager before a sandbox in which each launched run is a real reconciliation."""

    def __init__(self, world: World, dagster: StandInDagster, http: httpx.Client) -> None:
        self.world, self.dagster, self.http = world, dagster, http

    def put(self, slug: str, wait: float = 0, **body: Any) -> httpx.Response:
        return self.http.put(f"/v1/tenants/{slug}", params={"wait": wait}, json=body or None)


@pytest.fixture(scope="module")
def managing() -> Iterator[Manager]:
    with small_world(tenants=1, members=2) as world, running_dagster() as (dagster, server):
        world.settings = world.settings.model_copy(update={"dagster_graphql_url": f"{server.url}/graphql"})
        with serving(world.settings) as url, caller(url, key_of(world.settings)) as http:
            yield Manager(world, dagster, http)


@pytest.fixture
def manager(managing: Manager) -> Manager:
    managing.dagster.forget()
    managing.dagster.work = reconciled_by(managing.world.settings)
    return managing


class TestForReal:
    """On one sandbox, in turn."""

    @pytest.mark.slow
    def test_a_new_tenant_becomes_ready_within_one_request(self, manager: Manager) -> None:
        world = manager.world
        added = world.sandbox.add_tenant("newcomer", members=2)
        registered = added.tenant
        world.registry("DELETE FROM tenant_registry WHERE slug = 'newcomer'")

        document = ready(
            manager.put(
                "newcomer",
                wait=60,
                name="Newcomer Ltd",
                database_name=registered.database_name,
                clerk_org_id=added.clerk_org_id,
                admin_email=added.admin_email,
            )
        )

        link = world.link("newcomer")
        (workspace,) = [found for found in world.workspaces() if found.id == document["workspace_id"]]
        assert (workspace.status, workspace.deleted) == ("ACTIVE", False)
        assert document["user_id"] == link["admin_user_id"]
        assert document["onboarding_status"] == "COMPLETED"
        seen = world.sees("newcomer")
        assert (seen["status"], seen["workspace_id"], seen["user_id"]) == (
            "COMPLETED",
            document["workspace_id"],
            document["user_id"],
        )
        assert {found["type"] for found in document["conditions"] if found["status"] == "True"} >= {
            "Ready",
            "WorkspaceReady",
            "MembersSynced",
            "OnboardingComplete",
            "LoginProved",
        }
        assert document["workspace_url"] == link["workspace_url"]

    @pytest.mark.slow
    def test_asked_again_it_is_the_same_tenant_and_nothing_begins(self, manager: Manager) -> None:
        world = manager.world
        (slug,) = world.registry("SELECT slug FROM tenant_registry WHERE slug <> 'newcomer'")[0]
        row = world.registry("SELECT database_name, clerk_org_id, name FROM tenant_registry WHERE slug = %s", slug)[0]
        calls = world.mutating_calls()

        first = ready(manager.put(slug, 30, database_name=row[0], clerk_org_id=row[1], name=row[2]))
        again = ready(manager.put(slug, 30))

        assert first == again
        assert first["workspace_id"] == world.link(slug)["workspace_id"]
        assert manager.dagster.runs == []
        assert world.mutating_calls() == calls
        assert world.link(slug)["marked_at"] is None

    @pytest.mark.slow
    def test_the_tenants_timeline_tells_who_asked(self, manager: Manager) -> None:
        (slug,) = manager.world.registry("SELECT slug FROM tenant_registry WHERE slug <> 'newcomer'")[0]

        document = ready(manager.put(slug, 60, name="Renamed by its manager"))

        runs = manager.world.registry(
            "SELECT run_id, trigger FROM provisioning.run WHERE run_id = %s", document["run_id"]
        )
        assert runs == [(document["run_id"], "tenant-manager")]
        assert manager.world.registry("SELECT name FROM tenant_registry WHERE slug = %s", slug) == [
            ("Renamed by its manager",)
        ]

    @pytest.mark.slow
    def test_the_admin_who_was_asked_for_becomes_admin_where_there_is_no_organization(self, manager: Manager) -> None:
        world = manager.world
        self.with_database(world, "twenty_tenant_lonely")

        document = ready(
            manager.put("lonely", 60, database_name="twenty_tenant_lonely", admin_email="Grace.Hopper@Lonely.Example")
        )

        assert world.link("lonely")["admin_email"] == "grace.hopper@lonely.example"
        assert world.sees("lonely")["user_id"] == document["user_id"]

    @pytest.mark.slow
    def test_the_admin_who_was_asked_for_is_preferred_among_the_organizations(self, manager: Manager) -> None:
        world = manager.world
        added = world.sandbox.add_tenant("council", members=2)
        second = added.tenant.members[1]
        world.sandbox.clerk.set_role(added.clerk_org_id, second.clerk_user_id, "org:admin")
        world.registry("DELETE FROM tenant_registry WHERE slug = 'council'")

        ready(
            manager.put(
                "council",
                60,
                database_name=added.tenant.database_name,
                clerk_org_id=added.clerk_org_id,
                admin_email=second.email,
            )
        )

        assert world.link("council")["admin_email"] == second.email

    @pytest.mark.slow
    def test_a_database_that_is_not_there_yet_is_told(self, manager: Manager) -> None:
        document = accepted(manager.put("early", 60, database_name="twenty_tenant_early"))

        assert (document["state"], document["waiting"]) == ("unwell", False)
        assert "DatabaseMissing" in {condition["reason"] for condition in document["conditions"]}
        self.with_database(manager.world, "twenty_tenant_early")

        document = ready(manager.put("early", 60, admin_email="ada@early.example"))

        assert document["user_id"] == manager.world.link("early")["admin_user_id"]

    @staticmethod
    def with_database(world: World, name: str) -> None:
        """What a tenant manager makes before or after it asks."""
        world.sandbox.postgres.create_database(name)


# --- who is to be admin -------------------------------------------------------------------------------------------

ANN = User("user_ann", "ann@acme.test", "Ann", "A", banned=False)
BOB = User("user_bob", "bob@acme.test", "Bob", "B", banned=False)
UNVERIFIED = User("user_eve", None, "Eve", "E", banned=False)
OLD_ANN, NEW_BOB, EVE = (
    Membership("user_ann", "org:admin", False, 1),
    Membership("user_bob", "org:admin", False, 2),
    Membership("user_eve", "org:admin", False, 0),
)
"""Ann has been an admin for longer than Bob, and Eve for longest."""


def chosen(*members: Membership, asked: str | None, organization: str | None = "org_1") -> Admin | AdminUnknown:
    people = {user.user_id: user for user in (ANN, BOB, UNVERIFIED)}
    return choose_admin(organization, "carol@acme.test", "Carol C", {"org_1": members}, people, "org:admin", asked)


@pytest.mark.parametrize(
    ("asked", "email"),
    [
        (None, "ann@acme.test"),
        ("ann@acme.test", "ann@acme.test"),
        ("bob@acme.test", "bob@acme.test"),
        ("nobody@acme.test", "ann@acme.test"),
        ("carol@acme.test", "ann@acme.test"),
    ],
)
def test_of_an_organizations_admins_the_one_who_was_asked_for_comes_first(asked: str | None, email: str) -> None:
    for members in ((OLD_ANN, NEW_BOB, EVE), (EVE, NEW_BOB, OLD_ANN)):
        found = chosen(*members, asked=asked)

        assert isinstance(found, Admin)
        assert found.email == email
        assert found.clerk_user_id is not None


def test_somebody_who_is_no_admin_there_does_not_become_one_by_being_asked_for() -> None:
    found = chosen(asked="mallory@elsewhere.test")

    assert isinstance(found, AdminUnknown)
    assert found.reason is Reason.ADMIN_UNKNOWN


def test_an_unverified_address_is_nobody() -> None:
    assert isinstance(chosen(EVE, asked=None), AdminUnknown)


@pytest.mark.parametrize(
    ("asked", "admin"),
    [
        (None, ("carol@acme.test", "Carol", "C")),
        ("carol@acme.test", ("carol@acme.test", "Carol", "C")),
        ("ada@acme.test", ("ada@acme.test", "", "")),
    ],
)
def test_without_an_organization_it_is_whoever_was_asked_for(asked: str | None, admin: tuple[str, str, str]) -> None:
    found = chosen(asked=asked, organization=None)

    assert isinstance(found, Admin)
    assert (found.email, found.first_name, found.last_name) == admin
