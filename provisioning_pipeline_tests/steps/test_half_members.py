"""Half members: whoever has a membership without a living record is whole after the next run, and no rows pile up."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.tasks.verify import verify
from provisioning_pipeline_tests.steps.test_members import (
    REMOVE,
    join,
    leave,
    nothing_to_do,
    outcomes,
    people,
    ready,
    sign_up,
)
from provisioning_pipeline_tests.world import World

RUNS = 10


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].faults.scripted.clear()
    return shared_world


# --- breaking it --------------------------------------------------------------------------------------------------


def table(world: World, slug: str) -> str:
    """The workspace's own member table."""
    workspace = world.link(slug)["workspace_id"]
    schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace)[0][0]
    return f'"{schema}"."workspaceMember"'


def delete(world: World, slug: str, email: str) -> None:
    world.twenty(f'DELETE FROM {table(world, slug)} WHERE "userEmail" = %s RETURNING id', email)


def mark_deleted(world: World, slug: str, email: str) -> None:
    world.twenty(f'UPDATE {table(world, slug)} SET "deletedAt" = now() WHERE "userEmail" = %s RETURNING id', email)


BREAK: dict[str, Callable[[World, str, str], None]] = {"deleted for good": delete, "marked as deleted": mark_deleted}
every_break = pytest.mark.parametrize("broken", BREAK)


def memberships(world: World, slug: str) -> int:
    """All rows of core."userWorkspace" of the workspace, retired ones included."""
    workspace = world.link(slug)["workspace_id"]
    return int(world.twenty('SELECT count(*) FROM core."userWorkspace" WHERE "workspaceId" = %s', workspace)[0][0])


def message(world: World, slug: str, type_: str = "MembersSynced") -> str:
    name = world.link(slug)["database_name"]
    found = world.registry(
        "SELECT message FROM provisioning.condition WHERE database_name = %s AND type = %s", name, type_
    )
    return str(found[0][0])


def assert_whole(world: World, slug: str, email: str, role: str) -> None:
    assert world.members(slug)[email][0] == role
    assert world.sees_as(slug, email)["status"] == "COMPLETED"
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug)


# --- ours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["marked as deleted", pytest.param("deleted for good", marks=pytest.mark.slow)])
def test_a_broken_record_of_a_member_is_noticed_while_nothing_else_is_due_and_mended(world: World, broken: str) -> None:
    slug = ready(world, f"member-{broken.split()[0]}", members=2)
    second = people(world, slug)[1].lower()
    name = world.members(slug)[second][1]
    BREAK[broken](world, slug, second)

    assert "mend half member" in {str(change) for change in world.plan(slug).tenants[0].changes}
    world.apply()

    assert world.members(slug)[second] == ("Member", name)
    assert_whole(world, slug, second, "Member")


@pytest.mark.slow
@every_break
def test_the_admin_comes_in_again_as_admin(world: World, broken: str) -> None:
    slug = ready(world, f"admin-{broken.split()[0]}", members=2)
    admin = people(world, slug)[0].lower()
    BREAK[broken](world, slug, admin)

    world.apply(slug)

    assert_whole(world, slug, admin, "Admin")


@pytest.mark.slow
@every_break
def test_the_admin_of_a_tenant_without_an_organization_comes_in_again(world: World, broken: str) -> None:
    slug = f"alone-{broken.split()[0]}"
    world.sandbox.add_tenant(slug, members=1)
    world.registry(
        "UPDATE tenant_registry SET clerk_org_id = NULL, admin_user_id = (SELECT id FROM global_users LIMIT 1) "
        "WHERE slug = %s RETURNING slug",
        slug,
    )
    world.apply(slug)
    admin = world.link(slug)["admin_email"]
    assert admin
    BREAK[broken](world, slug, admin)

    world.apply(slug)

    assert_whole(world, slug, admin, "Admin")


@pytest.mark.slow
@every_break
def test_our_own_account_comes_in_again_as_admin_and_does_what_is_due(world: World, broken: str) -> None:
    slug = ready(world, f"service-{broken.split()[0]}", members=2)
    service = world.settings.servers[0].service_email
    BREAK[broken](world, slug, service)
    new = world.sandbox.clerk.add_user(f"new@{slug}.example", first_name="New", last_name="Person")
    world.sandbox.clerk.add_membership(world.organization(slug), new.id)

    world.apply(slug)

    assert world.members(slug)[f"new@{slug}.example"] == ("Member", "New Person")
    server = world.sandbox.twenty[0]
    assert server.mails == []
    assert_whole(world, slug, f"new@{slug}.example", "Member")


@pytest.mark.slow
@every_break
def test_a_half_member_who_left_at_clerk_is_out_all_the_same(world: World, broken: str) -> None:
    slug = ready(world, f"half-gone-{broken.split()[0]}", members=3)
    third = people(world, slug)[2]
    BREAK[broken](world, slug, third.lower())
    leave(world, slug, third)

    applied = world.apply(slug, **REMOVE)

    (proof,) = outcomes(applied, "remove member")
    assert "a new login is refused" in proof
    workspace = world.link(slug)["workspace_id"]
    living = world.twenty(
        'SELECT u.email FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId" '
        'WHERE uw."workspaceId" = %s AND uw."deletedAt" IS NULL',
        workspace,
    )
    assert third.lower() not in {email for (email,) in living}
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug, **REMOVE)


@pytest.mark.slow
def test_a_removed_person_whose_record_is_only_marked_as_deleted_joins_again(world: World) -> None:
    slug = ready(world, "came-back", members=2)
    second = people(world, slug)[1].lower()
    mark_deleted(world, slug, second)
    workspace = world.link(slug)["workspace_id"]
    world.twenty(
        'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "workspaceId" = %s AND "userId" = '
        '(SELECT id FROM core."user" WHERE email = %s) RETURNING id',
        workspace,
        second,
    )

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert world.sees_as(slug, second)["status"] == "COMPLETED"
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_an_old_member_with_a_password_of_their_own_keeps_role_and_password(world: World) -> None:
    slug = ready(world, "own-password", members=2)
    email, password = "old.hand@own-password.example", "Their0wn-Password!"
    workspace = world.link(slug)["workspace_id"]
    invite_hash = world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', workspace)[0][0]
    join(world, email, password, invite_hash)
    user = world.sandbox.clerk.add_user(email, first_name="Old", last_name="Hand")
    world.sandbox.clerk.add_membership(world.organization(slug), user.id)
    world.apply(slug)
    rows = memberships(world, slug)
    delete(world, slug, email)

    world.apply(slug)

    assert world.members(slug)[email] == ("Member", "Old Hand")
    assert memberships(world, slug) == rows
    assert world.sandbox.twenty[0].mails == []
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_a_record_without_any_name_gets_the_name_that_clerk_has(world: World) -> None:
    slug = ready(world, "nameless", members=2)
    second = people(world, slug)[1].lower()
    name = world.members(slug)[second][1]
    world.twenty(
        f"""UPDATE {table(world, slug)} SET "nameFirstName" = '', "nameLastName" = '' WHERE "userEmail" = %s
            RETURNING id""",
        second,
    )

    applied = world.apply(slug)

    assert len(outcomes(applied, "set name")) == 1
    assert world.members(slug)[second] == ("Member", name)
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_somebody_elses_half_membership_is_not_ours_to_mend(world: World) -> None:
    slug = ready(world, "strangers", members=1)
    workspace = world.link(slug)["workspace_id"]
    invite_hash = world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', workspace)[0][0]
    join(world, "guest@strangers.example", "Guest-Passw0rd!", invite_hash)
    delete(world, slug, "guest@strangers.example")

    assert nothing_to_do(world, slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_a_verification_says_that_the_next_run_mends_it(world: World) -> None:
    slug = ready(world, "verified", members=2)
    second = people(world, slug)[1].lower()
    delete(world, slug, second)

    (failure,) = asyncio.run(verify(world.settings, [slug])).failures

    assert failure.email == second
    assert (failure.seen.endswith("The next run mends that."), failure.advice) == (
        True,
        f"`provisioning apply {slug}` does it now.",
    )


# --- what cannot be mended ----------------------------------------------------------------------------------------


def in_the_way(world: World, slug: str) -> str:
    """Somebody new at Clerk whose e-mail a deleted record of another account holds."""
    email = f"late@{slug}.example"
    world.twenty(
        f'INSERT INTO {table(world, slug)} ("userId", "userEmail", "nameFirstName", "nameLastName", "deletedAt")'
        " VALUES (gen_random_uuid(), %s, 'Some', 'Body', now()) RETURNING id",
        email,
    )
    belongs(world, slug, email)
    return email


def belongs(world: World, slug: str, email: str) -> None:
    user = world.sandbox.clerk.add_user(email, first_name="Late", last_name="Comer")
    world.sandbox.clerk.add_membership(world.organization(slug), user.id)


def half_and_in_the_way(world: World, slug: str) -> str:
    """The same, and a join of old has left a membership besides."""
    email = in_the_way(world, slug)
    sign_up(world, email, derived_password(world.settings.member_password_key, email).get_secret_value())
    world.twenty(
        'INSERT INTO core."userWorkspace" ("userId", "workspaceId") SELECT id, %s FROM core."user" WHERE email = %s'
        " RETURNING id",
        world.link(slug)["workspace_id"],
        email,
    )
    return email


def no_record_is_made(world: World, slug: str) -> str:
    """Twenty makes the membership and fails at the record, every time."""
    email = f"late@{slug}.example"
    world.twenty(
        f"""
        CREATE FUNCTION core.refuse_{slug.replace("-", "_")}() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'unique_violation'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON {table(world, slug)}
            FOR EACH ROW EXECUTE FUNCTION core.refuse_{slug.replace("-", "_")}();
        SELECT 1
        """
    )
    belongs(world, slug, email)
    return email


@pytest.mark.slow
@pytest.mark.parametrize(
    ("breaks", "reason", "told", "most"),
    [
        (in_the_way, "HalfMember", "marked as deleted, which does not free the e-mail", 0),
        (half_and_in_the_way, "HalfMember", "marked as deleted, which does not free the e-mail", 0),
        (no_record_is_made, "HalfMember", "Look into Twenty's server log", 3),
    ],
)
def test_what_nobody_may_mend_is_told_the_others_join_and_rows_do_not_pile_up(
    world: World, breaks: Callable[[World, str], str], reason: str, told: str, most: int
) -> None:
    slug = ready(world, f"stuck-{breaks.__name__.replace('_', '-')}"[:30], members=2)
    email = breaks(world, slug)
    if breaks is not no_record_is_made:
        belongs(world, slug, f"fine@{slug}.example")
    world.apply(slug)
    rows = memberships(world, slug)

    for _ in range(RUNS - 1):
        world.apply(slug)

    assert memberships(world, slug) <= rows + max(0, most - 1)
    assert world.conditions(slug)["MembersSynced"] == ("False", reason)
    assert f"Late Comer ({email}) in the workspace of {slug}" in message(world, slug)
    assert told in message(world, slug)
    if breaks is not no_record_is_made:
        assert world.sees_as(slug, f"fine@{slug}.example")["status"] == "COMPLETED"
    assert nothing_to_do(world, slug)


@pytest.mark.slow
@every_break
def test_without_the_right_to_write_the_person_and_the_grant_are_told_and_rows_do_not_pile_up(
    world: World, broken: str
) -> None:
    slug = ready(world, f"no-grant-{broken.split()[0]}", members=2)
    second = people(world, slug)[1].lower()
    BREAK[broken](world, slug, second)
    rows = memberships(world, slug)
    settings = reading_only(world)

    for _ in range(RUNS):
        world.apply(slug, **settings)

    assert memberships(world, slug) == rows
    assert world.conditions(slug)["MembersSynced"] == ("False", "HalfMember")
    told = message(world, slug)
    assert second in told
    assert 'Grant our user UPDATE ("deletedAt") ON ' in told
    world.apply(slug)
    assert_whole(world, slug, second, "Member")


def reading_only(world: World) -> dict[str, Any]:
    """Settings under which Twenty's database is read by somebody who may write nothing."""
    server = world.sandbox.twenty[0]
    name = server.database_url.rsplit("/", 1)[1]
    port = world.sandbox.postgres.port
    if not world.sandbox.postgres.execute("postgres", "SELECT 1 FROM pg_roles WHERE rolname = 'only_reads'"):
        world.sandbox.postgres.execute(
            "postgres", "CREATE ROLE only_reads LOGIN PASSWORD 'c4nary' IN ROLE pg_read_all_data"
        )
    return {"twenty_database_url": f"postgresql://only_reads:c4nary@127.0.0.1:{port}/{name}"}
