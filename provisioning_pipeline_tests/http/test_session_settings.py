"""What the settings change about sessions: what is remembered, how often, for which parties and issuers."""

import uuid

from provisioning_pipeline.sandbox.clerk import REMOVED
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.sessions import ROUTES, SESSION, SIGN_IN, VERIFY, lobby_in, must_pass, must_refuse


def test_without_parties_a_session_of_any_application_passes(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, clerk_authorized_parties=()) as lobby:
        acme = lobby.tenant("acme")
        user = lobby.member(acme)

        for party in ("https://other.example", REMOVED):
            must_pass(lobby.ask(VERIFY, lobby.token(acme, user, azp=party)), lobby, acme, user)


def test_what_is_remembered_of_one_serves_no_other(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, session_cache_seconds=300.0) as lobby:
        acme, beta = lobby.tenant("acme"), lobby.tenant("beta")
        ann, bob = lobby.member(acme), lobby.member(beta, role="org:admin")
        lobby.join(ann, beta, role="org:admin")
        for _ in range(3):
            for tenant, user in ((acme, ann), (beta, ann), (beta, bob)):
                must_pass(lobby.ask(VERIFY, lobby.token(tenant, user)), lobby, tenant, user)
                wrong = lobby.token(tenant, user, twenty_workspace_id=str(uuid.uuid4()))
                must_refuse(lobby.ask(VERIFY, wrong), 403, "workspace_claim_wrong")
                acting = lobby.ask(SESSION, lobby.token(tenant, user, act={"sub": "user_of_support"}))
                assert acting.json()["impersonator"] == "user_of_support"
            assert lobby.ask(SESSION, lobby.token(acme, ann)).json()["impersonator"] is None


def test_a_sign_in_asks_clerk_whatever_is_remembered(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, session_cache_seconds=300.0) as lobby:
        acme = lobby.tenant("acme")
        user = lobby.member(acme)
        must_pass(lobby.ask(VERIFY, lobby.token(acme, user)), lobby, acme, user)
        token = lobby.token(acme, user)
        lobby.clerk.remove_membership(acme.organization, user)

        must_refuse(lobby.ask(SIGN_IN, token), 403, "not_a_member")
        # and from then on nobody else believes the memory either
        must_refuse(lobby.ask(VERIFY, token), 403, "not_a_member")


def test_sign_ins_are_limited_for_each_member(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, sign_ins_per_minute=2) as lobby:
        acme = lobby.tenant("acme")
        ann, bob = lobby.member(acme), lobby.member(acme)
        for _ in range(2):
            must_pass(lobby.ask(SIGN_IN, lobby.token(acme, ann)), lobby, acme, ann)

        refused = lobby.ask(SIGN_IN, lobby.token(acme, ann))

        assert (refused.status_code, refused.headers["cache-control"]) == (429, "no-store")
        assert int(refused.headers["retry-after"]) >= 1
        must_pass(lobby.ask(SIGN_IN, lobby.token(acme, bob)), lobby, acme, bob)
        must_pass(lobby.ask(VERIFY, lobby.token(acme, ann)), lobby, acme, ann)


def test_without_issuers_no_session_is_accepted(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, clerk_issuers=()) as lobby:
        acme = lobby.tenant("acme")
        token = lobby.token(acme, lobby.member(acme))

        for route in ROUTES:
            must_refuse(lobby.ask(route, token), 503, None)
