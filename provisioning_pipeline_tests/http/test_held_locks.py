"""Locks that somebody else holds: what needs one is told so, and nothing else is kept from its answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from provisioning_pipeline.ledger import registration
from provisioning_pipeline_tests.http.services import Service, accepted, problem
from provisioning_pipeline_tests.ledger.test_lock_holders import EARLIER, stranger

BODY = {"database_name": "twenty_tenant_beta", "name": "Beta"}


def test_a_stranger_who_may_only_connect_keeps_no_request_from_its_answer(service: Service) -> None:
    service.tenants.add("acme", ready=True)
    with stranger(service.tenants.postgres, service.tenants.name) as them:
        them.execute(EARLIER)
        them.execute("SELECT pg_advisory_lock(730155, hashtext('twenty_tenant_acme'))")
        accepted(service.put("beta", word="b-1", **BODY))
        accepted(service.put("acme", name="Renamed"))
        accepted(service.reconcile("acme"))
        assert service.get("beta").status_code == 200
        assert service.http.get("/v1/tenants").status_code == 200
        assert service.http.get("/healthz").status_code == 200


@contextmanager
def locked(service: Service, statement: str) -> Iterator[None]:
    """The tenant manager's own transaction, which takes its time."""
    tenants = service.tenants
    with tenants.postgres.connect(tenants.name) as other, other.transaction():
        other.execute(statement.encode())
        yield


def test_a_registry_that_is_locked_makes_registrations_wait_and_nothing_else(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "_LOCK_SECONDS", 0.2)
    service.tenants.add("acme", ready=True)
    with locked(service, "LOCK TABLE tenant_registry IN EXCLUSIVE MODE"), ThreadPoolExecutor(12) as pool:

        def put(number: int) -> str:
            return problem(service.put(f"beta{number}", database_name=f"twenty_tenant_beta{number}"), 503)

        asking = [pool.submit(put, number) for number in range(12)]
        while not all(future.done() for future in asking):
            assert service.get("acme").status_code == 200
        told = {future.result() for future in asking}
    assert all("changing the same rows or tables" in words or "ledger" in words for words in told)
    accepted(service.put("beta", **BODY))


@pytest.mark.slow
def test_one_ledger_row_that_is_locked_is_no_hung_ledger(service: Service) -> None:
    service.tenants.add("acme", ready=True)
    with locked(service, "SELECT * FROM provisioning.tenant_link FOR UPDATE"):
        # nobody else asks meanwhile, whose answer would show that the ledger is well
        problem(service.reconcile("acme"), 503)
        assert service.get("acme").status_code == 200
