"""The stored admin of a tenant is followed, replaced or told, whatever happens at Clerk, in Twenty or the registry."""

from typing import Any

import pytest

from provisioning_pipeline_tests.world import World, browser, login_of, read

REMOVE: dict[str, Any] = {"members_gone": "remove"}


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].faults.scripted.clear()
    shared_world.sandbox.clerk.faults.scripted.clear()
    return shared_world


def ready(world: World, slug: str, members: int = 2, *, organization: bool = True) -> str:
    world.sandbox.add_tenant(slug, members=members)
    if not organization:
        world.registry("UPDATE tenant_registry SET clerk_org_id = NULL WHERE slug = %s RETURNING slug", slug)
    world.apply(slug)
    if organization:
        assert is_ready(world, slug), world.conditions(slug)
    return slug


def is_ready(world: World, slug: str) -> bool:
    return world.conditions(slug)["Ready"] == ("True", "AllTrue")


def people(world: World, slug: str) -> list[str]:
    """E-mails of the organization's members, its admin first."""
    state = world.sandbox.clerk.state
    ordered = sorted(state.members_of(world.organization(slug)), key=lambda member: member.created_at)
    return [str(state.user(member.user_id).primary_email).lower() for member in ordered]


def leaves(world: World, slug: str, email: str) -> None:
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(email))


def becomes_admin(world: World, slug: str, email: str, role: str = "org:admin") -> None:
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(email), role)


def call_as_admin(world: World, slug: str, document: str, variables: dict[str, Any]) -> None:
    """A call by the service account, as a customer's administrator would make it by hand."""
    server, service = world.sandbox.twenty[0], world.settings.servers[0]
    url = world.link(slug)["workspace_url"]
    with browser(server) as http:
        token = login_of(http, service.service_email, service.service_password.get_secret_value(), url)
        read(http, document, variables, token)


def member_record(world: World, slug: str, email: str) -> str:
    workspace = world.link(slug)["workspace_id"]
    schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace)[0][0]
    rows = world.twenty(
        f'SELECT m.id::text FROM "{schema}"."workspaceMember" m JOIN core."user" u ON u.id = m."userId" '
        "WHERE u.email = %s",
        email,
    )
    return str(rows[0][0])


def removed_in_twenty(world: World, slug: str, email: str) -> None:
    """As `MembersGone` advises."""
    document = "mutation($i:String!){deleteUserFromWorkspace(workspaceMemberIdToDelete:$i){id}}"
    call_as_admin(world, slug, document, {"i": member_record(world, slug, email)})


def made_member_in_twenty(world: World, slug: str, email: str) -> None:
    workspace = world.link(slug)["workspace_id"]
    (role,) = world.twenty("SELECT id::text FROM core.role WHERE \"workspaceId\" = %s AND label = 'Member'", workspace)[
        0
    ]
    document = "mutation($m:UUID!,$r:UUID!){updateWorkspaceMemberRole(workspaceMemberId:$m,roleId:$r){id}}"
    call_as_admin(world, slug, document, {"m": member_record(world, slug, email), "r": role})


def settled(world: World, slug: str, admin: str, **settings: Any) -> None:
    """Ready, with that admin, and nothing to do."""
    assert is_ready(world, slug), world.conditions(slug)
    link = world.link(slug)
    assert link["admin_email"] == admin
    assert world.members(slug)[admin][0] == "Admin"
    seen = world.sees(slug)
    assert (seen["status"], seen["user_id"]) == ("COMPLETED", link["admin_user_id"])
    world.sandbox.reset_counters()
    assert world.apply(slug, **settings).summary.actions == 0
    assert world.mutating_calls() == 0


def test_the_only_admin_left_and_was_removed_in_twenty_before_another_was_named(world: World) -> None:
    slug = ready(world, "late-heir")
    first, second = people(world, slug)
    leaves(world, slug, first)
    world.apply(slug)
    removed_in_twenty(world, slug, first)
    world.apply(slug)
    assert world.conditions(slug)["LoginProved"] == ("False", "AdminUnknown")

    becomes_admin(world, slug, second)
    world.apply(slug)

    settled(world, slug, second)


def test_a_stored_admin_whose_account_was_deleted_comes_back_and_is_followed(world: World) -> None:
    slug = ready(world, "fresh-account")
    first, _ = people(world, slug)
    before = world.link(slug)["admin_user_id"]
    removed_in_twenty(world, slug, first)
    assert world.twenty('SELECT "deletedAt" IS NULL FROM core."user" WHERE id = %s', before) == [(False,)]

    world.apply(slug)

    assert world.link(slug)["admin_user_id"] != before
    settled(world, slug, first)


@pytest.mark.parametrize("organization", [True, False])
def test_a_stored_admin_who_was_made_member_in_twenty_is_admin_again(world: World, organization: bool) -> None:
    slug = ready(world, f"lowered-{organization}".lower(), organization=organization)
    admin = world.link(slug)["admin_email"]
    made_member_in_twenty(world, slug, admin)
    assert world.members(slug)[admin][0] == "Member"

    world.apply(slug)

    assert world.members(slug)[admin][0] == "Admin"
