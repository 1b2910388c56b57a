"""What services are refused is kept: each kind once an hour, with how often, and never more than so much."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from provisioning_pipeline.http import refusals as keeping
from provisioning_pipeline.ledger.api_keys import refusals
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.model.api_key import Reach, Refusals, Scope, key_id_of, new_key
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.logs import lines_logged
from provisioning_pipeline_tests.http.services import Tenants, caller, key_of, serving, tenants_in


@pytest.fixture(scope="module")
def shared(sandbox_postgres: SandboxPostgres) -> Iterator[Tenants]:
    with tenants_in(sandbox_postgres) as made:
        made.add("acme", "org_1", ready=True)
        yield made


@pytest.fixture
def tenants(shared: Tenants) -> Tenants:
    """Nothing was refused yet."""
    shared.sql("TRUNCATE provisioning.refusal")
    return shared


def kept(tenants: Tenants, **wanted: Any) -> list[Refusals]:
    """What is in the ledger, once the server has ended."""

    async def read() -> list[Refusals]:
        async with ledger_database(tenants.settings(), read_only=True) as database:
            return await refusals(database, most=1000, **wanted)

    return asyncio.run(read())


def test_each_refusal_says_whose_it_was_what_was_asked_and_why(tenants: Tenants) -> None:
    settings = tenants.settings(key_requests_per_minute=100)
    wide, narrow = key_of(settings), key_of(settings, scopes={Scope.READ}, reach=Reach(tenant="acme"))
    with lines_logged() as lines, serving(settings) as url:
        with caller(url, narrow, **{"X-Request-Id": "told-1"}) as http:
            assert http.put("/v1/tenants/acme").status_code == 403
            assert http.get("/v1/tenants/other").status_code == 404
            assert http.get("/metrics").status_code == 403
        with caller(url, wide) as http:
            for _ in range(3):
                body = {"database_name": "twenty_tenant_evil", "clerk_org_id": "org_1"}
                assert http.put("/v1/tenants/evil", json=body).status_code == 409
            assert http.put("/v1/tenants/evil", json={"database_name": "postgres"}).status_code == 422
            assert http.get("/v1/tenants/nobody").status_code == 404
        with caller(url, wrong := new_key()[1]) as http:
            assert http.get("/v1/tenants").status_code == 401

    found = kept(tenants)
    assert {
        (one.kind.reason, one.kind.status, one.kind.api_key_id, one.kind.route, one.kind.tenant, one.times)
        for one in found
    } == {
        ("scope_missing", 403, key_id_of(narrow), "PUT /v1/tenants/{slug}", "acme", 1),
        ("out_of_reach", 403, key_id_of(narrow), "GET /metrics", "", 1),
        ("organization_taken", 409, key_id_of(wide), "PUT /v1/tenants/{slug}", "evil", 3),
        ("not_a_tenant_database", 422, key_id_of(wide), "PUT /v1/tenants/{slug}", "evil", 1),
        ("wrong_key", 401, "", "GET /v1/tenants", "", 1),
    }
    assert {one.kind.address for one in found} == {"127.0.0.1"}
    assert {one.request_id for one in kept(tenants, key_id=key_id_of(narrow))} == {"told-1"}
    (taken,) = [one for one in found if one.kind.reason == "organization_taken"]
    assert "org_1 is tenant acme's" in taken.detail
    told = str(found)
    for key in (wide, narrow, wrong):
        assert key.split("_", 2)[2] not in told
    assert any("'refused': 'organization_taken'" in line for line in lines)


def test_a_tenant_that_is_out_of_reach_is_kept_as_that_and_answered_as_none(tenants: Tenants) -> None:
    settings = tenants.settings()
    key = key_of(settings, reach=Reach(tenant_prefix="eu-"))
    with serving(settings) as url, caller(url, key) as http:
        answers = [http.get(f"/v1/tenants/{name}").json() for name in ("acme", "nobody")]

    assert [answer | {"request_id": ""} for answer in answers] == [answers[0] | {"request_id": ""}] * 2
    assert "code" not in answers[0]
    (one,) = kept(tenants)
    assert (one.kind.reason, one.kind.status, one.kind.tenant) == ("out_of_reach", 404, "acme")


def test_who_asks_for_much_fills_no_disk(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_MOST_KINDS_OF_ONE", 3)
    monkeypatch.setattr(keeping, "_MOST_KINDS", 5)
    settings = tenants.settings()
    keys = [key_of(settings, scopes={Scope.READ}) for _ in range(4)]
    with serving(settings) as url:
        for key in keys:
            with caller(url, key) as http:
                for number in range(10):
                    assert http.put(f"/v1/tenants/x{number}\N{RIGHT-TO-LEFT OVERRIDE}").status_code == 403

    found = kept(tenants)
    assert sum(one.times for one in found) == 40
    # of the first key three kinds and the rest together; of all keys five, and the rest of all together
    assert len(found) == 6
    (rest,) = [one for one in found if not one.kind.api_key_id]
    assert (rest.kind.address, rest.kind.tenant, rest.kind.reason) == ("", "", "scope_missing")
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in str(found)


def test_a_ledger_that_takes_nothing_keeps_nobody_from_an_answer(sandbox_postgres: SandboxPostgres) -> None:
    with tenants_in(sandbox_postgres) as tenants:
        settings = tenants.settings()
        key = key_of(settings, scopes={Scope.READ})
        with lines_logged() as lines, serving(settings) as url, caller(url, key) as http:
            # its use is noted once a minute: that was done before
            assert http.get("/v1/tenants").status_code == 200
            tenants.sql("ALTER TABLE provisioning.refusal RENAME TO elsewhere")
            for _ in range(5):
                assert http.put("/v1/tenants/acme").status_code == 403
            tenants.sql("ALTER TABLE provisioning.elsewhere RENAME TO refusal")

        # those that it did not take are written at the end
        assert [one.times for one in kept(tenants)] == [5]
        assert any("does not take what services were refused" in line for line in lines)
