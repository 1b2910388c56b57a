"""Addresses prove nothing at Twenty: a stranger who is there first under an address gets nothing that is its owner's.

Mallory is an admin of a workspace of her own on the same server, and has a workspace's invite link from her time there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.sandbox.twenty.versions import Version
from provisioning_pipeline_tests.http.services import caller, serving
from provisioning_pipeline_tests.http.sign_ins import refused, signed_in
from provisioning_pipeline_tests.world import World, browser, enter_by_password, login_of, read

OWN = "Their0wn-Password!"
INVITE: dict[str, Any] = {"members_foreign_password": "invite"}
REMOVE: dict[str, Any] = {"members_gone": "remove"}
NEXT = count(1)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["2.21", "2.47"])
def shared(request: pytest.FixtureRequest) -> Iterator[World]:
    """The oldest and the newest: accounts, links and sessions of 2.38 are those of 2.47, which has one step less."""
    version: Version = request.param
    options = SandboxOptions(tenants=0, twenty=(TwentyOptions(version=version, activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        sandbox.add_tenant("mallory", members=1)
        world = World(sandbox, sign_ins_per_minute=1000)
        world.apply()
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.sandbox.twenty[0].mails.clear()
    return shared


def victim(world: World, members: int = 2) -> str:
    """A ready tenant that is not Mallory's."""
    slug = f"victim{next(NEXT)}"
    world.sandbox.add_tenant(slug, members=members)
    world.apply(slug)
    return slug


def invite_hash(world: World, slug: str) -> str:
    workspace = world.link(slug)["workspace_id"]
    return str(world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', workspace)[0][0])


def joins(world: World, email: str, link: str) -> bool:
    """Whether a stranger gets in by this link, under an address and with a password of their choice."""
    with browser(world.sandbox.twenty[0]) as http:
        try:
            read(
                http,
                "mutation($e:String!,$p:String!,$h:String){signUpInWorkspace(email:$e,password:$p,"
                "workspaceInviteHash:$h){loginToken{token}}}",
                {"e": email, "p": OWN, "h": link},
            )
        except AssertionError:
            return False
    return True


def signs_up(world: World, email: str) -> None:
    """A stranger has an account under this address: every version takes one by the link of Mallory's own workspace."""
    assert joins(world, email, invite_hash(world, "mallory"))


def has_the_mailbox_verified(world: World, email: str) -> None:
    """Without the mailbox: Mallory invites the address, and signing in tells the token that stands in the e-mail."""
    server, link = world.sandbox.twenty[0], world.link("mallory")
    key = world.settings.member_password_key
    password = derived_password(key, link["admin_email"]).get_secret_value()
    workspace = world.twenty(
        'SELECT uw.id FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId" WHERE u.email = %s', email
    )
    if workspace:
        # only who is no member is invited
        world.twenty('UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE id = %s', workspace[0][0])
        schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', link["workspace_id"])[0][0]
        world.twenty(f'DELETE FROM "{schema}"."workspaceMember" WHERE "userEmail" = %s', email)
    with browser(server) as http:
        token = login_of(http, link["admin_email"], password, link["workspace_url"])
        read(http, "mutation($e:[String!]!){sendInvitations(emails:$e){success}}", {"e": [email]}, token)
    # a browser of their own: newer versions know each by its cookie
    with browser(server) as http:
        found = read(
            http,
            "mutation($e:String!,$p:String!){signIn(email:$e,password:$p){availableWorkspaces"
            "{availableWorkspacesForSignUp{id personalInviteToken}}}}",
            {"e": email, "p": OWN},
        )["signIn"]["availableWorkspaces"]["availableWorkspacesForSignUp"][0]
    with browser(server) as http:
        read(
            http,
            "mutation($e:String!,$p:String!,$w:UUID,$t:String){signUpInWorkspace(email:$e,password:$p,workspaceId:$w,"
            "workspacePersonalInviteToken:$t){loginToken{token}}}",
            {"e": email, "p": OWN, "w": found["id"], "t": found["personalInviteToken"]},
        )
    verified = world.twenty('SELECT "isEmailVerified" FROM core."user" WHERE email = %s', email)
    assert verified == [(True,)]
    server.mails.clear()


def arrives(world: World, slug: str, email: str, role: str = "org:admin") -> str:
    """The owner of the address becomes a member at Clerk, where it is verified."""
    user = world.sandbox.clerk.add_user(email, first_name="The", last_name="Boss")
    world.sandbox.clerk.add_membership(world.organization(slug), user.id, role)
    return user.id


@contextmanager
def address(world: World, **settings: Any) -> Iterator[str]:
    with serving(world.settings.model_copy(update=settings)) as url:
        yield url


def sign_in(world: World, url: str, slug: str, user: str) -> Any:
    token = world.sandbox.clerk.session_token(user, world.organization(slug))
    with caller(url, token) as http:
        return http.post("/v1/session/twenty")


def role_of(world: World, slug: str, email: str) -> str | None:
    return world.members(slug).get(email, (None, ""))[0]


def told(world: World, slug: str) -> str:
    rows = world.registry(
        "SELECT c.reason || ': ' || c.message FROM provisioning.condition c JOIN provisioning.tenant_link l USING "
        "(database_name) WHERE l.slug = %s AND c.type = 'MembersSynced'",
        slug,
    )
    return str(rows[0][0])


def comes_in(world: World, slug: str, email: str) -> bool:
    """Whether the stranger comes into the workspace with the password that they chose."""
    with browser(world.sandbox.twenty[0]) as http:
        try:
            enter_by_password(http, email, OWN, world.link(slug)["workspace_url"])
        except AssertionError:
            return False
    return True


# --- B1: an insider joined by the link -----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, INVITE])
@pytest.mark.parametrize("verified", [False, True])
def test_an_insider_under_the_address_of_a_future_admin(world: World, settings: dict[str, Any], verified: bool) -> None:
    slug = victim(world)
    boss = f"new.boss@{slug}.example"
    if verified:
        signs_up(world, boss)
        has_the_mailbox_verified(world, boss)
    assert joins(world, boss, invite_hash(world, slug))
    user = arrives(world, slug, boss)

    for _ in range(2):
        world.apply(slug, **settings)

    assert role_of(world, slug, boss) == "Member"
    assert world.sandbox.twenty[0].mails == []
    assert told(world, slug).startswith(f"AccountUnproven: {boss} has an account")
    with address(world) as url:
        sentence = refused(sign_in(world, url, slug, user), 403, "account_unproven")
    assert {"password", "operator"} <= set(sentence.replace(".", "").split())


def test_the_door_itself_finds_out_and_tells_the_operator(world: World) -> None:
    """Of a member whom nobody has checked yet, before any run was told of them."""
    slug = victim(world)
    boss = f"new.boss@{slug}.example"
    assert joins(world, boss, invite_hash(world, slug))
    user = arrives(world, slug, boss)

    with address(world) as url:
        refused(sign_in(world, url, slug, user), 403, "account_unproven")
        marked = world.link(slug)
        world.apply(slug)
        refused(sign_in(world, url, slug, user), 403, "account_unproven")
        once = world.link(slug)

    assert (marked["marked_at"] is not None, marked["marked_by"]) == (True, "session")
    assert once["marked_at"] is None, "one mark an hour for one person"
    assert boss in told(world, slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue"), "an insider makes no tenant unwell"


@pytest.mark.parametrize(
    ("settings", "raised"), [({"members_unproven": "trust"}, True), ({"unproven_sign_in": True}, False)]
)
def test_an_operator_may_accept_it(world: World, settings: dict[str, Any], raised: bool) -> None:
    slug = victim(world)
    boss = f"new.boss@{slug}.example"
    assert joins(world, boss, invite_hash(world, slug))
    user = arrives(world, slug, boss)

    world.apply(slug, **settings)

    assert role_of(world, slug, boss) == ("Admin" if raised else "Member")
    with address(world, **settings) as url:
        signed_in(sign_in(world, url, slug, user))


def test_only_who_believes_twenty_about_mailboxes_raises_by_them(world: World) -> None:
    slug = victim(world)
    boss = f"new.boss@{slug}.example"
    signs_up(world, boss)
    has_the_mailbox_verified(world, boss)
    assert joins(world, boss, invite_hash(world, slug))
    user = arrives(world, slug, boss)
    world.apply(slug)
    assert role_of(world, slug, boss) == "Member"

    world.apply(slug, members_unproven="trust-mailbox")

    assert role_of(world, slug, boss) == "Admin"
    with address(world, members_unproven="trust-mailbox") as url:
        signed_in(sign_in(world, url, slug, user))


# --- B2: an outsider signed up beforehand ----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, INVITE])
@pytest.mark.parametrize("verified", [False, True])
def test_an_outsider_under_the_address_of_a_future_admin(
    world: World, settings: dict[str, Any], verified: bool
) -> None:
    slug = victim(world)
    boss = f"new.boss@{slug}.example"
    signs_up(world, boss)
    if verified:
        has_the_mailbox_verified(world, boss)
    user = arrives(world, slug, boss)

    with address(world, **settings) as url:
        refused(sign_in(world, url, slug, user), 403, "account_unproven")
    for _ in range(2):
        world.apply(slug, **settings)

    assert role_of(world, slug, boss) is None
    assert not comes_in(world, slug, boss)
    assert world.sandbox.twenty[0].mails == []
    assert told(world, slug).startswith(f"AccountUnproven: {boss} has an account")
    with address(world, **settings) as url:
        refused(sign_in(world, url, slug, user), 403, "account_unproven")


def test_a_password_that_an_admin_elsewhere_gave_to_an_account_of_ours_lets_nobody_be_invited(world: World) -> None:
    """Who impersonates a member of their own workspace changes the address, resets the password, changes it back."""
    slug, other = victim(world), victim(world, members=3)
    email = sorted(world.members(other))[-1]
    hashed = world.sandbox.twenty[0]
    signs_up(world, f"model@{slug}.example")
    world.twenty(
        'UPDATE core."user" SET "passwordHash" = (SELECT "passwordHash" FROM core."user" WHERE email = %s) '
        "WHERE email = %s",
        *(f"model@{slug}.example", email),
    )
    world.sandbox.clerk.add_membership(world.organization(slug), world.clerk_user(email), "org:admin")

    world.apply(slug, **INVITE)

    assert hashed.mails == []
    assert not comes_in(world, slug, email)
    assert told(world, slug).startswith("AccountUnproven: ")


# --- the invite link -----------------------------------------------------------------------------------------------


def test_the_link_that_a_member_kept_lets_nobody_in_after_their_removal(world: World) -> None:
    slug = victim(world, members=3)
    kept = invite_hash(world, slug)
    leaving = sorted(world.members(slug))[-1]
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(leaving))
    planned = world.plan_with(slug, **REMOVE).tenants[0]

    applied = world.apply(slug, **REMOVE)

    assert "renew invite link" in planned.changes
    assert leaving not in world.members(slug)
    done = [line.detail for line in applied.summary.outcomes if line.change == "renew invite link" and line.done]
    assert done == [f"of workspace {world.link(slug)['workspace_id']}, since who left could read it"]
    assert not [link for link in (kept, invite_hash(world, slug)) if link in str(applied.summary)]
    assert not joins(world, f"back@{slug}.example", kept)
    assert joins(world, f"colleague@{slug}.example", invite_hash(world, slug))


def test_policy_leaves_the_link_alone(world: World) -> None:
    slug = victim(world, members=3)
    kept = invite_hash(world, slug)
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(sorted(world.members(slug))[-1]))

    world.apply(slug, **REMOVE, renew_invite_link="never")

    assert len(world.members(slug)) == 2
    assert invite_hash(world, slug) == kept


def test_a_link_that_is_off_is_another_one_after_we_turned_it_on(world: World) -> None:
    slug = victim(world)
    workspace, kept = world.link(slug)["workspace_id"], invite_hash(world, slug)
    world.twenty('UPDATE core.workspace SET "isPublicInviteLinkEnabled" = false WHERE id = %s', workspace)
    arrives(world, slug, f"colleague@{slug}.example", "org:member")

    world.apply(slug, renew_invite_link="never")

    assert role_of(world, slug, f"colleague@{slug}.example") == "Member"
    enabled = world.twenty('SELECT "isPublicInviteLinkEnabled" FROM core.workspace WHERE id = %s', workspace)[0][0]
    assert (enabled, invite_hash(world, slug) != kept) == (False, True)
    world.twenty('UPDATE core.workspace SET "isPublicInviteLinkEnabled" = true WHERE id = %s', workspace)
    assert not joins(world, f"stranger@{slug}.example", kept)


def test_a_workspace_that_took_the_link_of_another_gets_none_of_its_members(world: World) -> None:
    """Twenty takes any text as a link, also another workspace's, and picks either of the two for who joins."""
    slug = victim(world)
    kept = invite_hash(world, slug)
    world.twenty(
        'UPDATE core.workspace SET "inviteHash" = %s WHERE id = %s', kept, world.link("mallory")["workspace_id"]
    )
    colleague = f"colleague@{slug}.example"
    arrives(world, slug, colleague, "org:member")

    world.apply(slug)

    assert role_of(world, slug, colleague) == "Member"
    assert role_of(world, "mallory", colleague) is None
    assert invite_hash(world, slug) != kept
