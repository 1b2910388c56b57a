"""The main job: what becomes of a tenant, in the usual case and in the odd ones."""

from typing import Any

import pytest

from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.twenty import StandInTwenty
from provisioning_pipeline_tests.world import World

WRITES = [
    "signUpInNewWorkspace",
    "activateWorkspace",
    "signUpInWorkspace",
    "updateWorkspaceMemberRole",
    "updateWorkspaceMemberSettings",
    "sendInvitations",
    "skipSyncEmailOnboardingStep",
    "triggerInstallAppsOnboardingStep",
]


@pytest.fixture
def world(shared_world: World) -> World:
    faults = shared_world.sandbox.twenty[0].faults
    faults.scripted.clear()
    return shared_world


def add(world: World, slug: str, **options: Any) -> str:
    world.sandbox.add_tenant(slug, **options)
    return slug


def test_a_new_tenant_gets_a_workspace_that_its_clerk_admin_enters_without_a_wizard(world: World) -> None:
    slug = add(world, "happy", name="Happy Path Ltd", members=3)

    applied = world.apply(slug)

    link = world.link(slug)
    seen = world.sees(slug)
    assert (seen["status"], seen["workspace_id"]) == ("COMPLETED", link["workspace_id"])
    assert {email for email, (role, _) in world.members(slug).items() if role == "Admin"} == {link["admin_email"]}
    display_name = world.twenty('SELECT "displayName" FROM core.workspace WHERE id = %s', link["workspace_id"])
    assert display_name[0][0] == "Happy Path Ltd"
    assert all(status == "True" for status, _ in world.conditions(slug).values())
    assert world.sandbox.twenty[0].mails == []
    assert applied.summary.unwell == []


def test_workspace_id_admin_and_status_are_written_where_the_tenant_manager_reads_them(world: World) -> None:
    slug = add(world, "stored")

    world.apply(slug)

    link = world.link(slug)
    row = world.registry(
        "SELECT twenty_workspace_id::text, twenty_admin_user_id::text, status FROM tenant_registry WHERE slug = %s",
        slug,
    )
    assert tuple(row[0]) == (link["workspace_id"], link["admin_user_id"], "active")
    linked = world.registry(
        "SELECT count(*) FROM provisioning.user_link WHERE twenty_user_id = %s", link["admin_user_id"]
    )
    assert linked[0][0] == 1


def test_running_again_does_nothing(world: World) -> None:
    slug = add(world, "again")
    world.apply(slug)
    world.sandbox.reset_counters()

    applied = world.apply(slug)

    assert applied.summary.actions == 0
    assert applied.summary.mutating_calls == 0
    assert world.mutating_calls() == 0
    assert not world.sandbox.twenty[0].calls


def test_the_plan_of_a_dry_run_writes_nothing_anywhere(world: World) -> None:
    slug = add(world, "dry")
    before = [world.registry("SELECT * FROM tenant_registry ORDER BY id"), world.workspaces()]
    world.sandbox.reset_counters()

    planned = world.plan(slug)

    assert [entry.tenant.slug for entry in planned.work] == [slug]
    assert before == [world.registry("SELECT * FROM tenant_registry ORDER BY id"), world.workspaces()]
    assert world.mutating_calls() == 0
    assert not world.sandbox.twenty[0].calls


@pytest.mark.slow
@pytest.mark.parametrize("operation", WRITES)
def test_an_answer_lost_after_the_effect_ends_in_one_ready_workspace(world: World, operation: str) -> None:
    slug = add(world, f"lost-{WRITES.index(operation)}")
    faults = world.sandbox.twenty[0].faults
    faults.scripted.append(ScriptedFault(operation, "drop"))

    world.apply(slug)

    assert faults.injected["drop"] > 0
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert world.sees(slug)["status"] == "COMPLETED"
    assert [w.subdomain for w in world.workspaces()].count(slug) == 1


@pytest.mark.slow
def test_a_server_that_refuses_for_a_while_is_tried_again_within_the_run(world: World) -> None:
    slug = add(world, "flaky")
    world.sandbox.twenty[0].faults.scripted += [
        ScriptedFault("activateWorkspace", "error", times=2),
        ScriptedFault("signUpInWorkspace", "refuse"),
    ]

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_one_tenants_failure_stops_no_other(world: World) -> None:
    failing, fine = add(world, "failing"), add(world, "fine")
    world.sandbox.twenty[0].faults.scripted.append(ScriptedFault("updateWorkspaceMemberRole", "error", times=4))

    applied = world.apply(failing, fine, tenant_concurrency=1)

    ready = {line.slug: line.state for line in applied.summary.tenants}
    assert sorted([ready["failing"], ready["fine"]]) == ["ready", "unwell"]
    assert world.apply(failing, fine).summary.unwell == []


def test_a_bare_database_is_adopted_and_says_that_its_admin_is_unknown(world: World) -> None:
    name = "twenty_tenant_eta_0a1b2c3d"
    world.sandbox.postgres.create_database(name)

    world.apply(name)

    row = world.registry("SELECT slug, name, database_url FROM tenant_registry WHERE database_name = %s", name)
    assert tuple(row[0])[:2] == ("eta", "Eta")
    assert world.link(name)["workspace_id"] in {workspace.id for workspace in world.workspaces()}
    conditions = world.conditions(name)
    assert conditions["WorkspaceReady"] == ("True", "WorkspaceActive")
    assert conditions["LoginProved"] == ("False", "AdminUnknown")
    assert conditions["Ready"] == ("False", "AdminUnknown")
    # an admin who turns up later is added by the next run
    organization = world.sandbox.clerk.add_organization("Eta")
    user = world.sandbox.clerk.add_user("eve@eta.example", first_name="Eve", last_name="Eta")
    world.sandbox.clerk.add_membership(organization.id, user.id, role="org:admin")
    world.registry(
        "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s RETURNING id", organization.id, name
    )
    world.apply(name)
    assert world.conditions(name)["Ready"] == ("True", "AllTrue")
    assert world.sees("eta")["email"] == "eve@eta.example"


@pytest.mark.slow
@pytest.mark.parametrize(("verified", "reason"), [(True, "ForeignPassword"), (False, "AccountUnproven")])
def test_an_admin_with_a_password_of_their_own_is_reported_and_nothing_is_sent(
    world: World, verified: bool, reason: str
) -> None:
    slug = add(world, f"own-password-{reason.lower()}")
    email = admin_email(world, slug)
    sign_up(world.sandbox.twenty[0], email, "their-own-password")
    world.twenty('UPDATE core."user" SET "isEmailVerified" = %s WHERE email = %s RETURNING id', verified, email)

    trusts: dict[str, Any] = {"members_unproven": "trust-mailbox"}

    world.apply(slug, **trusts)

    assert world.conditions(slug)["Ready"] == ("False", reason)
    assert world.link(slug)["admin_email"] is None
    assert world.conditions(slug)["OnboardingComplete"] == ("True", "StepsCleared")
    assert world.sandbox.twenty[0].mails == []
    world.sandbox.reset_counters()
    assert world.apply(slug, **trusts).summary.actions == 0
    assert world.mutating_calls() == 0


@pytest.mark.slow
def test_a_flag_that_comes_back_is_cleared_and_the_login_proved_again(world: World) -> None:
    slug = add(world, "drifted")
    world.apply(slug)
    link = world.link(slug)
    world.twenty(
        'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) '
        "VALUES ('ONBOARDING_CREATE_PROFILE_PENDING', %s, %s, 'true', 'USER_VARIABLE') RETURNING id",
        link["admin_user_id"],
        link["workspace_id"],
    )
    assert world.sees(slug)["status"] == "PROFILE_CREATION"

    applied = world.apply(slug)

    assert applied.summary.actions == 1
    assert world.sees(slug)["status"] == "COMPLETED"


@pytest.mark.slow
def test_a_row_at_a_wider_level_that_no_call_clears_is_removed(world: World) -> None:
    slug = add(world, "wider")
    world.apply(slug)
    world.twenty(
        'INSERT INTO core."keyValuePair" (key, "userId", value, type) '
        "VALUES ('ONBOARDING_CONNECT_ACCOUNT_PENDING', %s, 'true', 'USER_VARIABLE') RETURNING id",
        world.link(slug)["admin_user_id"],
    )

    world.apply(slug)

    assert world.sees(slug)["status"] == "COMPLETED"
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_a_deleted_workspace_is_reported_and_not_made_again(world: World) -> None:
    slug = add(world, "deleted")
    world.apply(slug)
    workspace = world.link(slug)["workspace_id"]
    world.twenty('UPDATE core.workspace SET "deletedAt" = now() WHERE id = %s RETURNING id', workspace)
    count = len(world.workspaces())

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("False", "WorkspaceGone")
    assert len(world.workspaces()) == count


@pytest.mark.slow
def test_somebody_elses_workspace_with_our_subdomain_is_left_alone(world: World) -> None:
    slug = add(world, "squatted")
    world.twenty(
        'INSERT INTO core.workspace (id, "displayName", subdomain, "inviteHash", "activationStatus") '
        "VALUES (gen_random_uuid(), 'Theirs', 'squatted', 'x', 'PENDING_CREATION') RETURNING id"
    )

    world.apply(slug)

    link = world.link(slug)
    assert link["subdomain"].startswith("squatted-")
    assert world.sees(slug)["status"] == "COMPLETED"


def test_a_suspended_tenant_is_set_aside(world: World) -> None:
    slug = add(world, "sleeping")
    world.registry("UPDATE tenant_registry SET status = 'suspended' WHERE slug = %s RETURNING id", slug)

    applied = world.apply(slug)

    line = next(line for line in applied.summary.tenants if line.slug == slug)
    assert line.state == "aside"
    assert slug not in {workspace.subdomain for workspace in world.workspaces()}


@pytest.mark.slow
def test_a_member_of_long_standing_keeps_the_name_they_chose(world: World) -> None:
    slug = add(world, "renamed")
    world.apply(slug)
    link = world.link(slug)
    schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', link["workspace_id"])[0][0]
    world.twenty(
        f'UPDATE "{schema}"."workspaceMember" SET "nameFirstName" = %s, "nameLastName" = %s '
        'WHERE "userId" = %s RETURNING id',
        "Chosen",
        "Name",
        link["admin_user_id"],
    )
    world.twenty(
        'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) '
        "VALUES ('ONBOARDING_CREATE_PROFILE_PENDING', %s, %s, 'true', 'USER_VARIABLE') RETURNING id",
        link["admin_user_id"],
        link["workspace_id"],
    )

    world.apply(slug)

    name = world.twenty(
        f'SELECT "nameFirstName", "nameLastName" FROM "{schema}"."workspaceMember" WHERE "userId" = %s',
        link["admin_user_id"],
    )
    assert tuple(name[0]) == ("Chosen", "Name")


@pytest.mark.slow
def test_a_login_refused_right_after_the_creation_leaves_the_workspace_to_the_next_run(world: World) -> None:
    slug = add(world, "refused-entry")
    # the look at the server's contract meets the first four, where a workspace is there already
    inspections = bool(world.workspaces())
    fault = ScriptedFault("getAuthTokensFromLoginToken", "error", times=8 if inspections else 4)
    world.sandbox.twenty[0].faults.scripted.append(fault)

    assert world.apply(slug).count("unwell") == 1

    assert world.link(slug)["workspace_id"]
    world.twenty(
        "UPDATE core.workspace SET \"createdAt\" = now() - interval '3 hours' WHERE subdomain = %s RETURNING id", slug
    )
    assert world.apply(slug).count("ready") == 1
    assert [w.subdomain for w in world.workspaces() if w.subdomain.startswith(slug)] == [slug]


@pytest.mark.slow
def test_an_answer_that_says_nothing_about_the_effect_keeps_the_intent_open(world: World) -> None:
    slug = add(world, "open-intent")
    world.sandbox.twenty[0].faults.scripted.append(ScriptedFault("signUpInNewWorkspace", "error", times=3))

    assert world.apply(slug).count("unwell") == 1

    (intent,) = world.registry(
        "SELECT i.subdomain FROM provisioning.intent i JOIN provisioning.tenant_link l USING (database_name) "
        "WHERE l.slug = %s AND i.settled_at IS NULL",
        slug,
    )
    assert intent[0] == slug
    assert world.apply(slug).count("ready") == 1
    assert [w.subdomain for w in world.workspaces() if w.subdomain.startswith(slug)] == [slug]


@pytest.mark.slow
def test_one_tenants_failing_read_does_not_stop_its_server(world: World) -> None:
    first, second = add(world, "read-fails", members=1), add(world, "read-works", members=1)
    world.apply(first, second)
    for slug in (first, second):
        link = world.link(slug)
        world.twenty(
            'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) '
            "VALUES ('ONBOARDING_INSTALL_APPS_PENDING', %s, %s, 'true', 'USER_VARIABLE') RETURNING id",
            link["admin_user_id"],
            link["workspace_id"],
        )
    world.sandbox.twenty[0].faults.scripted.append(ScriptedFault("currentUser", "error", times=4))

    applied = world.apply(first, second, tenant_concurrency=1)

    assert (applied.count("ready"), applied.count("unwell")) == (1, 1)


@pytest.mark.slow
def test_a_workspace_that_was_renamed_in_twenty_is_followed(world: World) -> None:
    slug = add(world, "before-rename")
    world.apply(slug)
    link = world.link(slug)
    world.twenty(
        "UPDATE core.workspace SET subdomain = 'after-rename' WHERE id = %s RETURNING id", link["workspace_id"]
    )
    world.twenty(
        'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) '
        "VALUES ('ONBOARDING_INSTALL_APPS_PENDING', %s, %s, 'true', 'USER_VARIABLE') RETURNING id",
        link["admin_user_id"],
        link["workspace_id"],
    )

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert world.link(slug)["workspace_url"].startswith("http://after-rename.")
    assert world.sees(slug)["status"] == "COMPLETED"


def test_a_tenant_that_was_deleted_on_purpose_is_not_unwell_for_want_of_its_database(world: World) -> None:
    slug = add(world, "left-for-good")
    world.registry("UPDATE tenant_registry SET status = 'deleted' WHERE slug = %s RETURNING id", slug)
    world.sandbox.postgres.drop_database(
        world.registry("SELECT database_name FROM tenant_registry WHERE slug = %s", slug)[0][0]
    )

    assert world.apply(slug).count("aside") == 1


@pytest.mark.slow
def test_a_lost_ledger_is_rebuilt_from_the_registry_without_a_second_workspace(world: World) -> None:
    slug = add(world, "kept")
    world.apply(slug)
    workspace = world.link(slug)["workspace_id"]
    world.registry("DELETE FROM provisioning.tenant_link WHERE slug = %s RETURNING slug", slug)
    count = len(world.workspaces())

    world.apply(slug)

    assert world.link(slug)["workspace_id"] == workspace
    assert len(world.workspaces()) == count
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_a_registry_id_that_is_no_workspace_of_twenty_does_not_stop_a_tenant(world: World) -> None:
    slug = add(world, "hand-made-id")
    world.registry("ALTER TABLE tenant_registry ADD COLUMN IF NOT EXISTS twenty_workspace_id uuid")
    world.registry(
        "UPDATE tenant_registry SET twenty_workspace_id = gen_random_uuid() WHERE slug = %s RETURNING id", slug
    )

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_an_admin_who_was_taken_out_in_twenty_comes_back_while_the_registry_names_them(world: World) -> None:
    slug = add(world, "thrown-out")
    # without an organization nobody else than the registry says who belongs to it
    world.sandbox.clerk.delete_organization(world.organization(slug))
    world.registry("UPDATE tenant_registry SET clerk_org_id = NULL WHERE slug = %s RETURNING slug", slug)
    world.apply(slug)
    link = world.link(slug)
    world.twenty(
        'DELETE FROM core."userWorkspace" WHERE "userId" = %s AND "workspaceId" = %s RETURNING id',
        link["admin_user_id"],
        link["workspace_id"],
    )

    world.apply(slug)

    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert world.link(slug)["admin_user_id"] == link["admin_user_id"]


@pytest.mark.slow
def test_the_verdict_on_named_tenants_is_about_them_alone(world: World) -> None:
    fine, lost = add(world, "named-fine"), add(world, "named-lost")
    world.sandbox.postgres.drop_database(
        world.registry("SELECT database_name FROM tenant_registry WHERE slug = %s", lost)[0][0]
    )
    assert world.apply(lost).count("unwell") == 1

    applied = world.apply(fine)

    assert (applied.count("ready"), applied.count("unwell")) == (1, 0)
    assert lost in {line.slug for line in applied.summary.unwell}


def admin_email(world: World, slug: str) -> str:
    organization = world.registry("SELECT clerk_org_id FROM tenant_registry WHERE slug = %s", slug)[0][0]
    state = world.sandbox.clerk.state
    member = next(m for m in state.memberships.values() if m.organization_id == organization and m.role == "org:admin")
    return str(state.users[member.user_id].primary_email)


def sign_up(server: StandInTwenty, email: str, password: str) -> None:
    import httpx2

    document = "mutation($e:String!,$p:String!){signUp(email:$e,password:$p){tokens{refreshToken{token}}}}"
    answer = httpx2.post(
        f"{server.base_url}/metadata", json={"query": document, "variables": {"e": email, "p": password}}, timeout=10
    ).json()
    assert "errors" not in answer
