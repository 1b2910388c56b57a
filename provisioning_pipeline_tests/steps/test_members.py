"""Members: whoever Clerk says belongs to a tenant is in its workspace with name and role; others lose nothing."""

import html
from pathlib import Path
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.model.fault import RunFault
from provisioning_pipeline.run.run import Applied
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.world import World

REMOVE: dict[str, Any] = {"members_gone": "remove"}


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].faults.scripted.clear()
    shared_world.sandbox.clerk.faults.scripted.clear()
    return shared_world


def add(world: World, slug: str, members: int = 3) -> str:
    world.sandbox.add_tenant(slug, members=members)
    return slug


def ready(world: World, slug: str, members: int = 3) -> str:
    add(world, slug, members)
    world.apply(slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    return slug


def people(world: World, slug: str) -> list[str]:
    """E-mails of the organization's members, its admin first."""
    state = world.sandbox.clerk.state
    members = state.members_of(world.organization(slug))
    ordered = sorted(members, key=lambda member: member.created_at)
    return [str(state.user(member.user_id).primary_email) for member in ordered]


def nothing_to_do(world: World, slug: str, **settings: Any) -> bool:
    world.sandbox.reset_counters()
    applied = world.apply(slug, **settings)
    return (applied.summary.actions, world.mutating_calls()) == (0, 0)


def outcomes(applied: Applied, change: str) -> list[str]:
    return [line.detail for line in applied.summary.outcomes if line.change == change and line.done]


# --- joining ------------------------------------------------------------------------------------------------------


def test_every_clerk_member_enters_with_name_and_role_and_without_wizard_or_mail(world: World) -> None:
    slug = add(world, "crew", members=7)

    world.apply(slug)

    emails = [email.lower() for email in people(world, slug)]
    members = world.members(slug)
    assert sorted(members) == sorted(emails)
    assert [members[email][0] for email in emails] == ["Admin"] + ["Member"] * 6
    clerk = world.sandbox.clerk.state
    for email in emails:
        user = clerk.user(world.clerk_user(email))
        assert members[email][1] == f"{user.first_name} {user.last_name or ''}".strip()
        assert world.sees_as(slug, email)["status"] == "COMPLETED"
    assert world.sandbox.twenty[0].mails == []
    assert world.conditions(slug)["MembersSynced"] == ("True", "MembersLinked")
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_the_workspace_id_is_kept_at_the_organization_beside_what_is_there(world: World) -> None:
    slug = add(world, "metadata")
    organization = world.sandbox.clerk.state.organization(world.organization(slug))
    organization.public_metadata["theirs"] = {"kept": 1}

    world.apply(slug)

    assert organization.public_metadata == {
        "theirs": {"kept": 1},
        "twenty_workspace_id": world.link(slug)["workspace_id"],
    }
    assert organization.private_metadata == {}


@pytest.mark.slow
def test_external_ids_are_kept_only_by_policy_and_never_overwritten(world: World) -> None:
    slug = ready(world, "outside-ids", members=2)
    admin, other = (world.sandbox.clerk.state.user(world.clerk_user(email)) for email in people(world, slug))
    assert (admin.external_id, other.external_id) == (None, None)
    other.external_id = "theirs"

    world.apply(slug, clerk_store_external_id=True)

    assert (admin.external_id, other.external_id) == (world.link(slug)["admin_user_id"], "theirs")
    assert world.conditions(slug)["MembersSynced"] == ("False", "ExternalIdTaken")
    assert nothing_to_do(world, slug, clerk_store_external_id=True)


@pytest.mark.slow
def test_a_new_member_a_new_name_and_a_new_role_are_followed(world: World) -> None:
    slug = ready(world, "growing", members=2)
    clerk, organization = world.sandbox.clerk, world.organization(slug)
    new = clerk.add_user("new.person@growing.example", first_name="New", last_name="Person")
    clerk.add_membership(organization, new.id, "org:member")
    _, second = people(world, slug)[:2]
    clerk.set_role(organization, world.clerk_user(second), "org:admin")
    clerk.state.user(world.clerk_user(second)).first_name = "Renamed"

    world.apply(slug)

    members = world.members(slug)
    assert members["new.person@growing.example"] == ("Member", "New Person")
    assert members[second.lower()][0] == "Admin"
    assert members[second.lower()][1].startswith("Renamed ")
    assert world.sees_as(slug, "new.person@growing.example")["status"] == "COMPLETED"
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_roles_follow_the_mapping_and_an_unknown_role_is_an_error_in_words(world: World) -> None:
    slug = add(world, "mapped", members=2)
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(people(world, slug)[1]), "org:sales")

    world.apply(slug, member_roles={"org:admin": "Admin", "org:sales": "Salesperson"})

    status, reason = world.conditions(slug)["MembersSynced"]
    assert (status, reason) == ("False", "RoleUnknown")
    message = world.registry(
        "SELECT message FROM provisioning.condition WHERE database_name = %s AND type = 'MembersSynced'",
        world.link(slug)["database_name"],
    )[0][0]
    assert "Salesperson" in message
    assert "Admin, Member" in message
    assert world.sees(slug)["status"] == "COMPLETED"

    world.apply(slug, member_roles={"org:admin": "Admin", "org:sales": "Admin"})

    assert {role for role, _ in world.members(slug).values()} == {"Admin"}


@pytest.mark.slow
def test_a_closed_invite_link_is_opened_for_the_join_and_closed_again(world: World) -> None:
    slug = ready(world, "closed", members=1)
    workspace = world.link(slug)["workspace_id"]
    world.twenty('UPDATE core.workspace SET "isPublicInviteLinkEnabled" = false WHERE id = %s RETURNING id', workspace)
    new = world.sandbox.clerk.add_user("late@closed.example", first_name="Late", last_name="Comer")
    world.sandbox.clerk.add_membership(world.organization(slug), new.id)

    world.apply(slug)

    assert world.members(slug)["late@closed.example"] == ("Member", "Late Comer")
    enabled = world.twenty('SELECT "isPublicInviteLinkEnabled" FROM core.workspace WHERE id = %s', workspace)[0][0]
    assert enabled is False
    assert world.link(slug)["invite_link_opened"] is False


@pytest.mark.slow
def test_a_link_that_a_crash_left_open_is_closed_by_the_next_run(world: World) -> None:
    slug = ready(world, "left-open", members=1)
    workspace = world.link(slug)["workspace_id"]
    world.registry("UPDATE provisioning.tenant_link SET invite_link_opened = true WHERE slug = %s RETURNING slug", slug)

    world.apply(slug)

    enabled = world.twenty('SELECT "isPublicInviteLinkEnabled" FROM core.workspace WHERE id = %s', workspace)[0][0]
    assert enabled is False
    assert nothing_to_do(world, slug)


# --- who is who ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_somebody_without_a_verified_email_waits_and_the_others_do_not(world: World) -> None:
    slug = add(world, "unverified", members=3)
    _, second, third = people(world, slug)
    world.sandbox.clerk.set_email_status(world.clerk_user(second), "unverified")

    world.apply(slug)

    assert second.lower() not in world.members(slug)
    assert third.lower() in world.members(slug)
    assert world.conditions(slug)["MembersSynced"] == ("False", "EmailUnverified")
    assert nothing_to_do(world, slug)

    world.sandbox.clerk.set_email_status(world.clerk_user(second), "verified")
    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_one_person_in_two_tenants_is_one_account(world: World) -> None:
    one, two = add(world, "both-one", members=1), add(world, "both-two", members=1)
    shared = world.sandbox.clerk.add_user("consultant@shared.example", first_name="Con", last_name="Sultant")
    for slug in (one, two):
        world.sandbox.clerk.add_membership(world.organization(slug), shared.id)

    world.apply(one, two)

    accounts = world.twenty('SELECT count(*) FROM core."user" WHERE email = %s', "consultant@shared.example")
    assert accounts[0][0] == 1
    for slug in (one, two):
        seen = world.sees_as(slug, "consultant@shared.example")
        assert (seen["status"], seen["workspace_id"]) == ("COMPLETED", world.link(slug)["workspace_id"])


@pytest.mark.slow
def test_a_changed_email_makes_no_second_account_and_is_told(world: World) -> None:
    slug = ready(world, "renamed-mail", members=2)
    second = people(world, slug)[1]
    user = world.sandbox.clerk.state.user(world.clerk_user(second))
    user.emails[0].email = "new.address@renamed-mail.example"

    world.apply(slug)

    assert world.twenty("SELECT count(*) FROM core.\"user\" WHERE email LIKE 'new.address@%%'")[0][0] == 0
    assert world.conditions(slug)["MembersSynced"] == ("False", "EmailChanged")
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_an_account_with_a_password_of_its_own_is_reported_and_invited_only_by_policy(world: World) -> None:
    slug = add(world, "foreign", members=2)
    second = people(world, slug)[1].lower()
    sign_up(world, second, "Their0wn-Password!")
    world.twenty('UPDATE core."user" SET "isEmailVerified" = true WHERE email = %s RETURNING id', second)

    # unless policy believes it, a verified mailbox proves nothing: an account that may be a stranger's is not invited
    for unproven in ({}, {"members_foreign_password": "invite"}):
        world.apply(slug, **unproven)
        assert world.conditions(slug)["MembersSynced"] == ("False", "AccountUnproven")
        assert second not in world.members(slug)
        assert world.sandbox.twenty[0].mails == []
        assert nothing_to_do(world, slug, **unproven)

    believed = {"members_unproven": "trust-mailbox"}
    world.apply(slug, **believed)

    assert world.conditions(slug)["MembersSynced"] == ("False", "ForeignPassword")
    assert second not in world.members(slug)
    assert world.sandbox.twenty[0].mails == []
    assert nothing_to_do(world, slug, **believed)

    world.apply(slug, **believed, members_foreign_password="invite")

    assert [mail.to for mail in world.sandbox.twenty[0].mails] == [second]
    assert world.conditions(slug)["MembersSynced"] == ("False", "Invited")
    world.apply(slug, **believed, members_foreign_password="invite")
    assert len(world.sandbox.twenty[0].mails) == 1


@pytest.mark.slow
def test_two_tenants_that_claim_one_organization_share_nothing(world: World) -> None:
    one, two = add(world, "claim-one", members=2), add(world, "claim-two", members=2)
    world.registry(
        "UPDATE tenant_registry SET clerk_org_id = %s WHERE slug = %s RETURNING slug", world.organization(one), two
    )

    world.apply(one, two)

    for slug in (one, two):
        assert world.conditions(slug)["MembersSynced"] == ("False", "OrganizationAmbiguous")
    world.apply(two)
    assert world.conditions(two)["MembersSynced"] == ("False", "OrganizationAmbiguous")


@pytest.mark.slow
def test_an_organization_of_the_same_slug_is_only_proposed_unless_policy_adopts_it(world: World) -> None:
    slug = add(world, "same-slug", members=2)
    world.registry("UPDATE tenant_registry SET clerk_org_id = NULL WHERE slug = %s RETURNING slug", slug)

    world.apply(slug)
    assert world.conditions(slug)["MembersSynced"] == ("False", "OrganizationProposed")

    world.apply(slug, adopt_by_slug=True)
    assert len(world.members(slug)) == 2
    # stored: it stays adopted when the policy goes
    world.apply(slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


# --- leaving ------------------------------------------------------------------------------------------------------


def leave(world: World, slug: str, email: str) -> None:
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(email))


@pytest.mark.slow
def test_by_default_somebody_who_left_is_reported_and_stays(world: World) -> None:
    slug = ready(world, "reported", members=3)
    third = people(world, slug)[2]
    leave(world, slug, third)

    world.apply(slug)

    assert third.lower() in world.members(slug)
    assert world.conditions(slug)["MembersSynced"] == ("False", "MembersGone")
    assert nothing_to_do(world, slug)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["left", "banned", "deleted"])
def test_by_policy_somebody_who_left_is_removed_and_refused_everywhere(world: World, how: str) -> None:
    slug = ready(world, f"removed-{how}", members=3)
    third = people(world, slug)[2]
    user, email = world.clerk_user(third), third.lower()
    before = world.sees_as(slug, email)
    clerk = world.sandbox.clerk
    {"left": lambda: leave(world, slug, third), "banned": lambda: clerk.ban_user(user)}.get(
        how, lambda: clerk.delete_user(user)
    )()

    applied = world.apply(slug, **REMOVE)

    assert email not in world.members(slug)
    with pytest.raises(AssertionError, match="errors"):
        world.sees_as(slug, email)
    (proof,) = outcomes(applied, "remove member")
    assert "access token and refresh token from before, and new login, refused" in proof
    assert "API keys: none can be theirs by their role" in proof
    assert proof.split(";")[0] in html.unescape(Path(applied.report).read_text("utf-8"))
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert before["status"] == "COMPLETED"
    assert nothing_to_do(world, slug, **REMOVE)


@pytest.mark.slow
def test_demoted_by_policy_keeps_the_membership(world: World) -> None:
    slug = ready(world, "demoted", members=3)
    second = people(world, slug)[1]
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(second), "org:admin")
    world.apply(slug)
    assert world.members(slug)[second.lower()][0] == "Admin"
    leave(world, slug, second)

    world.apply(slug, members_gone="demote")

    assert world.members(slug)[second.lower()][0] == "Member"
    assert nothing_to_do(world, slug, members_gone="demote")


@pytest.mark.slow
def test_the_last_admin_is_kept_and_named(world: World) -> None:
    slug = ready(world, "last-admin", members=3)
    admin = people(world, slug)[0]
    leave(world, slug, admin)

    world.apply(slug, **REMOVE)

    assert world.members(slug)[admin.lower()][0] == "Admin"
    assert world.conditions(slug)["MembersSynced"] == ("False", "LastAdminKept")
    assert nothing_to_do(world, slug, **REMOVE)


@pytest.mark.slow
def test_an_admin_who_left_is_replaced_by_another_and_removed(world: World) -> None:
    slug = ready(world, "succession", members=3)
    first, second = people(world, slug)[:2]
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(second), "org:admin")
    leave(world, slug, first)

    # the new admin is made first; who is still to be promoted does not count yet
    world.apply(slug, **REMOVE)
    world.apply(slug, **REMOVE)

    assert first.lower() not in world.members(slug)
    assert world.link(slug)["admin_email"] == second.lower()
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_the_service_account_is_never_touched(world: World) -> None:
    slug = ready(world, "service", members=2)
    service = world.settings.servers[0].service_email
    known = world.sandbox.clerk.state.user_by_email(service)
    user = known or world.sandbox.clerk.add_user(service, first_name="Not", last_name="Ours")
    world.sandbox.clerk.add_membership(world.organization(slug), user.id)

    world.apply(slug, **REMOVE)

    assert world.conditions(slug)["MembersSynced"] == ("False", "AccountClaimedTwice")
    leave(world, slug, service)
    world.apply(slug, **REMOVE)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    workspace = world.link(slug)["workspace_id"]
    role = world.twenty(
        """
        SELECT r.label FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"
        JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id JOIN core.role r ON r.id = t."roleId"
        WHERE uw."workspaceId" = %s AND u.email = %s
        """,
        workspace,
        service,
    )
    assert role[0][0] == "Admin"


@pytest.mark.slow
def test_somebody_who_was_invited_in_twenty_alone_loses_nothing(world: World) -> None:
    slug = ready(world, "guests", members=2)
    workspace = world.link(slug)["workspace_id"]
    invite_hash = world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', workspace)[0][0]
    join(world, "guest@elsewhere.example", "Guest-Passw0rd!", invite_hash)

    world.apply(slug, **REMOVE)

    assert "guest@elsewhere.example" in world.members(slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_beyond_the_budget_nothing_harmful_is_done_until_somebody_approves_that_very_plan(world: World) -> None:
    slug = ready(world, "budget", members=6)
    first, *others = people(world, slug)
    for email in others[:3]:
        leave(world, slug, email)

    waiting = world.apply(slug, **REMOVE)

    assert len(world.members(slug)) == 6
    assert world.conditions(slug)["MembersSynced"] == ("False", "WaitsForApproval")
    plan = world.plan_with(slug, **REMOVE)
    assert plan.waiting
    assert any(plan.waiting.name in sentence for sentence in waiting.summary.refusals)

    with pytest.raises(RunFault, match="No plan called"):
        world.apply_approved("another", slug, **REMOVE)
    assert len(world.members(slug)) == 6

    world.apply_approved(plan.waiting.name, slug, **REMOVE)

    assert sorted(world.members(slug)) == sorted(email.lower() for email in [first, *others[3:]])
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


# --- Clerk's answers ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_clerk_the_ready_stay_ready_and_the_report_says_why(world: World) -> None:
    slug = ready(world, "no-clerk", members=2)
    world.sandbox.clerk.faults.scripted.append(
        ScriptedFault("GET /organizations/{organization_id}/memberships", "error", times=4)
    )

    world.apply(slug, **REMOVE)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert len(world.members(slug)) == 2


# --- Twenty over plain HTTP ---------------------------------------------------------------------------------------


def sign_up(world: World, email: str, password: str) -> None:
    answer = httpx2.post(
        f"{world.sandbox.twenty[0].base_url}/metadata",
        json={
            "query": "mutation($e:String!,$p:String!){signUp(email:$e,password:$p){tokens"
            "{accessOrWorkspaceAgnosticToken{token}}}}",
            "variables": {"e": email, "p": password},
        },
    ).json()
    assert "errors" not in answer, answer


def join(world: World, email: str, password: str, invite_hash: str) -> None:
    answer = httpx2.post(
        f"{world.sandbox.twenty[0].base_url}/metadata",
        json={
            "query": "mutation($e:String!,$p:String!,$h:String){signUpInWorkspace(email:$e,password:$p,"
            "workspaceInviteHash:$h){loginToken{token}}}",
            "variables": {"e": email, "p": password, "h": invite_hash},
        },
    ).json()
    assert "errors" not in answer, answer


# --- refusals about one person ------------------------------------------------------------------------------------


def test_one_address_that_twenty_refuses_is_named_with_its_person_and_the_others_join(world: World) -> None:
    slug = ready(world, "refused", members=1)
    clerk = world.sandbox.clerk
    for email in ("dot..dot@refused.example", "fine@refused.example", "good@refused.example"):
        user = clerk.add_user(email, first_name="Dot", last_name=email.partition("@")[0].title())
        clerk.add_membership(world.organization(slug), user.id)

    world.apply(slug)

    assert {"fine@refused.example", "good@refused.example"} <= world.members(slug).keys()
    assert world.conditions(slug)["MembersSynced"] == ("False", "RefusedByTwenty")
    (told,) = world.registry(
        "SELECT message FROM provisioning.condition WHERE database_name = %s AND type = 'MembersSynced'",
        world.link(slug)["database_name"],
    )[0]
    assert told.startswith(f"Dot Dot..Dot (dot..dot@refused.example) in the workspace of {slug}: ")
    assert "signUpInWorkspace: email must be an email" in told
    assert told.endswith("Correct the address at Clerk.")
    assert world.apply(slug).summary.actions == 0
