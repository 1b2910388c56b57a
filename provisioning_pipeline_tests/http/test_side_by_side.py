"""A server that was started before an upgrade answers as before while runs of the new version use the ledger."""

import pytest

from provisioning_pipeline_tests.http.api import Api
from provisioning_pipeline_tests.http.fleet import Fleet, membership_event
from provisioning_pipeline_tests.http.sessions import VERIFY, Lobby, Tenant, must_pass

UPGRADED = """
UPDATE provisioning.alembic_version SET version_num = '0999';
ALTER TABLE provisioning.tenant_link ADD COLUMN of_later text;
CREATE TABLE provisioning.of_later (id bigint)
"""
"""What a later version does to a ledger: it only adds."""


@pytest.mark.own_ledger
def test_webhooks_reports_and_readiness_go_on(fleet: Fleet, api: Api) -> None:
    before = api.http.get("/readyz").json()
    fleet.sql(UPGRADED)
    assert api.http.get("/readyz").json() == before
    assert before["checks"]["ledger"] == "ok"
    assert api.deliver(membership_event("created", "org_1", "user_1")) == 204
    assert fleet.marked() == ["acme"]
    assert api.http.get("/reports/latest").status_code == 404


def test_sessions_pass_as_before(lobby: Lobby, acme: Tenant) -> None:
    (revision,) = lobby.fleet.sql("SELECT version_num FROM provisioning.alembic_version")[0]
    lobby.fleet.sql("UPDATE provisioning.alembic_version SET version_num = '0999'")
    try:
        member = lobby.member(acme)
        must_pass(lobby.ask(VERIFY, lobby.token(acme, member)), lobby, acme, member)
    finally:
        lobby.fleet.sql("UPDATE provisioning.alembic_version SET version_num = %s", revision)
