"""The claim `twenty_workspace_id`: the right one passes, any other is refused and told as drift."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.views.tenant_timeline import timeline
from provisioning_pipeline_tests.http.sessions import VERIFY, Lobby, Route, Tenant, every_route, must_pass, must_refuse


@every_route
def test_a_claim_of_the_right_workspace(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    for claim in (acme.workspace_id, acme.workspace_id.upper()):
        must_pass(lobby.ask(route, lobby.token(acme, ann, twenty_workspace_id=claim)), lobby, acme, ann)


WRONG_CLAIMS = {
    "another tenant's": lambda other: other.workspace_id,
    "nobody's": lambda _: str(uuid.uuid4()),
    "a template that Clerk did not fill in": lambda _: "{{org.public_metadata.twenty_workspace_id}}",
    "a number": lambda _: 7251983,
    "empty": lambda _: "",
    "an object": lambda _: {"id": "canary-claim"},
    "false": lambda _: False,
}


@every_route
@pytest.mark.parametrize("claim", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_a_claim_of_another_workspace(lobby: Lobby, route: Route, claim: Callable[[Tenant], Any]) -> None:
    acme, beta = lobby.tenant("acme"), lobby.tenant("beta")
    user = lobby.member(acme)
    value = claim(beta)

    answer = lobby.ask(route, lobby.token(acme, user, twenty_workspace_id=value))

    must_refuse(answer, 403, "workspace_claim_wrong")
    told = answer.text + str(answer.headers)
    assert beta.slug not in told
    assert str(value) not in told or value in ("", False)
    kept = drifts(lobby, acme)
    assert len(kept) == 1
    assert str(value) not in kept[0] or value in ("", False)
    assert drifts(lobby, beta) == []


def test_the_drift_is_in_the_timeline_once(lobby: Lobby) -> None:
    acme, user = lobby.tenant("acme"), None
    user = lobby.member(acme)

    def refused() -> None:
        wrong = lobby.token(acme, user, twenty_workspace_id=str(uuid.uuid4()))
        must_refuse(lobby.ask(VERIFY, wrong), 403, "workspace_claim_wrong")

    for _ in range(3):
        refused()
    (once,) = drifts(lobby, acme)

    assert user in once
    assert acme.workspace_id in once
    assert [line for line in told_of(lobby, acme) if "twenty_workspace_id" in line]
    assert acme.database_name in lobby.fleet.marked()


def drifts(lobby: Lobby, tenant: Tenant) -> list[str]:
    rows = lobby.fleet.sql("SELECT detail FROM provisioning.drift WHERE database_name = %s", tenant.database_name)
    return [row[0] for row in rows]


def told_of(lobby: Lobby, tenant: Tenant) -> list[str]:
    """The tenant's timeline."""

    async def read() -> list[str]:
        async with ledger_database(lobby.fleet.settings(), read_only=True) as ledger:
            found = await timeline(ledger, tenant.database_name)
        assert found is not None
        return [event.what for event in found.events]

    return asyncio.run(read())
