"""An invitation of ours gives no more than anybody gets who joins, and ends when nobody should come in by it."""

import asyncio

import pytest

from provisioning_pipeline.report.plan_lines import lines_of
from provisioning_pipeline.tasks.vouch import take_back
from provisioning_pipeline_tests.steps.test_members import nothing_to_do, outcomes, ready, sign_up
from provisioning_pipeline_tests.steps.test_unproven import OWN, arrives, message, role_of, vouch_for
from provisioning_pipeline_tests.world import World, browser, login_of

INVITE = {"members_foreign_password": "invite"}


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].mails.clear()
    return shared_world


def invited_vp(world: World, slug: str) -> str:
    """An insider has signed up as the vice president; an operator vouched for them, and they were invited."""
    ready(world, slug, members=2)
    vp = f"vp@{slug}.example"
    sign_up(world, vp, OWN)
    arrives(world, slug, vp)
    vouch_for(world, vp)
    applied = world.apply(slug, **INVITE)
    assert outcomes(applied, "invite member") == [f"{vp} as Member"]
    assert invitations(world, slug) == [(vp, "Member")]
    return vp


def invitations(world: World, slug: str) -> list[tuple[str, str]]:
    """(e-mail, label of the role) of each that is open."""
    return [
        (str(email), str(role))
        for email, role in world.twenty(
            """
            SELECT t.context->>'email', r.label FROM core."appToken" t
            LEFT JOIN core.role r ON r.id::text = t.context->>'roleId'
            WHERE t."workspaceId" = %s AND t.type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN')
              AND t."deletedAt" IS NULL AND t."expiresAt" > now()
            """,
            world.link(slug)["workspace_id"],
        )
    ]


def signs_in(world: World, slug: str, email: str) -> bool:
    """Whether whoever has the account comes in with its own password."""
    with browser(world.sandbox.twenty[0]) as http:
        try:
            login_of(http, email, OWN, world.link(slug)["workspace_url"])
        except AssertionError:
            return False
    return True


def as_an_earlier_version_sent_it(world: World, slug: str, email: str) -> None:
    """With the role that Clerk's gives."""
    world.twenty(
        """
        UPDATE core."appToken" t SET context = jsonb_set(t.context, '{roleId}', to_jsonb(r.id::text))
        FROM core.role r WHERE r.label = 'Admin' AND r."workspaceId" = t."workspaceId" AND t."workspaceId" = %s
          AND t.context->>'email' = %s RETURNING t.id
        """,
        world.link(slug)["workspace_id"],
        email,
    )
    assert invitations(world, slug) == [(email, "Admin")]


@pytest.mark.slow
def test_a_word_that_is_taken_back_ends_the_invitation(world: World) -> None:
    slug = "taken-back"
    vp = invited_vp(world, slug)
    as_an_earlier_version_sent_it(world, slug, vp)
    asyncio.run(take_back(world.settings, vp, server=None))

    before = [str(line) for line in lines_of(world.plan(slug).tenants[0])]
    applied = world.apply(slug, **INVITE)

    assert any(line.startswith(f"- withdraw our invitation of {vp}: ") for line in before)
    assert [detail.split(": ")[0] for detail in outcomes(applied, "withdraw invitation")] == [vp]
    assert invitations(world, slug) == []
    assert not signs_in(world, slug, vp)
    assert role_of(world, slug, vp) is None
    assert world.conditions(slug)["MembersSynced"] == ("False", "AccountUnproven")
    assert len(world.sandbox.twenty[0].mails) == 1
    assert nothing_to_do(world, slug, **INVITE)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["invite", "report"])
def test_whoever_left_at_clerk_has_no_open_invitation(world: World, policy: str) -> None:
    slug = f"left-{policy}"
    vp = invited_vp(world, slug)
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(vp))

    applied = world.apply(slug, members_foreign_password=policy)

    assert len(outcomes(applied, "withdraw invitation")) == 1
    assert invitations(world, slug) == []
    assert not signs_in(world, slug, vp)
    assert role_of(world, slug, vp) is None
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug, members_foreign_password=policy)


@pytest.mark.slow
def test_whoever_was_lowered_at_clerk_comes_in_as_no_more(world: World) -> None:
    slug = "lowered"
    vp = invited_vp(world, slug)
    as_an_earlier_version_sent_it(world, slug, vp)
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(vp), "org:member")

    applied = world.apply(slug, **INVITE)

    assert len(outcomes(applied, "withdraw invitation")) == 1
    # the link of the first e-mail is dead
    assert [mail.to for mail in world.sandbox.twenty[0].mails] == [vp, vp]
    assert invitations(world, slug) == [(vp, "Member")]
    assert nothing_to_do(world, slug, **INVITE)
    assert signs_in(world, slug, vp)
    assert role_of(world, slug, vp) == "Member"
    world.apply(slug, **INVITE)
    assert role_of(world, slug, vp) == "Member"


@pytest.mark.slow
def test_whoever_accepts_gets_their_role_once_they_are_in_and_the_invitation_stands_till_then(world: World) -> None:
    slug = "accepted"
    vp = invited_vp(world, slug)
    assert nothing_to_do(world, slug, **INVITE)
    assert signs_in(world, slug, vp)
    assert role_of(world, slug, vp) == "Member"

    world.apply(slug, **INVITE)

    assert role_of(world, slug, vp) == "Admin"
    assert nothing_to_do(world, slug, **INVITE)


@pytest.mark.slow
def test_nobody_is_invited_as_admin_whatever_the_default_role_is(world: World) -> None:
    slug = ready(world, "all-admins", members=2)
    vp = f"vp@{slug}.example"
    sign_up(world, vp, OWN)
    arrives(world, slug, vp)
    vouch_for(world, vp)

    world.apply(slug, member_default_role="Admin", **INVITE)

    assert invitations(world, slug) == []
    assert world.conditions(slug)["MembersSynced"] == ("False", "ForeignPassword")
    assert "no member is invited as Admin" in message(world, slug)


@pytest.mark.slow
def test_an_invitation_that_a_customer_sent_is_left_alone_and_told(world: World) -> None:
    slug = ready(world, "by-customer", members=2)
    vp = f"vp@{slug}.example"
    sign_up(world, vp, OWN)
    world.twenty(
        """
        INSERT INTO core."appToken" (value, type, "workspaceId", context, "expiresAt")
        SELECT gen_random_uuid()::text, 'INVITATION_TOKEN', r."workspaceId",
               jsonb_build_object('email', %s::text, 'roleId', r.id::text), now() + interval '9 days'
        FROM core.role r WHERE r.label = 'Member' AND r."workspaceId" = %s RETURNING id
        """,
        vp,
        world.link(slug)["workspace_id"],
    )
    assert nothing_to_do(world, slug, **INVITE)
    arrives(world, slug, vp)
    world.apply(slug, **INVITE)
    world.apply(slug, **INVITE)

    assert invitations(world, slug) == [(vp, "Member")]
    assert "Another member has invited this address" in message(world, slug)
