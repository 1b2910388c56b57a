"""The login oracle: what every admin and, in turn, every member would see at a login, and what becomes of that."""

import asyncio
from typing import Any

import pytest

from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.observe import UnknownTenants
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.tasks.verify import TenantVerified, Verified, verify
from provisioning_pipeline_tests.world import World


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].faults.scripted.clear()
    return shared_world


def ready(world: World, slug: str, members: int = 2) -> str:
    world.sandbox.add_tenant(slug, members=members)
    world.apply(slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    return slug


def look(world: World, *tenants: str, **options: Any) -> Verified:
    return asyncio.run(verify(world.settings, tenants, **options))


def others(world: World, slug: str) -> list[str]:
    """The members besides the admin."""
    return sorted(set(world.members(slug)) - {world.link(slug)["admin_email"]})


def user_id(world: World, email: str) -> str:
    return str(world.twenty('SELECT id::text FROM core."user" WHERE email = %s', email)[0][0])


def proofs(world: World, slug: str) -> dict[str, str]:
    """E-mail → what the last real login saw, as the ledger keeps it."""
    rows = world.registry(
        "SELECT email, status FROM provisioning.login_proof WHERE database_name = %s AND proved_at <= now()",
        world.link(slug)["database_name"],
    )
    return {row[0]: row[1] for row in rows}


def make_pending(world: World, slug: str, email: str, key: str = "ONBOARDING_INSTALL_APPS_PENDING") -> None:
    world.twenty(
        'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) '
        "VALUES (%s, %s, %s, 'true', 'USER_VARIABLE') RETURNING id",
        key,
        user_id(world, email),
        world.link(slug)["workspace_id"],
    )


def condition_message(world: World, slug: str) -> str:
    rows = world.registry(
        "SELECT message FROM provisioning.condition WHERE database_name = %s AND type = 'LoginProved'",
        world.link(slug)["database_name"],
    )
    return str(rows[0][0])


def take_over(world: World, slug: str, user: str, email: str) -> None:
    world.registry(
        "INSERT INTO provisioning.taken_over_member (database_name, twenty_user_id, email, run_id) "
        "VALUES (%s, %s, %s, 'test') RETURNING email",
        world.link(slug)["database_name"],
        user,
        email,
    )


def cannot_come_in(world: World, slug: str, email: str) -> None:
    """Somebody taken over who is only half a member: with a membership, but without a member record."""
    user = world.twenty('INSERT INTO core."user" (email) VALUES (%s) RETURNING id::text', email)[0][0]
    world.twenty(
        'INSERT INTO core."userWorkspace" ("userId", "workspaceId") VALUES (%s, %s) RETURNING id',
        user,
        world.link(slug)["workspace_id"],
    )
    take_over(world, slug, user, email)


def whole(world: World, slug: str) -> set[str]:
    """The members who have a member record, and so a name there."""
    return {email for email, (_, name) in world.members(slug).items() if name}


# --- what is seen -------------------------------------------------------------------------------------------------


def test_everybody_who_comes_in_is_proved_and_nothing_is_changed(world: World) -> None:
    slug = ready(world, "all-well", members=3)
    before = world.conditions(slug)

    verified = look(world, slug)

    assert verified.all_proved
    assert not verified.broken
    assert {proof.email for proof in verified.proofs} == set(world.members(slug))
    assert {proof.status for proof in verified.proofs} == {"COMPLETED"}
    assert proofs(world, slug) == dict.fromkeys(world.members(slug), "COMPLETED")
    assert world.conditions(slug) == before


@pytest.mark.slow
def test_a_pending_step_is_named_and_the_tenant_is_not_ready_until_it_is_cleared(world: World) -> None:
    slug = ready(world, "stepped", members=3)
    someone = others(world, slug)[0]
    make_pending(world, slug, someone)

    verified = look(world, slug)

    (failure,) = verified.failures
    assert (failure.slug, failure.email, failure.reason) == (slug, someone, "WizardShows")
    assert "APPS_INSTALLATION" in failure.seen
    assert f"provisioning apply {slug}" in failure.advice
    assert proofs(world, slug)[someone] == "APPS_INSTALLATION"
    assert world.conditions(slug)["LoginProved"] == ("False", "WizardShows")
    assert world.conditions(slug)["Ready"] == ("False", "WizardShows")
    assert someone in condition_message(world, slug)

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert set(proofs(world, slug).values()) == {"COMPLETED"}
    assert look(world, slug).all_proved


@pytest.mark.slow
def test_a_tenant_that_failed_is_due_for_a_reconciliation_at_once(world: World) -> None:
    slug = ready(world, "due-soon")
    make_pending(world, slug, others(world, slug)[0])

    look(world, slug)

    link = world.link(slug)
    (due,) = world.registry(
        "SELECT NOT ready AND look_again_at <= now() FROM provisioning.tenant_link WHERE slug = %s", slug
    )
    assert due[0]
    assert link["attempts"] == 0


@pytest.mark.slow
def test_a_person_who_was_removed_in_twenty_is_refused_and_told_so(world: World) -> None:
    slug = ready(world, "removed-by-hand")
    someone = others(world, slug)[0]
    world.twenty('DELETE FROM core."userWorkspace" WHERE "userId" = %s RETURNING id', user_id(world, someone))

    (failure,) = look(world, slug).failures

    assert (failure.email, failure.reason) == (someone, "LoginRefused")
    assert "adds them again" in failure.advice
    assert proofs(world, slug)[someone] == "LoginRefused"
    assert world.conditions(slug)["Ready"] == ("False", "LoginRefused")


@pytest.mark.slow
def test_a_login_that_lands_in_another_workspace_is_no_proof(world: World) -> None:
    slug, other = ready(world, "right-door", members=1), ready(world, "wrong-door", members=1)
    both = world.sandbox.clerk.add_user("both@doors.example", first_name="Both", last_name="Doors")
    for tenant in (slug, other):
        world.sandbox.clerk.add_membership(world.organization(tenant), both.id)
    world.apply(slug, other)
    world.registry(
        "UPDATE provisioning.tenant_link SET workspace_url = %s WHERE slug = %s RETURNING slug",
        world.link(other)["workspace_url"],
        slug,
    )

    verified = look(world, slug)

    seen = {failure.email: failure.reason for failure in verified.failures}
    assert seen == {world.link(slug)["admin_email"]: "LoginRefused", "both@doors.example": "WrongWorkspace"}
    assert proofs(world, slug)["both@doors.example"] == "WrongWorkspace"
    assert "1 other login" in condition_message(world, slug)


@pytest.mark.slow
def test_a_workspace_that_was_deleted_since_lets_nobody_in(world: World) -> None:
    slug = ready(world, "deleted-since")
    world.twenty(
        'UPDATE core.workspace SET "deletedAt" = now() WHERE id = %s RETURNING id', world.link(slug)["workspace_id"]
    )

    verified = look(world, slug)

    assert {failure.reason for failure in verified.failures} == {"WorkspaceGone"}
    assert world.conditions(slug)["Ready"] == ("False", "WorkspaceGone")


@pytest.mark.slow
def test_somebody_with_a_password_of_their_own_is_looked_at_all_the_same(world: World) -> None:
    slug = ready(world, "own-password")
    someone = others(world, slug)[0]
    world.twenty(
        'UPDATE core."user" SET "passwordHash" = (SELECT "passwordHash" FROM core."user" WHERE email = %s) '
        "WHERE email = %s RETURNING id",
        world.link(slug)["admin_email"],
        someone,
    )

    verified = look(world, slug)

    assert verified.all_proved
    assert someone in {proof.email for proof in verified.proofs}


# --- whom it looks at ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_everybody_is_looked_at_in_turn_and_the_admin_each_time(world: World) -> None:
    slug = ready(world, "in-turn", members=7)
    admin = world.link(slug)["admin_email"]

    seen = [{proof.email for proof in look(world, slug, sample=2).proofs} for _ in range(3)]

    assert all(admin in people and len(people) == 3 for people in seen)
    assert set.union(*seen) == set(world.members(slug))
    assert look(world, slug, sample=0).proofs[0].email == admin


@pytest.mark.slow
def test_whoever_failed_is_looked_at_again_beyond_the_sample_and_makes_it_true_again(world: World) -> None:
    slug = ready(world, "comes-back", members=4)
    someone = others(world, slug)[0]
    make_pending(world, slug, someone)
    look(world, slug, sample=3)
    assert world.conditions(slug)["Ready"] == ("False", "WizardShows")
    world.twenty(
        'DELETE FROM core."keyValuePair" WHERE "userId" = %s AND key LIKE \'ONBOARDING%%\' RETURNING id',
        user_id(world, someone),
    )

    verified = look(world, slug, sample=0)

    assert {proof.email for proof in verified.proofs} == {world.link(slug)["admin_email"], someone}
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_what_no_login_made_false_no_login_makes_true(world: World) -> None:
    slug = ready(world, "no-new-admin")
    world.registry(
        "UPDATE provisioning.condition SET status = 'False', reason = 'ForeignPassword' "
        "WHERE type = 'LoginProved' AND database_name = %s RETURNING type",
        world.link(slug)["database_name"],
    )

    assert look(world, slug).all_proved

    assert world.conditions(slug)["LoginProved"] == ("False", "ForeignPassword")

    make_pending(world, slug, others(world, slug)[0])

    assert look(world, slug).failures
    assert world.conditions(slug)["LoginProved"] == ("False", "ForeignPassword")


@pytest.mark.slow
def test_proofs_of_people_who_left_are_forgotten(world: World) -> None:
    slug = ready(world, "has-left", members=3)
    someone = others(world, slug)[0]
    world.registry("DELETE FROM provisioning.member_link WHERE email = %s RETURNING email", someone)

    verified = look(world, slug)

    assert someone not in {proof.email for proof in verified.proofs}
    assert someone not in proofs(world, slug)


def test_a_name_that_nobody_has_is_refused(world: World) -> None:
    with pytest.raises(UnknownTenants, match="'nobody'"):
        look(world, "nobody")


@pytest.mark.slow
def test_a_tenant_that_is_set_aside_is_looked_at_neither_with_the_others_nor_by_name(world: World) -> None:
    slug = ready(world, "aside")
    world.registry("UPDATE tenant_registry SET status = 'suspended' WHERE slug = %s RETURNING slug", slug)
    world.apply(slug)

    (missed,) = look(world, slug).not_looked_at

    assert (missed.slug, missed.reason) == (slug, "TenantSuspended")
    assert world.link(slug)["database_name"] not in {proof.database_name for proof in look(world).proofs}


@pytest.mark.slow
def test_progress_counts_every_tenant_once(world: World) -> None:
    slugs = {ready(world, "counted-one"), ready(world, "counted-two")}
    told: list[tuple[TenantVerified, int]] = []

    look(world, *slugs, progress=lambda done, count: told.append((done, count)))

    assert {done.slug for done, _ in told} == slugs
    assert [count for _, count in told] == [2, 2]


# --- when nobody can look -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tenant_that_another_run_is_at_is_left_out_and_told(world: World) -> None:
    busy, free = ready(world, "busy-now"), ready(world, "free-now")
    database_name = world.link(busy)["database_name"]
    make_pending(world, busy, others(world, busy)[0])

    async def meanwhile() -> Verified:
        async with (
            connect(world.settings, dry_run=False) as connections,
            tenant_lock(connections.ledger.database, database_name, wait_seconds=5),
        ):
            return await verify(world.settings, [busy, free])

    verified = asyncio.run(meanwhile())

    (missed,) = verified.not_looked_at
    assert (missed.slug, missed.reason) == (busy, "TenantBusy")
    assert {proof.database_name for proof in verified.proofs} == {world.link(free)["database_name"]}
    assert not verified.broken
    assert world.conditions(busy)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_a_login_that_the_server_failed_at_says_nothing_about_the_tenant(world: World) -> None:
    slug = ready(world, "hiccup")
    world.sandbox.twenty[0].faults.scripted.append(ScriptedFault("currentUser", "error", times=8))

    verified = look(world, slug)

    assert [missed.slug for missed in verified.not_looked_at] == [slug]
    assert verified.failures == ()
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_a_server_that_is_away_stops_its_own_tenants_only() -> None:
    """It starts servers of its own."""
    servers = tuple(TwentyOptions(activation_seconds=0.0, workspace_limit=2) for _ in range(2))
    with Sandbox(SandboxOptions(tenants=4, members=1, twenty=servers)) as sandbox:
        world = World(sandbox)
        world.apply()
        names = [server.name for server in world.settings.servers]
        home = dict(world.registry("SELECT slug, server FROM provisioning.tenant_link"))
        sandbox.twenty[0].stop()

        verified = look(world)

        away = {slug for slug, server in home.items() if server == names[0]}
        assert {missed.slug for missed in verified.not_looked_at} == away
        assert {missed.reason for missed in verified.not_looked_at} == {"ServerUnreachable"}
        assert verified.tenants == len(home) - len(away)
        assert not verified.broken
        assert all(world.conditions(slug)["Ready"] == ("True", "AllTrue") for slug in home)

        assert look(world, *away).broken

        sandbox.twenty[0].start()
        assert look(world).all_proved


# --- in a reconciliation ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tenant_that_was_just_changed_is_proved_for_all_its_members(world: World) -> None:
    slug = ready(world, "just-changed", members=4)
    assert proofs(world, slug) == dict.fromkeys(world.members(slug), "COMPLETED")
    world.registry(
        "DELETE FROM provisioning.login_proof WHERE database_name = %s RETURNING email",
        world.link(slug)["database_name"],
    )
    new = world.sandbox.clerk.add_user("new@just-changed.example", first_name="New", last_name="Comer")
    world.sandbox.clerk.add_membership(world.organization(slug), new.id)

    world.apply(slug)

    assert "new@just-changed.example" in world.members(slug)
    assert proofs(world, slug) == dict.fromkeys(world.members(slug), "COMPLETED")


@pytest.mark.slow
def test_one_member_who_fails_hides_no_other(world: World) -> None:
    slug = ready(world, "hidden", members=3)
    for number in range(2):
        cannot_come_in(world, slug, f"nobody{number}@hidden.example")
    make_pending(world, slug, others(world, slug)[0])

    world.apply(slug)

    assert world.conditions(slug)["LoginProved"] == ("False", "LoginRefused")
    assert "@hidden.example is refused" in condition_message(world, slug)
    assert "1 other login" in condition_message(world, slug)
    assert proofs(world, slug) == {
        **dict.fromkeys(whole(world, slug), "COMPLETED"),
        "nobody0@hidden.example": "LoginRefused",
        "nobody1@hidden.example": "LoginRefused",
    }


@pytest.mark.slow
def test_a_run_that_changes_nothing_does_not_forget_who_failed(world: World) -> None:
    slug = ready(world, "still-failing")
    cannot_come_in(world, slug, "nobody@still-failing.example")
    look(world, slug, sample=2)

    world.apply(slug)

    assert world.conditions(slug)["LoginProved"] == ("False", "LoginRefused")

    world.registry("DELETE FROM provisioning.taken_over_member WHERE email LIKE %s RETURNING email", "%still-failing%")
    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert set(proofs(world, slug)) == whole(world, slug)
