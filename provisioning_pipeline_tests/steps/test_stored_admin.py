"""The stored admin of a tenant is followed, replaced or told, whatever happens at Clerk, in Twenty or the registry."""

from typing import Any

import pytest

from provisioning_pipeline_tests.world import World, browser, login_of, read

REMOVE: dict[str, Any] = {"members_gone": "remove"}


pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("organization", [True, False])
def test_a_stored_admin_who_was_made_member_and_whom_nobody_names_is_told(world: World, organization: bool) -> None:
    slug = ready(world, f"nameless-{organization}".lower())
    first, second = people(world, slug)
    becomes_admin(world, slug, first, "org:member")
    world.apply(slug)
    # the only admin of the workspace keeps the role, until the customer takes it away in Twenty
    assert world.conditions(slug)["MembersSynced"] == ("False", "LastAdminKept")
    made_member_in_twenty(world, slug, first)

    world.apply(slug)

    assert world.conditions(slug)["LoginProved"] == ("False", "AdminUnknown")
    becomes_admin(world, slug, second)
    world.apply(slug)
    settled(world, slug, second)


def test_an_admin_whom_the_registry_names_anew_takes_the_place_of_the_old_one(world: World) -> None:
    slug = ready(world, "renamed-admin", organization=False)
    before = world.link(slug)["admin_email"]
    world.registry(
        "UPDATE global_users SET email = 'heir@renamed-admin.example' WHERE email = %s RETURNING email", before
    )

    world.apply(slug)

    assert world.link(slug)["admin_email"] == "heir@renamed-admin.example"
    assert {role for role, _ in world.members(slug).values()} == {"Admin"}
    assert world.apply(slug).summary.actions == 0


def test_another_organization_in_the_registry_brings_its_own_admin(world: World) -> None:
    slug, other = ready(world, "moved-org"), "moved-to"
    before, _ = people(world, slug)
    world.sandbox.add_tenant(other, members=2)
    organization = world.organization(other)
    world.registry(
        "UPDATE tenant_registry SET status = 'deleted', clerk_org_id = NULL WHERE slug = %s RETURNING slug", other
    )
    world.registry("UPDATE tenant_registry SET clerk_org_id = %s WHERE slug = %s RETURNING slug", organization, slug)
    heir, _ = people(world, slug)

    for _ in range(2):
        world.apply(slug, members_gone="remove", harm_share=1.0)

    assert before not in world.members(slug)
    settled(world, slug, heir, members_gone="remove", harm_share=1.0)


def test_an_admin_who_signed_up_again_with_the_same_address_stays_the_admin(world: World) -> None:
    slug = ready(world, "anew")
    first, _ = people(world, slug)
    account, clerk = world.link(slug)["admin_user_id"], world.sandbox.clerk
    clerk.delete_user(world.clerk_user(first))
    again = clerk.add_user(first, first_name="Back", last_name="Again")
    clerk.add_membership(world.organization(slug), again.id, "org:admin")

    world.apply(slug, **REMOVE)

    assert world.link(slug)["admin_user_id"] == account
    settled(world, slug, first, **REMOVE)


def test_two_admins_who_swap_their_addresses_stay_who_they_are(world: World) -> None:
    slug = ready(world, "swapped")
    first, second = people(world, slug)
    becomes_admin(world, slug, second)
    world.apply(slug)
    before = world.members(slug)
    state = world.sandbox.clerk.state
    one, two = (state.user(world.clerk_user(email)) for email in (first, second))
    one.emails[0].email, two.emails[0].email = two.emails[0].email, one.emails[0].email

    world.apply(slug, **REMOVE)

    assert world.members(slug) == before
    assert world.conditions(slug)["MembersSynced"] == ("False", "EmailChanged")
    assert world.link(slug)["admin_email"] == first


def test_a_locked_admin_stays_and_a_banned_one_is_replaced(world: World) -> None:
    slug = ready(world, "lock-and-ban")
    first, second = people(world, slug)
    world.sandbox.clerk.lock_user(world.clerk_user(first))
    assert world.apply(slug, **REMOVE).summary.actions == 0
    world.sandbox.clerk.ban_user(world.clerk_user(first))
    becomes_admin(world, slug, second)

    for _ in range(2):
        world.apply(slug, members_gone="remove", harm_share=1.0)

    assert list(world.members(slug)) == [second]
    settled(world, slug, second, **REMOVE)


def test_a_workspace_without_any_admin_gets_its_own_back(world: World) -> None:
    slug = ready(world, "headless")
    first, second = people(world, slug)
    becomes_admin(world, slug, second)
    world.apply(slug)
    for email in (first, second):
        made_member_in_twenty(world, slug, email)

    world.apply(slug)

    assert {role for role, _ in world.members(slug).values()} == {"Admin"}
    settled(world, slug, first)


@pytest.mark.parametrize("how", ["soft", "hard"])
def test_an_admin_without_a_member_record_is_made_whole(world: World, how: str) -> None:
    slug = ready(world, f"recordless-{how}")
    first, _ = people(world, slug)
    workspace = world.link(slug)["workspace_id"]
    schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace)[0][0]
    record = member_record(world, slug, first)
    change = (
        f'UPDATE "{schema}"."workspaceMember" SET "deletedAt" = now()'
        if how == "soft"
        else f'DELETE FROM "{schema}"."workspaceMember"'
    )
    world.twenty(f"{change} WHERE id = %s RETURNING id", record)

    world.apply(slug)

    settled(world, slug, first)


def test_an_admin_whose_account_is_marked_as_deleted_by_sql_is_told_or_comes_back(world: World) -> None:
    slug = ready(world, "marked-account")
    account = world.link(slug)["admin_user_id"]
    world.twenty('UPDATE core."user" SET "deletedAt" = now() WHERE id = %s RETURNING id', account)

    world.apply(slug)

    assert is_ready(world, slug) or world.conditions(slug)["LoginProved"][1] != "LoginRefused"


def test_an_admin_who_changed_their_address_in_twenty_is_proved_by_the_new_one(world: World) -> None:
    slug = ready(world, "new-address", organization=False)
    first, new = world.link(slug)["admin_email"], "renamed@new-address.example"
    world.twenty('UPDATE core."user" SET email = %s WHERE email = %s RETURNING id', new, first)
    workspace = world.link(slug)["workspace_id"]
    world.twenty(
        'INSERT INTO core."keyValuePair" ("userId", "workspaceId", key, value, type) SELECT NULL, %s, '
        "'ONBOARDING_INVITE_TEAM_PENDING', 'true', 'USER_VARIABLE' RETURNING id",
        workspace,
    )

    world.apply(slug)

    assert world.conditions(slug)["LoginProved"] == ("True", "LoginCompleted")
    assert world.link(slug)["admin_email"] == new
    assert list(world.members(slug)) == [new]
