"""Sessions while the registry has lost rows: one that was taken away ends them at once, a lost table ends nobody's."""

import re
import uuid
from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.api import api_to
from provisioning_pipeline_tests.http.services import Service
from provisioning_pipeline_tests.http.sessions import (
    VERIFY,
    Lobby,
    Tenant,
    lobby_in,
    must_pass,
    must_refuse,
    session_settings,
)


@pytest.fixture
def lobby(sandbox_postgres: SandboxPostgres) -> Iterator[Lobby]:
    with lobby_in(sandbox_postgres) as made:
        yield made


def seen(lobby: Lobby, tenant: Tenant, user: str) -> int | str:
    """What the gateway is answered: 200, or the code of the refusal."""
    answer = lobby.ask(VERIFY, lobby.token(tenant, user))
    return 200 if answer.status_code == 200 else str(answer.json().get("code", answer.status_code))


def test_a_registry_that_is_empty_for_a_moment_ends_nobodys_session_and_lets_no_suspended_one_in(lobby: Lobby) -> None:
    fine, told, untold, gone = (lobby.tenant(slug) for slug in ("fine", "told", "untold", "gone"))
    people = {tenant.slug: lobby.member(tenant) for tenant in (fine, told, untold, gone)}
    lobby.condition(told, "Ready", "False", "TenantSuspended")
    # suspended since the last run: the HTTP API alone has seen it
    lobby.fleet.sql("UPDATE tenant_registry SET status = ' Suspended ' WHERE slug = %s", untold.slug)
    lobby.fleet.sql("DELETE FROM tenant_registry WHERE slug = %s", gone.slug)
    before = {tenant.slug: seen(lobby, tenant, people[tenant.slug]) for tenant in (fine, told, untold, gone)}
    assert before == {fine.slug: 200} | dict.fromkeys((told.slug, untold.slug, gone.slug), "tenant_suspended")
    # a run has settled that this one's row was taken away
    lobby.condition(gone, "Ready", "False", "RegistryRowGone")
    lobby.fleet.sql("CREATE TABLE kept AS SELECT * FROM tenant_registry; TRUNCATE tenant_registry")

    assert {tenant.slug: seen(lobby, tenant, people[tenant.slug]) for tenant in (fine, told, untold, gone)} == before

    lobby.fleet.sql("INSERT INTO tenant_registry SELECT * FROM kept")
    assert {tenant.slug: seen(lobby, tenant, people[tenant.slug]) for tenant in (fine, told, untold, gone)} == before
    lobby.fleet.sql("UPDATE tenant_registry SET status = 'active' WHERE slug = %s", untold.slug)
    assert seen(lobby, untold, people[untold.slug]) == 200


@pytest.mark.slow
def test_a_registry_whose_rows_are_hidden_suspends_nobody(lobby: Lobby, sandbox_postgres: SandboxPostgres) -> None:
    acme, role = lobby.tenant("acme"), f"reader_{uuid.uuid4().hex[:8]}"
    ann = lobby.member(acme)
    lobby.fleet.sql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'reader'; GRANT ALL ON tenant_registry TO {role};"
        f"GRANT USAGE ON SCHEMA provisioning TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA provisioning TO {role};"
        "ALTER TABLE tenant_registry ENABLE ROW LEVEL SECURITY"
    )
    url = re.sub("//.*@", f"//{role}:reader@", lobby.fleet.url)
    settings = session_settings(lobby.fleet, lobby.clerk, registry_url=url)
    try:
        with api_to(settings) as api:
            hidden = Lobby(lobby.fleet, lobby.clerk, lobby.other_clerk, api)
            must_refuse(hidden.ask(VERIFY, lobby.token(acme, ann)), 503, None)
            lobby.fleet.sql(f"CREATE POLICY all_of_it ON tenant_registry TO {role} USING (true)")
            must_pass(hidden.ask(VERIFY, lobby.token(acme, ann)), lobby, acme, ann)
    finally:
        lobby.fleet.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_no_tenant_is_registered_in_a_registry_that_has_lost_its_rows(service: Service) -> None:
    for slug in ("ann", "bob"):
        assert service.put(slug, database_name=f"twenty_tenant_{slug}").status_code == 202
    service.tenants.sql("UPDATE provisioning.tenant_link SET registered_at = now()")
    service.tenants.sql("DELETE FROM tenant_registry")
    for slug in ("ann", "new"):
        answer = service.put(slug, database_name=f"twenty_tenant_{slug}")
        assert answer.status_code == 409
        assert "provisioning apply --approve" in answer.json()["detail"]
    assert service.tenants.sql("SELECT * FROM tenant_registry") == []
