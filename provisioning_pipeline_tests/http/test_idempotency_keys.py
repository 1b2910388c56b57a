"""`Idempotency-Key`: the same request again has one effect, also at the same time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest

from provisioning_pipeline_tests.http.services import Service, Tenants, accepted, caller, key_of, problem, ready


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
        others: list[Callable[[], httpx2.Response]] = [
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

        def ask() -> httpx2.Response:
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
        def ask(name: str) -> Callable[[], httpx2.Response]:
            return lambda: service.put("acme", word="a-1", **(self.BODY | {"name": name}))

        with together(service.tenants, ask("One"), ask("Other")) as asking:
            pass

        answers = [future.result() for future in asking]
        assert sorted(answer.status_code for answer in answers) == [202, 409]
        taken = next(name for name, answer in zip(("One", "Other"), answers, strict=True) if answer.status_code == 202)
        assert service.tenants.row("twenty_tenant_acme")["name"] == taken
        assert len(service.dagster.runs) == service.tenants.requests() == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["put", "reconcile"])
    def test_one_that_does_not_end_is_told_to_the_next(self, service: Service, kind: str) -> None:
        def ask() -> httpx2.Response:
            if kind == "put":
                return service.put("acme", word="a-1", **self.BODY)
            return service.reconcile("acme", word="a-1")

        if kind == "reconcile":
            service.tenants.add("acme")
        postgres, name = service.tenants.postgres, service.tenants.name
        with ThreadPoolExecutor(2) as pool, postgres.connect(name) as other, other.transaction():
            other.execute("LOCK TABLE provisioning.tenant_link IN SHARE ROW EXCLUSIVE MODE")
            asking = [pool.submit(ask) for _ in range(2)]
            answers = [future.result() for future in asking]

        assert len([told for told in (problem(answer, 503) for answer in answers) if "same request" in told]) == 1
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        assert service.tenants.requests() == 0
        accepted(ask())
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
def together(tenants: Tenants, *asks: Callable[[], httpx2.Response]) -> Iterator[list["Future[httpx2.Response]"]]:
    """All at once: none gets to store its request before all of them have come."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        " AND (query LIKE '%%provisioning.tenant_link%%' OR query LIKE '%%pg_advisory_xact_lock%%')"
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
