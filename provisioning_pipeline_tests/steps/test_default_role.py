"""Whoever joins holds the role that they are to have, whatever the customer made the workspace's default role."""

from typing import Any

import pytest

from provisioning_pipeline_tests.steps.killed import run_killed_at
from provisioning_pipeline_tests.steps.test_half_members import message, table
from provisioning_pipeline_tests.steps.test_members import nothing_to_do, outcomes, people, ready
from provisioning_pipeline_tests.world import World


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].faults.scripted.clear()
    return shared_world


def role_id(world: World, slug: str, label: str) -> Any:
    """The id of a role of the tenant's workspace."""
    workspace = world.link(slug)["workspace_id"]
    return world.twenty('SELECT id FROM core.role WHERE "workspaceId" = %s AND label = %s', workspace, label)[0][0]


def set_default(world: World, slug: str, label: str) -> None:
    """The customer's admin chooses another default role."""
    world.twenty(
        'UPDATE core.workspace SET "defaultRoleId" = %s WHERE id = %s RETURNING id',
        role_id(world, slug, label),
        world.link(slug)["workspace_id"],
    )


def default(world: World, slug: str) -> str:
    """The label of the default role now."""
    query = 'SELECT r.label FROM core.workspace w JOIN core.role r ON r.id = w."defaultRoleId" WHERE w.id = %s'
    return str(world.twenty(query, world.link(slug)["workspace_id"])[0][0])


def arrives(world: World, slug: str, name: str, role: str = "org:member") -> str:
    """Somebody new at Clerk; their e-mail."""
    email = f"{name}@{slug}.example"
    user = world.sandbox.clerk.add_user(email, first_name=name.title(), last_name="Comer")
    world.sandbox.clerk.add_membership(world.organization(slug), user.id, role)
    return email


def watch_roles(world: World, slug: str) -> None:
    """Write down every role that anybody of the workspace is given from now on, at the moment when they are."""
    world.twenty(
        """
        CREATE TABLE IF NOT EXISTS core.role_given (email text, label text);
        DELETE FROM core.role_given;
        CREATE OR REPLACE FUNCTION core.write_role_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO core.role_given SELECT u.email, r.label FROM core."userWorkspace" uw
            JOIN core."user" u ON u.id = uw."userId" JOIN core.role r ON r.id = NEW."roleId"
            WHERE uw.id = NEW."userWorkspaceId"; RETURN NEW; END $$;
        DROP TRIGGER IF EXISTS watch ON core."roleTarget";
        CREATE TRIGGER watch AFTER INSERT OR UPDATE ON core."roleTarget"
            FOR EACH ROW EXECUTE FUNCTION core.write_role_down();
        SELECT 1
        """
    )


def roles_ever(world: World, email: str) -> list[str]:
    """The roles that this person has held since `watch_roles`, in order."""
    return [row[0] for row in world.twenty("SELECT label FROM core.role_given WHERE email = %s", email)]


@pytest.mark.slow
def test_with_admin_as_default_a_new_member_is_never_admin_and_the_default_stays_theirs(world: World) -> None:
    slug = ready(world, "admin-default", members=1)
    set_default(world, slug, "Admin")
    watch_roles(world, slug)
    email = arrives(world, slug, "new")
    boss = arrives(world, slug, "boss", "org:admin")

    applied = world.apply(slug)

    assert roles_ever(world, email) == ["Member"]
    assert roles_ever(world, boss) == ["Admin"]
    assert outcomes(applied, "demote member") == []
    assert default(world, slug) == "Admin"
    assert world.link(slug)["default_role_before"] is None
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_a_half_member_who_is_mended_is_never_admin_either(world: World) -> None:
    slug = ready(world, "admin-mended", members=2)
    second = people(world, slug)[1].lower()
    set_default(world, slug, "Admin")
    watch_roles(world, slug)
    world.twenty(f'DELETE FROM {table(world, slug)} WHERE "userEmail" = %s RETURNING id', second)

    world.apply(slug)

    assert roles_ever(world, second) == ["Member"]
    assert default(world, slug) == "Admin"
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_nobody_joins_while_the_role_that_they_are_to_have_is_not_there(world: World) -> None:
    slug = ready(world, "no-such-role", members=1)
    set_default(world, slug, "Admin")
    roles = {"org:admin": "Admin", "org:sales": "Salesperson"}
    email = arrives(world, slug, "seller", "org:sales")
    other = arrives(world, slug, "other")

    world.apply(slug, member_roles=roles)

    assert email not in world.members(slug)
    assert world.members(slug)[other][0] == "Member"
    assert world.conditions(slug)["MembersSynced"] == ("False", "RoleUnknown")
    assert f"Seller Comer ({email}) in the workspace of {slug}" in message(world, slug)
    assert nothing_to_do(world, slug, member_roles=roles)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("boundary", ["signUpInWorkspace", "updateWorkspace", "updateWorkspaceMemberSettings"])
def test_a_run_that_was_killed_leaves_the_default_lent_only_until_the_next(
    world: World, boundary: str, when: Any
) -> None:
    slug = ready(world, f"lent-{len(boundary)}-{when}", members=1)
    set_default(world, slug, "Admin")
    watch_roles(world, slug)
    email = arrives(world, slug, "new")

    assert run_killed_at(world.sandbox.environment(), slug, boundary, when).killed
    # whatever else is due by then: also when the person has left again
    world.apply(slug)

    assert set(roles_ever(world, email)) == {"Member"}
    assert default(world, slug) == "Admin"
    assert world.link(slug)["default_role_before"] is None
    assert world.members(slug)[email] == ("Member", "New Comer")
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_a_default_that_a_crash_left_lent_is_given_back_while_nothing_else_is_due(world: World) -> None:
    slug = ready(world, "left-lent", members=1)
    world.registry(
        "UPDATE provisioning.tenant_link SET default_role_before = %s WHERE slug = %s RETURNING slug",
        role_id(world, slug, "Admin"),
        slug,
    )

    world.apply()

    assert default(world, slug) == "Admin"
    assert world.link(slug)["default_role_before"] is None
    set_default(world, slug, "Member")
    assert nothing_to_do(world, slug)
