"""A locked workspace lets no member and no key in, and says so; unlocking gives back exactly what was there."""

import asyncio
from typing import Any

import pytest

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.model.access_lock import EMPTY_ROLE, AccessLock, LockState
from provisioning_pipeline.model.condition import Reason, Status
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE
from provisioning_pipeline_tests.customers import Customer
from provisioning_pipeline_tests.steps.suspension.locked import (
    at_twenty,
    give_role,
    key_of,
    lock,
    planned,
    say,
    session_of,
    told,
    unlock,
    workspace_of,
)
from provisioning_pipeline_tests.world import World, browser, read, upgraded

NO_MEMBER = "User is not a member of the workspace"
NO_RIGHT = "Entity performing the request does not have permission"
SERVICE = "provisioner@platform.test"


@pytest.fixture
def world(leaving_world: World) -> World:
    return leaving_world


def ready(world: World, slug: str) -> list[str]:
    """A tenant of three, with a role of its own and a key; the members' e-mails, the admin's first."""
    world.sandbox.add_tenant(slug, members=3)
    world.apply(slug)
    admin = world.link(slug)["admin_email"]
    others = sorted(email for email in at_twenty(world, slug)["members"] if email not in (admin, SERVICE))
    give_role(world, slug, others[0], "Sales")
    return [admin, *others]


def locks(world: World) -> dict[str, AccessLock]:
    async def read() -> dict[str, AccessLock]:
        async with connect(world.settings, dry_run=True) as connections:
            return await connections.access_locks.all()

    return asyncio.run(read())


def test_a_lock_lets_no_session_no_login_and_no_key_in_and_gives_all_of_it_back(world: World) -> None:
    emails = ready(world, "acme")
    key, sessions = key_of(world, "acme", "sync"), [session_of(world, "acme", email) for email in emails]
    before, plan = at_twenty(world, "acme"), [entry.changes for entry in world.plan("acme").tenants]

    locked = lock(world, "acme")

    assert (told(locked).status, told(locked).reason) == (Status.TRUE, Reason.ACCESS_LOCKED), told(locked)
    assert "3 members, 1 API key" in told(locked).message
    assert "proved for 3 members" in told(locked).message
    assert "attachments" in told(locked).message
    assert [str(outcome.change) for outcome in locked.outcomes] == [str(LOCK_WORKSPACE)]
    for session, email in zip(sessions, emails, strict=True):
        assert session.reads() == NO_RIGHT
        assert session.renewed() == NO_MEMBER
        with pytest.raises(AssertionError, match=NO_MEMBER):
            session_of(world, "acme", email)
    assert key.reads() == "This API Key is revoked"
    now = at_twenty(world, "acme")
    assert {email: member[1:] for email, member in now["members"].items()} == {
        SERVICE: ("Admin", False),
        **dict.fromkeys(emails, (EMPTY_ROLE, True)),
    }
    assert (now["link"], now["default"]) == (False, EMPTY_ROLE)
    known = locks(world)[world.link("acme")["database_name"]]
    assert (known.state, len(known.roles)) == (LockState.LOCKED, 3)

    unlocked = unlock(world, "acme")

    assert (told(unlocked).status, told(unlocked).reason) == (Status.FALSE, Reason.ACCESS_OPEN)
    assert at_twenty(world, "acme") == before
    assert world.conditions("acme")["LoginProved"] == ("True", "LoginCompleted")
    assert sum(str(outcome.change) == "prove login" for outcome in unlocked.outcomes) == 3
    assert [session.reads() for session in (*sessions, key)] == [{"companies": {"totalCount": 5}}] * 4
    assert world.link("acme")["database_name"] not in locks(world)
    assert [entry.changes for entry in world.plan("acme").tenants] == plan


@pytest.mark.slow
def test_locking_again_changes_nothing_and_proves_it_again(world: World) -> None:
    ready(world, "again")
    first = lock(world, "again")
    now = at_twenty(world, "again")

    second = lock(world, "again")

    assert second.outcomes == ()
    assert told(second) == told(first)
    assert at_twenty(world, "again") == now


@pytest.mark.slow
def test_who_comes_in_meanwhile_is_locked_in_the_next_pass_and_gets_what_they_came_in_with(world: World) -> None:
    emails = ready(world, "meanwhile")
    invited, joining = "invited@mail.example", "joining@mail.example"
    add_accounts(world, invited, joining)
    Customer(world, "meanwhile").invite(invited, "Member")
    said = told(lock(world, "meanwhile")).message
    assert f"1 personal invitations are open ({invited} as Member)" in said
    # an account with an open invitation joins by signing in, and another by a link that was on for a moment
    came = session_of(world, "meanwhile", invited)
    assert came.reads() == {"companies": {"totalCount": 5}}
    join_by_link(world, "meanwhile", joining)
    assert session_of(world, "meanwhile", joining).reads() == NO_RIGHT

    again = lock(world, "meanwhile")

    assert told(again).status is Status.TRUE
    assert "5 members" in told(again).message
    assert came.reads() == NO_RIGHT
    unlocked = unlock(world, "meanwhile")
    roles = {email: member[1] for email, member in at_twenty(world, "meanwhile")["members"].items()}
    assert roles == {
        SERVICE: "Admin",
        emails[0]: "Admin",
        emails[1]: "Sales",
        emails[2]: "Member",
        invited: "Member",
        joining: "Member",
    }
    assert f"{joining} joined while it was locked and has the default role" in unlocked.outcomes[0].detail


@pytest.mark.slow
def test_a_key_that_is_made_after_a_lock_is_revoked_by_the_next(world: World) -> None:
    ready(world, "keys")
    workspace = workspace_of(world, "keys")
    lock(world, "keys")
    world.twenty(
        'INSERT INTO core."apiKey" (name, "expiresAt", "workspaceId") VALUES (\'late\', %s, %s) RETURNING id',
        "2031-01-01",
        workspace,
    )

    assert "1 API key" in told(lock(world, "keys")).message
    assert at_twenty(world, "keys")["keys"] == {"late": True}
    unlock(world, "keys")
    assert at_twenty(world, "keys")["keys"] == {"late": False}


@pytest.mark.slow
def test_whose_password_is_not_ours_is_tried_by_impersonation(world: World) -> None:
    emails = ready(world, "foreign")
    before = at_twenty(world, "foreign")
    change_password(world, emails[2])

    locked = lock(world, "foreign")

    assert told(locked).status is Status.TRUE
    assert "proved for 3 members, 1 of them by impersonation" in told(locked).message
    unlock(world, "foreign")
    assert at_twenty(world, "foreign") == before


@pytest.mark.slow
def test_a_lock_of_whom_it_cannot_be_told_is_not_proved(world: World) -> None:
    emails = ready(world, "untold")
    change_password(world, emails[2])
    # an admin of the server is impersonated only by another
    make_server_admin(world, emails[2], yes=True)
    make_server_admin(world, SERVICE, yes=False)
    try:
        locked = lock(world, "untold")
    finally:
        make_server_admin(world, SERVICE, yes=True)

    assert (told(locked).status, told(locked).reason) == (Status.FALSE, Reason.LOCK_NOT_PROVED)
    assert f"not proved for 1 of 3 members: {emails[2]}: of a new login it cannot be told" in told(locked).message
    # it is locked all the same, and proved once it can be told
    assert at_twenty(world, "untold")["members"][emails[2]][1:] == (EMPTY_ROLE, True)
    assert told(lock(world, "untold")).status is Status.TRUE


@pytest.mark.slow
def test_a_role_that_is_gone_is_replaced_by_the_default_role_with_a_note(world: World) -> None:
    emails = ready(world, "gone")
    lock(world, "gone")
    world.twenty(
        "DELETE FROM core.role WHERE \"workspaceId\" = %s AND label = 'Sales' RETURNING id", workspace_of(world, "gone")
    )

    unlocked = unlock(world, "gone")

    assert at_twenty(world, "gone")["members"][emails[1]][1:] == ("Member", False)
    assert f"the role Sales of {emails[1]} is no longer there" in unlocked.outcomes[0].detail


@pytest.mark.slow
def test_a_setting_that_was_off_before_stays_off(world: World) -> None:
    ready(world, "off")
    world.twenty(
        'UPDATE core.workspace SET "isPublicInviteLinkEnabled" = false WHERE id = %s RETURNING id',
        workspace_of(world, "off"),
    )
    before = at_twenty(world, "off")
    lock(world, "off")
    unlock(world, "off")
    assert at_twenty(world, "off") == before
    assert before["link"] is False


@pytest.mark.slow
def test_a_role_of_the_same_name_that_gives_something_is_never_given(world: World) -> None:
    emails = ready(world, "namesake")
    give_role(world, "namesake", emails[1], EMPTY_ROLE)
    before = at_twenty(world, "namesake")

    refused = lock(world, "namesake")

    assert (told(refused).status, told(refused).reason) == (Status.FALSE, Reason.LOCK_NOT_PROVED)
    assert "gives rights" in told(refused).message
    assert at_twenty(world, "namesake") == before


@pytest.mark.slow
def test_a_member_who_was_removed_while_it_was_locked_stays_out(world: World) -> None:
    emails = ready(world, "removed")
    lock(world, "removed")
    schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace_of(world, "removed"))
    world.twenty(f'DELETE FROM "{schema[0][0]}"."workspaceMember" WHERE "userEmail" = %s RETURNING id', emails[2])

    unlocked = unlock(world, "removed")

    assert f"{emails[2]} has no member record any more" in unlocked.outcomes[0].detail
    assert at_twenty(world, "removed")["members"][emails[1]][1:] == ("Sales", False)


@pytest.mark.slow
def test_a_server_without_a_call_of_the_lock_is_left_alone(world: World) -> None:
    ready(world, "lacking")
    before = at_twenty(world, "lacking")
    options = TwentyOptions(activation_seconds=0.0, lacking=frozenset({"createOneRole", "updateWorkspaceMember"}))
    with upgraded(world, options):
        refused = lock(world, "lacking")

    assert (told(refused).status, told(refused).reason) == (Status.FALSE, Reason.UNSUPPORTED_TWENTY)
    assert "createOneRole, updateWorkspaceMember" in told(refused).message
    assert at_twenty(world, "lacking") == before
    assert world.link("lacking")["database_name"] not in locks(world)


@pytest.mark.slow
def test_unlocking_what_is_not_locked_only_says_so(world: World) -> None:
    ready(world, "open")
    before = at_twenty(world, "open")
    unlocked = unlock(world, "open")
    assert told(unlocked).reason is Reason.ACCESS_OPEN
    assert {str(outcome.change) for outcome in unlocked.outcomes} <= {"prove login"}
    assert at_twenty(world, "open") == before


@pytest.mark.slow
def test_a_lock_is_forgotten_with_the_workspace_that_a_restart_lets_go(world: World) -> None:
    ready(world, "restarted")
    lock(world, "restarted")
    workspace = workspace_of(world, "restarted")
    world.twenty('UPDATE core.workspace SET "deletedAt" = now() WHERE id = %s RETURNING id', workspace)
    name = world.link("restarted")["database_name"]
    world.restart("restarted")
    assert name not in locks(world)


# --- what happens ----------------------------------------------------------------------------------------------------


def change_password(world: World, email: str) -> None:
    """The account has the password of another."""
    world.twenty(
        'UPDATE core."user" SET "passwordHash" = (SELECT "passwordHash" FROM core."user" WHERE email = %s) '
        "WHERE email = %s RETURNING id",
        SERVICE,
        email,
    )


def make_server_admin(world: World, email: str, *, yes: bool) -> None:
    """The account may do everything on the server, or no longer."""
    world.twenty(
        'UPDATE core."user" SET "canAccessFullAdminPanel" = %s, "canImpersonate" = %s WHERE email = %s RETURNING id',
        yes,
        yes,
        email,
    )


def add_accounts(world: World, *emails: str) -> None:
    """Accounts that have our password and no workspace yet."""
    for email in emails:
        password = derived_password(world.settings.member_password_key, email).get_secret_value()
        with browser(world.sandbox.twenty[0]) as http:
            document = "mutation($e:String!,$p:String!){signUp(email:$e,password:$p){tokens{refreshToken{token}}}}"
            read(http, document, {"e": email, "p": password})


def join_by_link(world: World, slug: str, email: str) -> None:
    """Somebody joins by the link while an operator of the server has it on."""
    workspace = workspace_of(world, slug)
    switch = 'UPDATE core.workspace SET "isPublicInviteLinkEnabled" = %s WHERE id = %s RETURNING "inviteHash"'
    link = world.twenty(switch, True, workspace)[0][0]
    variables: dict[str, Any] = {
        "e": email,
        "p": derived_password(world.settings.member_password_key, email).get_secret_value(),
        "h": link,
    }
    document = (
        "mutation($e:String!,$p:String!,$h:String){signUpInWorkspace(email:$e,password:$p,workspaceInviteHash:$h)"
        "{workspace{id}}}"
    )
    with browser(world.sandbox.twenty[0]) as http:
        read(http, document, variables)
    world.twenty(switch, False, workspace)


@pytest.mark.slow
def test_of_a_tenant_that_is_active_again_since_the_plan_nothing_is_taken(world: World) -> None:
    world.sandbox.add_tenant("active-again", members=1)
    world.apply("active-again")
    before, entry = at_twenty(world, "active-again"), planned(world, "active-again", LOCK_WORKSPACE)
    say(world, "active-again", "active")

    result = world.run_planned(entry)

    assert (told(result).status, told(result).reason) == (Status.UNKNOWN, Reason.REGISTRY_CHANGED)
    assert result.outcomes == ()
    assert at_twenty(world, "active-again") == before
    assert world.link("active-again")["database_name"] not in locks(world)
    world.apply("active-again")
    assert "AccessLocked" not in world.conditions("active-again")
