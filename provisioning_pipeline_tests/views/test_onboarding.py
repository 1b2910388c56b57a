"""The part of a plan that is about onboarding, and what is told of proofs."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from provisioning_pipeline.model.change import ADOPT_DATABASE, Change
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.onboarding import Level
from provisioning_pipeline.model.tenant import AdminUnknown, Plan, Tenant, TenantPlan
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, REMOVE_MEMBER, SET_ROLE, STORE_AT_CLERK
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, REMOVE_ROWS
from provisioning_pipeline.steps.workspaces.changes import (
    ACTIVATE_WORKSPACE,
    ADD_ADMIN,
    ADOPT_WORKSPACE,
    CREATE_WORKSPACE,
)
from provisioning_pipeline.views.fleet import every_server
from provisioning_pipeline.views.onboarding_tables import (
    LoginProof,
    LoginProofs,
    OnboardingNow,
    PendingRow,
    counted,
    login_proofs,
    onboarding_in,
    onboarding_part,
)
from provisioning_pipeline_tests.undoing import Site

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ACTIVE = is_true(ConditionType.WORKSPACE_READY, Reason.WORKSPACE_ACTIVE, "The workspace is active.")
CLEARED = is_true(ConditionType.ONBOARDING_COMPLETE, Reason.STEPS_CLEARED, "Nothing is pending.")
TO_BE_SYNCED = is_false(ConditionType.MEMBERS_SYNCED, Reason.WAITING, "1 member of it is to be set right by this run.")


def entry(slug: str, *changes: Change, workspace_id: str | None = "w") -> TenantPlan:
    return TenantPlan(
        tenant=Tenant(f"db_{slug}", slug, slug),
        changes=changes,
        adopt=ADOPT_DATABASE in changes,
        server="eu",
        subdomains=(),
        workspace_id=workspace_id,
        admin=AdminUnknown(Reason.WAITING, ""),
        conditions=(ACTIVE, TO_BE_SYNCED),
    )


def test_only_what_is_about_onboarding_is_done() -> None:
    whole = entry(
        "acme",
        ADOPT_DATABASE,
        ADD_ADMIN,
        ADD_MEMBER,
        REMOVE_MEMBER,
        STORE_AT_CLERK,
        CLEAR_ONBOARDING,
        REMOVE_ROWS,
        PROVE_LOGIN,
    )

    (found,) = onboarding_part(Plan((whole,))).plan.tenants

    assert found.changes == (CLEAR_ONBOARDING, REMOVE_ROWS, PROVE_LOGIN)
    assert not found.adopt
    # it says what this run would do for members
    assert found.conditions == (ACTIVE,)


@pytest.mark.parametrize("change", [CREATE_WORKSPACE, ADOPT_WORKSPACE, ACTIVATE_WORKSPACE])
@pytest.mark.parametrize("workspace_id", [None, "w"])
def test_a_tenant_whose_workspace_is_still_to_be_made_is_told_and_left_alone(
    change: Change, workspace_id: str | None
) -> None:
    found = onboarding_part(Plan((entry("acme", change, CLEAR_ONBOARDING, workspace_id=workspace_id),)))

    assert (found.plan.tenants, found.without_workspace) == ((), ("acme",))


def test_tenants_at_rest_or_with_other_work_are_counted_and_nothing_is_done_for_them() -> None:
    rest, busy = entry("acme"), entry("zeta", SET_ROLE)
    rows_read = tuple(replace(one, conditions=(*one.conditions, CLEARED)) for one in (rest, busy))

    found = onboarding_part(Plan((*rows_read, entry("away"))))

    assert [one.tenant.slug for one in found.plan.tenants] == ["acme", "zeta", "away"]
    assert found.plan.work == ()
    assert all(one.conditions == () for one in found.plan.tenants)
    assert (found.nothing_pending, found.not_looked_at, found.without_workspace) == (("acme", "zeta"), ("away",), ())


def test_no_mark_is_cleared_and_nothing_waits() -> None:
    whole = Plan((entry("acme", CLEAR_ONBOARDING),), looked_at=NOW, asked=("acme",), waiting="p1", notes=("n",))

    found = onboarding_part(whole).plan

    assert replace(found, tenants=whole.tenants) == replace(whole, looked_at=None, waiting=None, notes=())


def test_rows_are_counted_by_server_step_level_and_whose_they_are_the_most_first() -> None:
    one = PendingRow("eu", "ONBOARDING_A_PENDING", Level.WORKSPACE, None, "w", "acme", ours=True)
    other = PendingRow("us", "ONBOARDING_A_PENDING", Level.USER, "u", None, None, ours=False)

    assert counted([one, other, other]) == [
        ("us", "ONBOARDING_A_PENDING", "user", False, 2),
        ("eu", "ONBOARDING_A_PENDING", "workspace", True, 1),
    ]


def test_the_oldest_proof_of_an_admin_is_not_that_of_a_member() -> None:
    def proof(slug: str, hours: int, *, admin: bool) -> LoginProof:
        return LoginProof(slug, f"x@{slug}.example", "COMPLETED", NOW - timedelta(hours=hours), admin)

    proofs = (proof("acme", 1, admin=True), proof("zeta", 2, admin=True), proof("acme", 9, admin=False))

    oldest = LoginProofs(proofs, (), NOW).oldest_of_admin
    assert oldest is not None
    assert oldest.slug == "zeta"
    assert LoginProofs((), (), NOW).oldest_of_admin is None


def onboarding_of(site: Site) -> tuple[OnboardingNow, LoginProofs]:
    """What is pending there, and what real logins saw."""

    async def look() -> tuple[OnboardingNow, LoginProofs]:
        async with connect(site.settings(), dry_run=True) as connections:
            return await onboarding_in(await every_server(connections), connections), await login_proofs(connections)

    return asyncio.run(look())


@pytest.mark.parametrize("ledger", [True, False])
def test_before_the_first_run_nothing_is_pending_and_nothing_proved(
    sandbox_postgres: SandboxPostgres, ledger: bool
) -> None:
    site = Site(sandbox_postgres)
    if not ledger:
        sandbox_postgres.execute(site.registry, "DROP SCHEMA provisioning CASCADE")

    found, proofs = onboarding_of(site)
    assert (found.pending, found.statuses, found.shown, found.unread) == ((), {}, (), {})
    assert (proofs.proofs, proofs.unproved) == ((), ())


def test_a_tenant_that_is_set_aside_is_no_part_of_it(sandbox_postgres: SandboxPostgres) -> None:
    site = Site(sandbox_postgres)
    for slug in ("acme", "zeta"):
        tenant = site.tenant(slug, site.server)
        admin = tenant.workspace.users[0]
        sandbox_postgres.execute(
            site.registry,
            "UPDATE provisioning.tenant_link SET server = 'twenty', subdomain = slug, workspace_id = %s, "
            "admin_user_id = %s WHERE slug = %s RETURNING 1",
            [tenant.workspace.id, admin, slug],
        )
        # the next tenant's people have addresses of their own
        sandbox_postgres.execute(site.server, "UPDATE core.\"user\" SET email = id || '@one.example' RETURNING 1")
    sandbox_postgres.execute(
        site.registry,
        "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id) "
        "SELECT database_name, 'Ready', 'False', 'TenantSuspended', '', 'r1' FROM provisioning.tenant_link "
        "WHERE slug = 'zeta' RETURNING 1",
    )

    found, proofs = onboarding_of(site)
    assert {one.slug for one in found.shown} == {"acme"}
    assert {row.slug for row in found.pending} == {"acme", None}
    # the admin is ours, the other member nobody linked
    assert [row.ours for row in found.pending].count(True) == 2
    assert found.statuses == {"SYNC_EMAIL": 1, "PROFILE_CREATION": 1}
    assert proofs.unproved == ("acme",)
