"""Whoever signed up first under an address is not that person: nobody is raised by such an account.

Twenty's sign-up is open and verifies no mailbox; an insider has the invite link of their own workspace.
"""

import asyncio
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from provisioning_pipeline.tasks.vouch import NoSuchAccount, take_back, vouch, vouched
from provisioning_pipeline_tests.steps.test_members import add, join, nothing_to_do, people, ready, sign_up
from provisioning_pipeline_tests.world import World

OWN = "Their0wn-Password!"


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].mails.clear()
    return shared_world


def invite_hash(world: World, slug: str) -> str:
    """What every member of the workspace can read and pass on."""
    workspace = world.link(slug)["workspace_id"]
    return str(world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', workspace)[0][0])


def insider(world: World, slug: str, email: str) -> str:
    """Somebody with the invite link joins under another's address, with a password of their own."""
    join(world, email, OWN, invite_hash(world, slug))
    return email


def arrives(world: World, slug: str, email: str, role: str = "org:admin") -> str:
    """The real person is made a member of the organization at Clerk, where their address is verified."""
    user = world.sandbox.clerk.add_user(email, first_name="The", last_name="Chief")
    world.sandbox.clerk.add_membership(world.organization(slug), user.id, role)
    return user.id


def message(world: World, slug: str, type_: str = "MembersSynced") -> str:
    """What the condition says."""
    rows = world.registry(
        "SELECT message FROM provisioning.condition WHERE database_name = %s AND type = %s",
        world.link(slug)["database_name"],
        type_,
    )
    return str(rows[0][0])


def role_of(world: World, slug: str, email: str) -> str | None:
    """Their role in the workspace, by Twenty's own rows."""
    return world.members(slug).get(email, (None, ""))[0]


def vouch_for(world: World, email: str, why: str = "She told me so on the phone.") -> None:
    """An operator says that the account is theirs."""
    asyncio.run(vouch(world.settings, email, server=None, by="ops", why=why))


# --- an insider -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_insider_who_joined_as_the_ceo_never_becomes_admin(world: World) -> None:
    slug = ready(world, "attacked", members=2)
    ceo = insider(world, slug, "ceo@attacked.example")
    arrives(world, slug, ceo)

    world.apply(slug)

    assert role_of(world, slug, ceo) == "Member"
    assert world.conditions(slug)["MembersSynced"] == ("True", "AccountUnproven")
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    told = message(world, slug)
    signed_up = world.twenty('SELECT "createdAt" AT TIME ZONE \'UTC\' FROM core."user" WHERE email = %s', ceo)[0][0]
    for word in (ceo, f"{signed_up:%Y-%m-%d %H:%M} UTC", "the role Member", "provisioning vouch"):
        assert word in told
    # not by the next runs either, once the account is linked
    assert nothing_to_do(world, slug)
    assert world.registry("SELECT count(*) FROM provisioning.member_link WHERE email = %s", ceo) == [(1,)]
    world.sandbox.clerk.state.user(world.clerk_user(ceo)).first_name = "Renamed"
    world.apply(slug)
    assert role_of(world, slug, ceo) == "Member"
    assert nothing_to_do(world, slug)
    assert world.sandbox.twenty[0].mails == []


@pytest.mark.slow
def test_plan_and_report_name_them(world: World) -> None:
    from provisioning_pipeline.report.plan_lines import lines_of

    slug = ready(world, "named", members=2)
    ceo = insider(world, slug, "ceo@named.example")
    arrives(world, slug, ceo)

    before = [str(line) for line in lines_of(world.plan(slug).tenants[0])]
    applied = world.apply(slug)
    after = [str(line) for line in lines_of(world.plan(slug).tenants[0])]

    assert f"~ role of {ceo}: Admin (if their account proves to be theirs)" in before
    assert after == [f"! AccountUnproven: {message(world, slug)}"]
    assert "Accounts that prove nothing" in Path(applied.report).read_text("utf-8")
    assert [line.slug for line in applied.summary.reported if line.slug == slug] == [slug]


@pytest.mark.slow
def test_vouched_for_they_get_the_role_and_lose_no_more_than_the_word_when_it_is_taken_back(world: World) -> None:
    slug = ready(world, "vouched", members=2)
    ceo = insider(world, slug, "ceo@vouched.example")
    arrives(world, slug, ceo)
    world.apply(slug)

    vouch_for(world, ceo)
    world.apply(slug)

    assert role_of(world, slug, ceo) == "Admin"
    assert world.conditions(slug)["MembersSynced"] == ("True", "MembersLinked")
    assert nothing_to_do(world, slug)
    (known,) = [known for known in asyncio.run(vouched(world.settings)) if known.email == ceo]
    assert (known.vouched_by, known.why) == ("ops", "She told me so on the phone.")

    asyncio.run(take_back(world.settings, ceo, server=None))
    world.apply(slug)

    assert role_of(world, slug, ceo) == "Admin"
    assert world.conditions(slug)["MembersSynced"] == ("True", "AccountUnproven")
    assert asyncio.run(take_back(world.settings, ceo, server=None)) == []


@pytest.mark.slow
def test_a_vouch_holds_for_one_account_and_its_address(world: World) -> None:
    slug = ready(world, "one-vouch", members=2)
    with pytest.raises(NoSuchAccount, match="no account"):
        vouch_for(world, "ceo@one-vouch.example")
    ceo = insider(world, slug, "ceo@one-vouch.example")
    arrives(world, slug, ceo)
    other = insider(world, slug, "other@one-vouch.example")
    vouch_for(world, other)
    # whoever was vouched for takes the address of another: Twenty lets them, and verifies nothing
    world.twenty("UPDATE core.\"user\" SET email = 'ceo.was@one-vouch.example' WHERE email = %s RETURNING id", ceo)
    world.twenty('UPDATE core."user" SET email = %s WHERE email = %s RETURNING id', ceo, other)

    world.apply(slug)

    assert role_of(world, slug, ceo) == "Member"


@pytest.mark.slow
def test_policy_trusts_whoever_was_first(world: World) -> None:
    slug = ready(world, "trusting", members=2)
    ceo = insider(world, slug, "ceo@trusting.example")
    arrives(world, slug, ceo)

    world.apply(slug, members_unproven="trust")

    assert role_of(world, slug, ceo) == "Admin"


@pytest.mark.slow
def test_a_verified_mailbox_proves_the_address_where_policy_believes_it(world: World) -> None:
    slug = ready(world, "mailbox", members=2)
    ceo = insider(world, slug, "ceo@mailbox.example")
    world.twenty('UPDATE core."user" SET "isEmailVerified" = true WHERE email = %s RETURNING id', ceo)
    arrives(world, slug, ceo)

    world.apply(slug)
    assert role_of(world, slug, ceo) == "Member"
    world.apply(slug, members_unproven="trust-mailbox")

    assert role_of(world, slug, ceo) == "Admin"


@pytest.mark.slow
def test_our_own_member_who_takes_the_ceos_address_proves_nothing(world: World) -> None:
    """Twenty lets members change their address and leaves what it knew of the mailbox as it was."""
    slug = ready(world, "renamed-own", members=2)
    own = people(world, slug)[1].lower()
    ceo = "ceo@renamed-own.example"
    world.twenty('UPDATE core."user" SET email = %s, "isEmailVerified" = true WHERE email = %s RETURNING id', ceo, own)
    world.sandbox.clerk.delete_user(world.clerk_user(own))
    arrives(world, slug, ceo)

    for _ in range(3):
        world.apply(slug)
        assert role_of(world, slug, ceo) == "Member"


# --- an account that was signed up beforehand ------------------------------------------------------------------------


@pytest.mark.slow
def test_whoever_signed_up_beforehand_is_neither_made_admin_nor_invited(world: World) -> None:
    slug = add(world, "beforehand", members=1)
    ceo = people(world, slug)[0].lower()
    sign_up(world, ceo, OWN)

    for _ in range(2):
        world.apply(slug, members_foreign_password="invite")

    assert role_of(world, slug, ceo) is None
    assert world.sandbox.twenty[0].mails == []
    assert world.conditions(slug)["MembersSynced"] == ("False", "AccountUnproven")
    assert world.conditions(slug)["LoginProved"] == ("False", "AccountUnproven")
    assert nothing_to_do(world, slug, members_foreign_password="invite")

    vouch_for(world, ceo)
    world.apply(slug, members_foreign_password="invite")

    assert [mail.to for mail in world.sandbox.twenty[0].mails] == [ceo]


@pytest.mark.slow
def test_another_admin_stands_for_the_workspace(world: World) -> None:
    slug = add(world, "another", members=2)
    first, second = (email.lower() for email in people(world, slug))
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(second), "org:admin")
    sign_up(world, first, OWN)

    world.apply(slug)
    world.apply(slug)

    assert role_of(world, slug, first) is None
    assert role_of(world, slug, second) == "Admin"
    assert world.link(slug)["admin_email"] == second
    assert world.conditions(slug)["LoginProved"][0] == "True"


@pytest.mark.slow
def test_whoever_joins_between_plan_and_act_is_not_made_admin(world: World) -> None:
    """Every last look is in the step itself: no plan is needed to hold an insider back."""
    slug = ready(world, "between", members=2)
    ceo = insider(world, slug, "ceo@between.example")
    world.registry(
        "UPDATE provisioning.tenant_link SET admin_user_id = NULL, admin_email = NULL WHERE slug = %s RETURNING slug",
        slug,
    )
    for email in people(world, slug)[:1]:
        world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(email), "org:member")
    arrives(world, slug, ceo)

    world.apply(slug)

    assert role_of(world, slug, ceo) == "Member"
    assert world.link(slug)["admin_email"] is None


# --- a fleet of old members -------------------------------------------------------------------------------------------


def lose_the_ledger(world: World, slug: str) -> None:
    """Everything that we knew of the tenant, its people and their accounts."""
    database = world.link(slug)["database_name"]
    accounts = [row[0] for row in world.registry("SELECT twenty_user_id FROM provisioning.user_link")]
    for query in (
        "DELETE FROM provisioning.member_link WHERE database_name = %s RETURNING 1",
        "DELETE FROM provisioning.condition WHERE database_name = %s RETURNING 1",
        "DELETE FROM provisioning.intent WHERE database_name = %s RETURNING 1",
        "DELETE FROM provisioning.tenant_link WHERE database_name = %s RETURNING 1",
    ):
        world.registry(query, database)
    world.registry("DELETE FROM provisioning.user_link WHERE twenty_user_id = ANY(%s) RETURNING 1", accounts)
    world.registry("DELETE FROM provisioning.account_origin RETURNING 1")


def own_passwords(world: World, emails: list[str]) -> None:
    """They signed up themselves, long ago."""
    own = bcrypt.hashpw(OWN.encode(), bcrypt.gensalt(4)).decode()
    world.twenty('UPDATE core."user" SET "passwordHash" = %s WHERE email = ANY(%s) RETURNING id', own, emails)


@pytest.mark.slow
def test_old_members_with_passwords_of_their_own_become_ready_with_the_roles_they_have(world: World) -> None:
    slug = ready(world, "old-fleet", members=4)
    emails = [email.lower() for email in people(world, slug)]
    roles = {email: role for email, (role, _) in world.members(slug).items()}
    lose_the_ledger(world, slug)
    own_passwords(world, emails)
    # one is more at Clerk than they are in Twenty
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(people(world, slug)[2]), "org:admin")

    world.apply(slug)
    world.apply(slug)

    assert {email: role for email, (role, _) in world.members(slug).items()} == roles
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert world.conditions(slug)["MembersSynced"] == ("True", "AccountUnproven")
    assert "and 1 more" in message(world, slug).lower()
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_a_lost_ledger_makes_nobody_of_ours_unproven_for_long(world: World) -> None:
    slug = ready(world, "lost-ledger", members=3)
    third = people(world, slug)[2].lower()
    lose_the_ledger(world, slug)
    world.apply(slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")

    # everybody logged in to prove the workspace, and that proved their accounts, too
    ours = world.registry("SELECT count(*) FROM provisioning.account_origin WHERE ours")[0][0]
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(people(world, slug)[2]), "org:admin")
    world.apply(slug)

    assert ours >= 3
    assert role_of(world, slug, third) == "Admin"
    assert world.conditions(slug)["MembersSynced"] == ("True", "MembersLinked")
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_of_whom_nobody_knows_anything_one_login_tells(world: World) -> None:
    slug = ready(world, "one-login", members=2)
    second = people(world, slug)[1]
    world.registry("DELETE FROM provisioning.account_origin RETURNING 1")
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(second), "org:admin")

    world.apply(slug)

    assert role_of(world, slug, second.lower()) == "Admin"
    assert world.registry("SELECT ours FROM provisioning.account_origin WHERE email = %s", second.lower()) == [(True,)]


# --- what our own join gave ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_taking_back_what_our_own_join_gave_waits_for_nobody(world: World) -> None:
    """An earlier version left them with the workspace's default role, Admin: that costs the budget nothing."""
    slug = ready(world, "own-doing", members=6)
    workspace = world.link(slug)["workspace_id"]
    joined = [email.lower() for email in people(world, slug)[1:]]
    world.twenty(
        'UPDATE core."roleTarget" t SET "roleId" = (SELECT id FROM core.role WHERE label = \'Admin\' AND '
        '"workspaceId" = uw."workspaceId") FROM core."userWorkspace" uw, core."user" u '
        'WHERE uw.id = t."userWorkspaceId" AND u.id = uw."userId" AND uw."workspaceId" = %s AND u.email = ANY(%s) '
        "RETURNING t.id",
        workspace,
        joined,
    )
    strict: dict[str, Any] = {"harm_share": 0.1, "harm_most": 1}

    world.apply(slug, **strict)

    assert {role_of(world, slug, email) for email in joined} == {"Member"}
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug, **strict)


@pytest.mark.slow
def test_an_admin_whom_the_customer_made_one_counts_against_the_budget(world: World) -> None:
    slug = ready(world, "their-doing", members=6)
    workspace = world.link(slug)["workspace_id"]
    joined = [email.lower() for email in people(world, slug)[1:]]
    world.twenty(
        'UPDATE core."roleTarget" t SET "updatedAt" = now() + interval \'1 hour\', "roleId" = '
        "(SELECT id FROM core.role WHERE label = 'Admin' AND "
        '"workspaceId" = uw."workspaceId") FROM core."userWorkspace" uw, core."user" u '
        'WHERE uw.id = t."userWorkspaceId" AND u.id = uw."userId" AND uw."workspaceId" = %s AND u.email = ANY(%s) '
        "RETURNING t.id",
        workspace,
        joined,
    )

    world.apply(slug, harm_share=0.1, harm_most=1)

    assert {role_of(world, slug, email) for email in joined} == {"Admin"}
    assert world.conditions(slug)["MembersSynced"] == ("False", "WaitsForApproval")


# --- API keys of whoever is removed ----------------------------------------------------------------------------------


def make_key(world: World, slug: str, name: str, ago: str = "0 hours") -> str:
    """A key of the workspace, made so long ago."""
    workspace = world.link(slug)["workspace_id"]
    rows = world.twenty(
        'INSERT INTO core."apiKey" (name, "expiresAt", "workspaceId", "createdAt") '
        "VALUES (%s, now() + interval '1 year', %s, now() - %s::interval) RETURNING id::text",
        name,
        workspace,
        ago,
    )
    return str(rows[0][0])


def removed_admin(world: World, slug: str) -> str:
    """A second admin who has left at Clerk."""
    second = people(world, slug)[1]
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(second), "org:admin")
    world.apply(slug)
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(second))
    return second.lower()


def is_revoked(world: World, key: str) -> bool:
    """Whether Twenty refuses it."""
    return bool(world.twenty('SELECT "revokedAt" IS NOT NULL FROM core."apiKey" WHERE id = %s', key)[0][0])


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["report", "revoke"])
def test_keys_that_a_removed_admin_may_have_made_are_named_and_revoked_by_policy(world: World, policy: str) -> None:
    slug = ready(world, f"keys-{policy}", members=3)
    email = removed_admin(world, slug)
    old, theirs = make_key(world, slug, "of-old", "1 day"), make_key(world, slug, "zapier")

    applied = world.apply(slug, members_gone="remove", members_gone_api_keys=policy)

    assert role_of(world, slug, email) is None
    (proof,) = [line.detail for line in applied.summary.outcomes if line.change == "remove member"]
    assert "proved for sessions and logins" in proof
    assert "zapier" in proof
    assert "of-old" not in proof
    assert "Twenty does not record" in proof
    assert ("API keys: cannot be told" in proof) == (policy == "report")
    assert ("API keys: revoked" in proof) == (policy == "revoke")
    told = {"report": "ApiKeysUncertain", "revoke": "MembersLinked"}[policy]
    assert world.conditions(slug)["MembersSynced"] == ("True", told)
    assert (is_revoked(world, old), is_revoked(world, theirs)) == (False, policy == "revoke")
    revoked = [line.detail for line in applied.summary.outcomes if line.change == "revoke API key"]
    assert len(revoked) == (policy == "revoke")


@pytest.mark.slow
def test_an_ordinary_member_made_no_keys(world: World) -> None:
    slug = ready(world, "no-keys", members=3)
    third = people(world, slug)[2]
    key = make_key(world, slug, "zapier")
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(third))

    applied = world.apply(slug, members_gone="remove", members_gone_api_keys="revoke")

    (proof,) = [line.detail for line in applied.summary.outcomes if line.change == "remove member"]
    assert "API keys: none can be theirs by their role" in proof
    assert not is_revoked(world, key)
