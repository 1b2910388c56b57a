"""Which tenant a session leads to, whom it leads nowhere, and in which headers that is told."""

from collections.abc import Callable
from urllib.parse import unquote

import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.sessions import (
    NO_TWENTY,
    SESSION,
    SIGN_IN,
    VERIFY,
    Lobby,
    Route,
    Tenant,
    every_route,
    lobby_in,
    must_pass,
    must_refuse,
)

READING = (VERIFY, SESSION)


def other_tenant_suspended(lobby: Lobby) -> Tenant:
    return lobby.tenant("gone", status="suspended")


def upper_case_status(lobby: Lobby) -> Tenant:
    return lobby.tenant("gone", status="Deleted")


def unknown_organization(lobby: Lobby) -> Tenant:
    made = lobby.tenant("unknown")
    forget(lobby, made)
    return made


def registered_alone(lobby: Lobby) -> Tenant:
    made = lobby.tenant("registered")
    lobby.fleet.sql("DELETE FROM provisioning.tenant_link WHERE database_name = %s", made.database_name)
    return made


def registered_and_suspended(lobby: Lobby) -> Tenant:
    made = lobby.tenant("registered", status="cancelled")
    lobby.fleet.sql("DELETE FROM provisioning.tenant_link WHERE database_name = %s", made.database_name)
    return made


def not_made_yet(lobby: Lobby) -> Tenant:
    return lobby.tenant("unmade", made=False)


def workspace_gone(lobby: Lobby) -> Tenant:
    made = lobby.tenant("lost")
    lobby.condition(made, "WorkspaceReady", "False", "WorkspaceGone")
    return made


def tenant_gone(lobby: Lobby) -> Tenant:
    made = lobby.tenant("vanished")
    lobby.condition(made, "Ready", "False", "TenantGone")
    return made


def tenant_suspended(lobby: Lobby) -> Tenant:
    made = lobby.tenant("vanished")
    lobby.condition(made, "Ready", "Unknown", "TenantSuspended")
    return made


def claimed_by_another(lobby: Lobby) -> Tenant:
    made, other = lobby.tenant("disputed"), lobby.tenant("rival")
    lobby.fleet.sql(
        "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s", made.organization, other.database_name
    )
    return made


def moved_by_the_registrys_owner(lobby: Lobby) -> Tenant:
    """Taken out of its row and written into another one's; no run has read it yet."""
    made = claimed_by_another(lobby)
    lobby.fleet.sql("UPDATE tenant_registry SET clerk_org_id = NULL WHERE database_name = %s", made.database_name)
    lobby.fleet.sql(
        "UPDATE provisioning.tenant_link SET organization_named = true WHERE database_name = %s", made.database_name
    )
    return made


def claims_another(lobby: Lobby) -> Tenant:
    made, other = lobby.tenant("disputed"), lobby.tenant("rival")
    lobby.fleet.sql(
        "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s", other.organization, made.database_name
    )
    return made


def registered_twice(lobby: Lobby) -> Tenant:
    made, other = lobby.tenant("disputed"), lobby.tenant("rival")
    lobby.register(made, organization=other.organization)
    return made


def forget(lobby: Lobby, tenant: Tenant) -> None:
    lobby.fleet.sql("DELETE FROM provisioning.tenant_link WHERE database_name = %s", tenant.database_name)
    lobby.fleet.sql("DELETE FROM tenant_registry WHERE database_name = %s", tenant.database_name)


NOWHERE: dict[Callable[[Lobby], Tenant], str] = {
    other_tenant_suspended: "tenant_suspended",
    upper_case_status: "tenant_suspended",
    registered_and_suspended: "tenant_suspended",
    tenant_gone: "tenant_suspended",
    tenant_suspended: "tenant_suspended",
    unknown_organization: "no_workspace",
    registered_alone: "workspace_not_ready",
    not_made_yet: "workspace_not_ready",
    workspace_gone: "workspace_not_ready",
    claimed_by_another: "organization_disputed",
    moved_by_the_registrys_owner: "organization_disputed",
    claims_another: "organization_disputed",
    registered_twice: "organization_disputed",
}


@every_route
@pytest.mark.parametrize(("arrange", "code"), NOWHERE.items(), ids=[one.__name__ for one in NOWHERE])
def test_a_session_that_leads_nowhere(
    lobby: Lobby, route: Route, arrange: Callable[[Lobby], Tenant], code: str
) -> None:
    tenant = arrange(lobby)
    known = lobby.fleet.sql("SELECT 1 FROM provisioning.tenant_link WHERE database_name = %s", tenant.database_name)
    user = lobby.member(tenant, linked=bool(known))

    answer = lobby.ask(route, lobby.token(tenant, user))

    must_refuse(answer, 403, code)
    names = lobby.fleet.sql("SELECT slug FROM provisioning.tenant_link UNION SELECT slug FROM tenant_registry")
    told = answer.text + str(answer.headers)
    assert not [name for (name,) in names if name in told]
    assert "org_" not in told


@pytest.mark.parametrize("route", READING, ids=lambda route: route[1])
def test_a_session_of_another_tenant(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    beta = lobby.tenant("beta")
    good = lobby.token(acme, ann)
    refusals = []

    for tenant in (beta.slug, beta.database_name, "nobody", "", acme.slug.upper(), f"{acme.slug} ", acme.organization):
        answer = lobby.ask(route, good, query={"tenant": tenant})
        must_refuse(answer, 403, "other_tenant")
        refusals.append(answer.json()["detail"])

    # whether there is such a tenant is none of the caller's business
    assert len(set(refusals)) == 1
    for tenant in (acme.slug, acme.database_name):
        must_pass(lobby.ask(route, good, query={"tenant": tenant}), lobby, acme, ann)


@every_route
@pytest.mark.parametrize("gone", ["removed", "banned", "deleted"])
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "not linked"])
def test_somebody_who_is_gone_from_clerk(lobby: Lobby, acme: Tenant, route: Route, gone: str, linked: bool) -> None:
    user = lobby.member(acme, linked=linked)
    token = lobby.token(acme, user)
    if gone == "removed":
        lobby.clerk.remove_membership(acme.organization, user)
    elif gone == "banned":
        lobby.clerk.ban_user(user)
    else:
        lobby.clerk.delete_user(user)

    answer = lobby.ask(route, token)

    must_refuse(answer, 403, "not_a_member")
    assert acme.slug not in answer.text + str(answer.headers)
    assert acme.workspace_id not in answer.text + str(answer.headers)


def test_an_organization_that_was_deleted_at_clerk_signs_nobody_in(lobby: Lobby) -> None:
    acme = lobby.tenant("acme")
    linked, unlinked = lobby.member(acme), lobby.member(acme, linked=False)
    tokens = [lobby.token(acme, user) for user in (linked, unlinked)]
    lobby.clerk.delete_organization(acme.organization)

    for token in tokens:
        answer = lobby.ask(SIGN_IN, token)

        assert answer.status_code in (403, 503)
        assert NO_TWENTY not in answer.text, "it was let through to Twenty"


def test_a_member_whom_no_backfill_has_reached(lobby: Lobby, acme: Tenant) -> None:
    user = lobby.member(acme, linked=False)
    token = lobby.token(acme, user)

    must_refuse(lobby.ask(VERIFY, token), 403, "member_not_linked")
    told = lobby.ask(SESSION, token)
    assert (told.status_code, told.json()["twenty_user_id"], told.json()["tenant"]) == (200, None, acme.slug)


ODD_NAMES = ["łódź", "a\r\nX-Twenty-Role: Admin\r\nX-Evil: 1", "a\nb", "ärzte", "a b", "100%25", "日本"]


@pytest.mark.parametrize("slug", ODD_NAMES, ids=ascii)
def test_names_that_no_header_can_carry(lobby: Lobby, slug: str) -> None:
    acme = lobby.tenant("acme")
    user = lobby.member(acme)
    lobby.fleet.sql("UPDATE provisioning.tenant_link SET slug = %s WHERE database_name = %s", slug, acme.database_name)
    token = lobby.token(acme, user)

    answer = lobby.ask(VERIFY, token)

    assert answer.status_code == 200
    assert answer.headers.get_list("X-Tenant")[0].isascii()
    assert [unquote(value) for value in answer.headers.get_list("X-Tenant")] == [slug]
    assert answer.headers.get_list("X-Twenty-Role") == ["Member"]
    assert "X-Evil" not in answer.headers
    assert lobby.ask(SESSION, token).json()["tenant"] == slug


def test_a_role_that_no_header_can_carry(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, member_default_role="Członek zespołu") as lobby:
        acme = lobby.tenant("acme")
        token = lobby.token(acme, lobby.member(acme))

        answer = lobby.ask(VERIFY, token)

        assert answer.status_code == 200
        assert unquote(answer.headers["X-Twenty-Role"]) == "Członek zespołu"
        assert lobby.ask(SESSION, token).json()["role"] == "Członek zespołu"


def test_a_row_of_another_tenant_locks_nobody_out_whom_the_ledger_linked_first(lobby: Lobby) -> None:
    """The tenant's own row names no organization, as where it was found by its slug or its metadata."""
    tenant, other = lobby.tenant("silent"), lobby.tenant("rival")
    set_organization = "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s"
    lobby.fleet.sql(set_organization, None, tenant.database_name)
    lobby.fleet.sql(set_organization, tenant.organization, other.database_name)

    user = lobby.member(tenant)
    must_pass(lobby.ask(VERIFY, lobby.token(tenant, user)), lobby, tenant, user)
