"""The API of a Twenty server: who signs in, what is refused, and in which words."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.transport import CallCounter, DryRunViolation
from provisioning_pipeline.clients.twenty.client import Account, Door, InviteLink, Token, TwentyClient, derived_password
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline.settings import TwentyServer
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
SERVICE, PASSWORD = "provisioner@platform.test", "service-c4nary"
KEY = SecretStr("a key that nobody knows")
QUICK = TwentyOptions(activation_seconds=0)


def new_database(postgres: SandboxPostgres) -> str:
    return postgres.create_database(f"twenty_{uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def shared(sandbox_postgres: SandboxPostgres) -> Iterator[StandInTwenty]:
    """One server for the tests that mind only their own workspace; its first account is another admin."""
    with StandInTwenty(new_database(sandbox_postgres), QUICK) as server:
        yield server


@pytest.fixture
def server(shared: StandInTwenty) -> StandInTwenty:
    shared.faults.scripted.clear()
    return shared


@pytest.fixture
def special(sandbox_postgres: SandboxPostgres) -> Iterator[Callable[[TwentyOptions], StandInTwenty]]:
    """Servers of one's own."""
    running: list[StandInTwenty] = []

    def start(options: TwentyOptions = QUICK) -> StandInTwenty:
        running.append(StandInTwenty(new_database(sandbox_postgres), options))
        running[-1].start()
        return running[-1]

    yield start
    for stand_in in running:
        stand_in.stop()


@asynccontextmanager
async def client(
    server: StandInTwenty | str,
    *,
    email: str = SERVICE,
    password: str = PASSWORD,
    dry_run: bool = False,
    concurrency: int = 8,
) -> AsyncIterator[TwentyClient]:
    known = isinstance(server, StandInTwenty)
    settings = TwentyServer(
        name="eu",
        base_url=server.base_url if known else server,
        database_url=SecretStr(server.database_url if known else "postgresql://x/x"),
        service_email=email,
        service_password=SecretStr(password),
    )
    async with TwentyClient(
        settings,
        timeout_seconds=10,
        activation_timeout_seconds=10,
        dry_run=dry_run,
        counter=CallCounter(),
        concurrency=concurrency,
    ) as opened:
        yield opened


@asynccontextmanager
async def ready(server: StandInTwenty) -> AsyncIterator[TwentyClient]:
    """A client whose service account exists and is the server's admin."""
    async with client(server) as opened:
        if not sql(server, 'SELECT 1 FROM core."user" WHERE email = %s', SERVICE):
            await opened.sign_up_service_account()
        yield opened


async def workspace(opened: TwentyClient) -> Door:
    """An active workspace of the service account."""
    created = await opened.create_workspace("Acme", f"acme-{uuid4().hex[:8]}")
    await opened.enter(created)
    door = created.door
    assert await opened.activate_workspace(door) == "ACTIVE"
    return door


async def joined(opened: TwentyClient, account: Account, door: Door) -> None:
    """The account comes in by the workspace's invite link."""
    await opened.join(account, (await opened.invite_link(door)).hash)


def sql(server: StandInTwenty, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def workspaces(server: StandInTwenty) -> int:
    return int(sql(server, "SELECT count(*) FROM core.workspace")[0][0])


def person(email: str | None = None, password: str | None = None, user_id: str | None = None) -> Account:
    email = email or f"{uuid4().hex[:8]}@acme.test"
    return Account(email, SecretStr(password) if password else derived_password(KEY, email), user_id)


# --- what the server is -------------------------------------------------------------------------------------------


async def test_the_contract_holds_on_the_stand_in_and_nothing_is_written(special: Any) -> None:
    server = special()
    async with client(server, dry_run=True) as opened:
        await opened.check_contract()
    assert server.mutating_calls == 0
    assert sql(server, 'SELECT count(*) FROM core."user"') == [(0,)]


async def test_a_server_that_lacks_a_field_is_refused_by_name_before_anything_is_written(special: Any) -> None:
    server = special(TwentyOptions(lacking=frozenset({"triggerInstallAppsOnboardingStep"})))
    async with client(server) as opened:
        for attempt in (opened.check_contract, opened.sign_up_service_account):
            with pytest.raises(Fault, match=r"Mutation\.triggerInstallAppsOnboardingStep") as raised:
                await attempt()
            assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.UNSUPPORTED_TWENTY)
            assert "Nothing was written" in raised.value.message
    assert sql(server, 'SELECT count(*) FROM core."user"') == [(0,)]


# --- the service account ------------------------------------------------------------------------------------------


async def test_the_first_account_becomes_the_servers_admin(special: Any) -> None:
    server = special()
    async with client(server, email=" Provisioner@Platform.test ") as opened:
        await opened.sign_up_service_account()
        assert await opened.service_token()
    assert sql(server, 'SELECT email, "canAccessFullAdminPanel" FROM core."user"') == [(SERVICE, True)]


async def test_a_wrong_password_of_the_service_account_ends_the_run_and_is_not_shown(server: StandInTwenty) -> None:
    async with ready(server):
        pass
    async with client(server, password="wrong-c4nary") as opened:
        with pytest.raises(Fault, match="PROVISIONING_TWENTY_SERVICE_PASSWORD") as raised:
            await opened.service_token()
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.CREDENTIALS_REFUSED)
    assert "c4nary" not in raised.value.message


async def test_a_missing_service_account_is_told_with_what_to_do(server: StandInTwenty) -> None:
    async with client(server, email="nobody@platform.test") as opened:
        with pytest.raises(Fault, match=r"no account nobody@platform\.test") as raised:
            await opened.service_token()
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.SERVICE_ACCOUNT_MISSING)
    assert "canAccessFullAdminPanel" in raised.value.message


async def test_a_service_account_that_is_no_admin_is_told_so(server: StandInTwenty) -> None:
    async with ready(server) as admin:
        await workspace(admin)
    before = workspaces(server)
    async with client(server, email="plain@platform.test") as opened:
        await opened.sign_up_service_account()
        with pytest.raises(Fault, match="only server admins") as raised:
            await opened.create_workspace("Acme", "plain-acme")
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.CREATION_RESTRICTED)
    assert workspaces(server) == before


async def test_a_dry_run_cannot_even_sign_in(server: StandInTwenty) -> None:
    async with client(server, dry_run=True) as opened:
        with pytest.raises(DryRunViolation):
            await opened.service_token()


async def test_a_token_shows_nothing_of_itself(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        token = await opened.service_token()
        assert token not in repr(vars(opened))
        assert PASSWORD not in repr(vars(opened))


# --- workspaces ---------------------------------------------------------------------------------------------------


async def test_a_full_server_is_told_with_what_to_do(special: Any) -> None:
    server = special(TwentyOptions(workspace_limit=1, activation_seconds=0))
    async with ready(server) as opened:
        await workspace(opened)
        with pytest.raises(Fault, match="enterprise key") as raised:
            await opened.create_workspace("Zenith", "zenith")
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.SERVER_FULL)
    assert workspaces(server) == 1


async def test_a_taken_and_a_refused_subdomain_are_two_reasons(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        await opened.create_workspace("Acme", "taken-one")
        before = workspaces(server)
        for subdomain, reason in (("taken-one", Reason.SUBDOMAIN_TAKEN), ("admin", Reason.SUBDOMAIN_REFUSED)):
            with pytest.raises(Fault) as raised:
                await opened.create_workspace("Acme", subdomain)
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, reason)
            assert not raised.value.effect_unknown
    assert workspaces(server) == before


async def test_a_creation_whose_answer_is_lost_made_one_workspace_and_says_that_it_may_have(
    server: StandInTwenty,
) -> None:
    async with ready(server) as opened:
        await opened.check_contract()
        before = workspaces(server)
        server.faults.scripted.append(ScriptedFault("signUpInNewWorkspace", "drop"))
        with pytest.raises(Fault) as raised:
            await opened.create_workspace("Acme", "lost-answer")
    assert raised.value.effect_unknown
    assert raised.value.kind is FaultKind.TRANSIENT
    assert workspaces(server) == before + 1


async def test_the_member_exists_after_the_activation_and_not_before(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        created = await opened.create_workspace("Acme", "before-after")
        await opened.enter(created)
        door = created.door
        early = await opened.current_user(opened.service_account, door)
        assert (early.workspace_member_id, early.onboarding_status) == (None, "WORKSPACE_ACTIVATION")
        assert await opened.activate_workspace(door) == "ACTIVE"
        assert await opened.activate_workspace(door) == "ACTIVE"
        seen = await opened.current_user(opened.service_account, door)
    assert seen.workspace_member_id
    assert seen.workspace_id == door.workspace_id


async def test_the_steps_of_the_service_account_are_cleared_one_after_another(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, me = await workspace(opened), opened.service_account
        seen = await opened.current_user(me, door)
        mails = len(server.mails)
        statuses = [seen.onboarding_status]
        await opened.skip_sync_email(me, door)
        statuses.append((await opened.current_user(me, door)).onboarding_status)
        await opened.skip_install_apps(me, door)
        statuses.append((await opened.current_user(me, door)).onboarding_status)
        await opened.set_name(door, str(seen.workspace_member_id), "Workspace", "Provisioning")
        statuses.append((await opened.current_user(me, door)).onboarding_status)
        await opened.invite_nobody(door)
        proved = await opened.current_user(me, door, by_new_login=True)
    assert statuses == ["SYNC_EMAIL", "APPS_INSTALLATION", "PROFILE_CREATION", "INVITE_TEAM"]
    assert (proved.onboarding_status, proved.first_name, proved.last_name) == (
        "COMPLETED",
        "Workspace",
        "Provisioning",
    )
    assert len(server.mails) == mails


async def test_a_door_is_found_again_by_another_client_and_no_other_workspaces_door(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
    async with client(server) as later:
        assert await later.door(door.workspace_id) == door
        with pytest.raises(Fault, match="no member of workspace") as raised:
            await later.door(str(uuid4()))
    assert raised.value.reason is Reason.WORKSPACE_INCOMPLETE


# --- members ------------------------------------------------------------------------------------------------------


def role_of(server: StandInTwenty, email: str) -> list[tuple[Any, ...]]:
    return sql(
        server,
        """SELECT r.label FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"
           LEFT JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id LEFT JOIN core.role r ON r.id = t."roleId"
           WHERE u.email = %s AND uw."deletedAt" IS NULL""",
        email,
    )


async def test_joining_twice_is_joining_once_and_sends_no_mail(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        mails = len(server.mails)
        await joined(opened, ada, door)
        await joined(opened, ada, door)
        assert role_of(server, ada.email) == [("Member",)]
        seen = await opened.current_user(ada, door)
        await opened.set_role(door, str(seen.workspace_member_id), await opened.role_id(door, "Admin"))
    assert role_of(server, ada.email) == [("Admin",)]
    assert len(server.mails) == mails


async def test_a_foreign_password_is_a_reason_of_its_own_and_nobody_joins(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, theirs = await workspace(opened), await workspace(opened)
        ada = person(password="her own password")
        await joined(opened, ada, theirs)
        ours = person(ada.email)
        for attempt in (opened.check_password(ours), joined(opened, ours, door)):
            with pytest.raises(Fault, match="password that is not ours") as raised:
                await attempt
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.FOREIGN_PASSWORD)
            assert ours.password.get_secret_value() not in raised.value.message
    assert len(role_of(server, ada.email)) == 1


async def test_a_member_with_a_foreign_password_is_acted_for_by_impersonation(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
        ada = person(password="her own password")
        await joined(opened, ada, door)
        user_id = (await opened.current_user(ada, door)).user_id
    async with client(server) as later:
        with pytest.raises(Fault, match="password that is not ours"):
            await later.current_user(person(ada.email), door)
        seen = await later.current_user(person(ada.email, user_id=user_id), door)
        assert (seen.user_id, seen.workspace_id) == (user_id, door.workspace_id)
        assert seen.onboarding_status == "APPS_INSTALLATION"
        await later.skip_install_apps(person(ada.email, user_id=user_id), door)
        again = await later.current_user(person(ada.email, user_id=user_id), door, by_new_login=True)
    assert again.onboarding_status == "PROFILE_CREATION"


async def test_a_closed_invite_link_is_told_with_what_to_do_and_can_be_opened(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada, member = await workspace(opened), person(), person()
        link = await opened.invite_link(door)
        assert link.enabled
        await opened.join(member, link.hash)
        await opened.close_invite_link(door)
        assert await opened.invite_link(door) == InviteLink(link.hash, enabled=False)
        for account in (ada, member):
            with pytest.raises(Fault, match="invite link is off") as raised:
                await opened.join(account, link.hash)
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.INVITE_LINK_DISABLED)
        assert role_of(server, ada.email) == []
        await opened.open_invite_link(door)
        assert await opened.invite_link(door) == link
        await opened.join(ada, link.hash)
    assert role_of(server, ada.email) == [("Member",)]
    assert link.hash not in repr(link)


async def test_joining_costs_two_calls_and_keeps_the_token(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        link = await opened.invite_link(door)
        before = server.calls.copy()
        await opened.join(ada, link.hash)
        assert server.calls - before == {"signUpInWorkspace": 1, "getAuthTokensFromLoginToken": 1}
        await opened.member_token(ada, door)
        await opened.current_user(ada, door)
        assert server.calls["getLoginTokenFromCredentials"] == before["getLoginTokenFromCredentials"]
        opened.forget(ada, door)
        await opened.member_token(ada, door)
        assert server.calls["getLoginTokenFromCredentials"] == before["getLoginTokenFromCredentials"] + 1


async def test_a_token_that_many_want_at_once_is_fetched_once(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        await joined(opened, ada, door)
        opened.forget(ada, door)
        before = server.calls["getLoginTokenFromCredentials"]
        tokens = await all_of(opened.member_token(ada, door) for _ in range(6))
    assert len({token.value for token in tokens}) == 1
    assert server.calls["getLoginTokenFromCredentials"] == before + 1


async def test_a_role_that_is_not_there_is_told_with_those_that_are(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
        with pytest.raises(Fault, match="no role Owner; it has Admin, Member") as raised:
            await opened.role_id(door, "Owner")
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.ROLE_UNKNOWN)


async def test_roles_are_read_once_for_each_workspace(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        one, two = await workspace(opened), await workspace(opened)
        before = server.calls["getRoles"]
        await all_of(opened.role_id(door, label) for door in (one, two) for label in ("Admin", "Member", "Admin"))
        roles = await opened.roles(one)
        assert roles != await opened.roles(two)
    assert server.calls["getRoles"] == before + 2
    mine = 'SELECT label, id::text FROM core.role WHERE "workspaceId" = %s'
    assert roles == dict(sql(server, mine, one.workspace_id))


async def test_the_last_admin_stays_admin_and_stays(server: StandInTwenty) -> None:
    """The service account has all rights here, but by a role that is not Twenty's own Admin."""
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        await joined(opened, ada, door)
        member_id = str((await opened.current_user(ada, door)).workspace_member_id)
        await opened.set_role(door, member_id, await opened.role_id(door, "Admin"))
        sql(
            server,
            """WITH made AS (INSERT INTO core.role (label, "workspaceId", "canUpdateAllSettings")
                             VALUES ('Operator', %s, true) RETURNING id, "workspaceId")
               UPDATE core."roleTarget" t SET "roleId" = made.id
               FROM made, core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId" AND u.email = %s
               WHERE uw."workspaceId" = made."workspaceId" AND t."userWorkspaceId" = uw.id""",
            door.workspace_id,
            SERVICE,
        )
        for attempt in (
            opened.set_role(door, member_id, await opened.role_id(door, "Member")),
            opened.remove_member(door, member_id),
        ):
            with pytest.raises(Fault, match="keeps the last Admin") as raised:
                await attempt
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.LAST_ADMIN_KEPT)
    assert role_of(server, ada.email) == [("Admin",)]


# --- out of a workspace, and proved to be -------------------------------------------------------------------------


async def test_a_member_is_removed_and_proved_to_be_out(server: StandInTwenty) -> None:
    """Once somebody who belongs elsewhere, too, and once somebody whose account goes with the membership."""
    async with ready(server) as opened:
        door, elsewhere = await workspace(opened), await workspace(opened)
        stays, goes = person(), person()
        await joined(opened, stays, elsewhere)
        for account in (stays, goes):
            await joined(opened, account, door)
            token = await opened.member_token(account, door)
            seen = await opened.current_user(account, door)
            assert await opened.lets_in(account, door, token) == "an access token from before still lets them in"
            assert await opened.lets_in(account, door, None) == "a new login still lets them in"
            for _ in range(2):
                await opened.remove_member(door, str(seen.workspace_member_id))
            before = server.calls.copy()
            assert await opened.lets_in(account, door, token) is None
            assert server.calls - before == {
                "currentUser": 1,
                "findWorkspaceInvitations": 1,
                "getLoginTokenFromCredentials": 1,
            }
            assert await opened.lets_in(person(account.email, user_id=seen.user_id), door, token) is None
        assert (await opened.current_user(stays, elsewhere)).workspace_id == elsewhere.workspace_id
    living = 'SELECT email FROM core."user" WHERE email = ANY(%s) AND "deletedAt" IS NULL'
    assert sql(server, living, [stays.email, goes.email]) == [(stays.email,)]


async def test_who_has_a_password_of_their_own_is_proved_out_by_impersonation(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, elsewhere, theirs = await workspace(opened), await workspace(opened), person(password="her own password")
        for each in (elsewhere, door):
            await joined(opened, theirs, each)
        seen = await opened.current_user(theirs, door)
        ours = person(theirs.email, user_id=seen.user_id)
        opened.forget(theirs, door)
        token = await opened.member_token(ours, door)
        before = server.calls["impersonate"]
        assert await opened.lets_in(ours, door, None) == "a new login still lets them in"
        assert server.calls["impersonate"] == before + 1
        told = await opened.lets_in(person(theirs.email), door, None)
        assert told == "a new login was refused for another reason, which proves nothing (Wrong password)"
        await opened.remove_member(door, str(seen.workspace_member_id))
        assert await opened.lets_in(ours, door, token) is None


async def test_an_invitation_would_undo_a_removal_and_the_proof_does_not_set_it_off(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, elsewhere, ada = await workspace(opened), await workspace(opened), person()
        for each in (elsewhere, door):
            await joined(opened, ada, each)
        token = await opened.member_token(ada, door)
        await opened.remove_member(door, str((await opened.current_user(ada, door)).workspace_member_id))
        admin = await opened.role_id(door, "Admin")
        await opened.invite(door, ada.email, admin)
        told = await opened.lets_in(ada, door, token)
        assert told == (f"a personal invitation lets {ada.email} join again by signing in (Twenty, Settings > Members)")
        assert len(role_of(server, ada.email)) == 1
        assert await opened.withdraw_invitations(door, ada.email.upper()) == 1
        assert await opened.withdraw_invitations(door, ada.email) == 0
        assert await opened.lets_in(ada, door, token) is None
        # a login that does not look first: any password makes her what she was invited as
        await opened.invite(door, ada.email, admin)
        with pytest.raises(Fault, match="password that is not ours"):
            await opened.member_token(person(ada.email, "not hers at all"), door)
    assert sorted(role_of(server, ada.email)) == [("Admin",), ("Member",)]


async def test_the_trouble_of_a_server_proves_nothing(server: StandInTwenty, waits: list[float]) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        await joined(opened, ada, door)
        token = await opened.member_token(ada, door)
        for operation in ("currentUser", "findWorkspaceInvitations", "getLoginTokenFromCredentials"):
            server.faults.scripted += [ScriptedFault(operation, "error") for _ in range(4)]
            with pytest.raises(Fault) as raised:
                await opened.lets_in(ada, door, token if operation == "currentUser" else None)
            assert raised.value.kind is FaultKind.TRANSIENT
    assert len(waits) == 9


@pytest.mark.parametrize("way", ["currentUser", "getLoginTokenFromCredentials"])
async def test_a_limit_or_a_strange_refusal_is_no_proof(way: str, any_server: AnyServer) -> None:
    """Answers that the stand-in never gives: what Twenty says when it is asked too often, and something unforeseen."""
    answers = {
        "LIMIT_REACHED": {"message": "Limit reached", "extensions": {"code": "BAD_USER_INPUT"}},
        "ODD": {"message": "Email is not verified", "extensions": {"code": "FORBIDDEN"}},
    }
    refusal = ""

    async def answer(request: Request) -> Response:
        query = (await request.json())["query"] if request.method == "POST" else ""
        if way in query and "skip" not in query:
            entry = answers[refusal]
            return JSONResponse({"errors": [entry | {"extensions": {**entry["extensions"], "subCode": refusal}}]})
        later = "2100-01-01T00:00:00.000Z"
        tokens = {"tokens": {"accessOrWorkspaceAgnosticToken": {"token": "t", "expiresAt": later}}}
        return JSONResponse(
            {
                "data": {
                    "currentUser": None,
                    "findWorkspaceInvitations": [],
                    "getLoginTokenFromCredentials": {"loginToken": {"token": "l"}},
                    "getAuthTokensFromLoginToken": tokens,
                }
            }
        )

    async with client(any_server.answers(answer)) as opened:
        door, token = Door(str(uuid4()), "http://acme.test/"), Token("old", datetime.now(UTC) + timedelta(hours=1))
        opened._tokens[(SERVICE, door.workspace_id)] = token
        given = token if way == "currentUser" else None
        refusal = "LIMIT_REACHED"
        with pytest.raises(Fault) as raised:
            await opened.lets_in(person(), door, given)
        assert raised.value.kind is FaultKind.TRANSIENT
        refusal = "ODD"
        told = await opened.lets_in(person(), door, given)
    assert told is not None
    assert "for another reason, which proves nothing (Email is not verified)" in told


async def test_the_service_account_is_never_removed(server: StandInTwenty) -> None:
    """With its last member record, Twenty would delete the workspace."""
    async with ready(server) as opened:
        door = await workspace(opened)
        own = str((await opened.current_user(opened.service_account, door)).workspace_member_id)
        with pytest.raises(Fault, match="is the one to be removed") as raised:
            await opened.remove_member(door, own)
        assert raised.value.reason is Reason.LAST_ADMIN_KEPT
        assert (await opened.current_user(opened.service_account, door)).workspace_id == door.workspace_id


async def test_nobody_is_removed_where_the_service_account_has_no_record(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        created = await opened.create_workspace("Acme", f"acme-{uuid4().hex[:8]}")
        await opened.enter(created)
        with pytest.raises(Fault, match="has no member record there"):
            await opened.remove_member(created.door, str(uuid4()))


async def test_an_account_with_capitals_is_acted_for_by_its_id(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        await joined(opened, ada, door)
        seen = await opened.current_user(ada, door)
        sql(server, 'UPDATE core."user" SET email = %s WHERE id::text = %s', ada.email.upper(), seen.user_id)
        opened.forget(ada, door)
        known = person(ada.email, user_id=seen.user_id)
        assert (await opened.current_user(known, door)).user_id == seen.user_id
        assert await opened.lets_in(known, door, None) == "a new login still lets them in"


# --- invitations --------------------------------------------------------------------------------------------------


async def test_an_invitation_is_one_mail_and_carries_the_role(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada, plain = await workspace(opened), person(), person()
        mails = len(server.mails)
        for email in (ada.email, ada.email.upper(), SERVICE.title()):
            await opened.invite(door, email, await opened.role_id(door, "Admin"))
        await opened.invite(door, plain.email, None)
    assert [mail.to for mail in server.mails[mails:]] == [ada.email, plain.email]
    sent = """SELECT context->>'email', context->>'roleId' IS NOT NULL FROM core."appToken"
              WHERE "workspaceId" = %s AND type LIKE '%%INVITATION_TOKEN'"""
    assert set(sql(server, sent, door.workspace_id)) == {(ada.email, True), (plain.email, False)}


async def test_a_role_that_is_not_there_is_not_invited_to(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
        with pytest.raises(Fault, match="Role not found") as raised:
            await opened.invite(door, person().email, str(uuid4()))
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.REFUSED_BY_TWENTY)


# --- half members -------------------------------------------------------------------------------------------------


async def test_a_membership_without_a_record_is_told_and_joining_does_not_mend_it(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        await joined(opened, ada, door)
        schema = sql(server, 'SELECT "databaseSchema" FROM core.workspace WHERE id::text = %s', door.workspace_id)
        sql(server, f'DELETE FROM "{schema[0][0]}"."workspaceMember" WHERE "userEmail" = %s', ada.email)
        opened.forget(ada, door)
        for attempt in (joined(opened, ada, door), opened.current_user(ada, door)):
            with pytest.raises(Fault, match="no member record") as raised:
                await attempt
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.HALF_MEMBER)
        assert await opened.lets_in(ada, door, None) is None


async def test_a_record_without_a_membership_is_mended_by_joining(server: StandInTwenty) -> None:
    """Without a role or without a membership Twenty removes nobody; joining gives both, and the record is kept."""
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        await joined(opened, ada, door)
        seen = await opened.current_user(ada, door)
        member_id = str(seen.workspace_member_id)
        for leftover in (
            """DELETE FROM core."roleTarget" WHERE "userWorkspaceId" IN (
                 SELECT id FROM core."userWorkspace" WHERE "userId"::text = %s)""",
            'DELETE FROM core."userWorkspace" WHERE "userId"::text = %s',
        ):
            sql(server, leftover, seen.user_id)
            with pytest.raises(Fault, match="no whole membership") as raised:
                await opened.remove_member(door, member_id)
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.HALF_MEMBER)
        await joined(opened, ada, door)
        assert (await opened.current_user(ada, door, by_new_login=True)).workspace_member_id == member_id
        assert role_of(server, ada.email) == [("Member",)]
        await opened.remove_member(door, member_id)
        assert await opened.lets_in(ada, door, None) is None


async def test_a_record_of_a_deleted_account_keeps_its_address_out(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        await joined(opened, ada, door)
        sql(server, 'UPDATE core."user" SET "deletedAt" = now() WHERE email = %s', ada.email)
        with pytest.raises(Fault, match="another or a deleted account") as raised:
            await joined(opened, ada, door)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.HALF_MEMBER)


# --- how many calls at once ---------------------------------------------------------------------------------------


async def test_no_more_calls_than_allowed_are_under_way_at_once(any_server: AnyServer) -> None:
    """Whoever came is held back while others, who are not counted, come and go: a fourth would come meanwhile."""
    held = most = 0
    released = asyncio.Event()

    async def answer(request: Request) -> Response:
        nonlocal held, most
        if request.url.path == "/release":
            released.set()
        elif request.url.path != "/look":
            held += 1
            most = max(most, held)
            await released.wait()
            held -= 1
        return JSONResponse({})

    url = any_server.answers(answer)
    async with (
        client(url, concurrency=3) as opened,
        httpx.AsyncClient(base_url=url, verify=False) as other,
        asyncio.TaskGroup() as work,
    ):
        for _ in range(9):
            work.create_task(opened.server_config())
        while held < 3:
            await other.get("/look")
        for _ in range(9):
            await other.get("/look")
        await other.get("/release")
    assert most == 3


async def test_an_activation_holds_up_nobody(special: Any) -> None:
    server = special(TwentyOptions(activation_seconds=0.5))
    async with client(server, concurrency=1) as opened:
        await opened.sign_up_service_account()
        one, two = [await opened.create_workspace("Acme", subdomain) for subdomain in ("slow-one", "other-one")]
        for created in (one, two):
            await opened.enter(created)
        activation = asyncio.ensure_future(opened.activate_workspace(one.door))
        while not server.calls["activateWorkspace"]:
            await opened.invite_link(two.door)
        await opened.invite_link(two.door)
        assert not activation.done()
        assert await activation == "ACTIVE"


# --- tokens that run out ------------------------------------------------------------------------------------------


async def test_tokens_that_are_about_to_expire_are_renewed_before_they_do(special: Any) -> None:
    """A token that ends within the minute is not used for another call."""
    server = special(TwentyOptions(access_token_seconds=30, activation_seconds=0))
    async with ready(server) as opened:
        door = await workspace(opened)
        logins = server.calls["getLoginTokenFromCredentials"]
        await opened.invite_link(door)
        await opened.invite_link(door)
        assert server.calls["getLoginTokenFromCredentials"] == logins + 2
        sign_ins = server.calls["signIn"]
        await opened.service_token()
        await opened.service_token()
        assert server.calls["signIn"] == sign_ins + 2


async def test_tokens_that_last_are_used_again(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
        await opened.invite_link(door)
        before = server.calls["getLoginTokenFromCredentials"] + server.calls["signIn"]
        await opened.invite_link(door)
        await opened.service_token()
        assert server.calls["getLoginTokenFromCredentials"] + server.calls["signIn"] == before


async def test_a_token_that_the_server_no_longer_takes_is_renewed(special: Any) -> None:
    server = special()
    async with ready(server) as opened:
        door = await workspace(opened)
        before = await opened.invite_link(door)
        forget_tokens(server)
        assert await opened.invite_link(door) == before
        await opened.invite_nobody(door)


async def test_an_agnostic_token_that_the_server_no_longer_takes_is_renewed(special: Any) -> None:
    server = special()
    async with ready(server) as opened:
        await opened.service_token()
        forget_tokens(server)
        door = (await opened.create_workspace("Acme", "acme-renewed")).door
    assert sql(server, "SELECT id::text FROM core.workspace") == [(door.workspace_id,)]


def forget_tokens(server: StandInTwenty) -> None:
    """The server starts anew with another secret, as after its operator changed it."""
    sql(server, "UPDATE sandbox_twenty.secret SET value = %s", uuid4().hex * 2)
    server.restart()


# --- derived passwords --------------------------------------------------------------------------------------------

EMAILS = st.text(st.characters(codec="utf-8"), max_size=80)


@given(EMAILS, EMAILS)
def test_a_derived_password_is_one_that_twenty_takes_and_each_address_has_its_own(one: str, other: str) -> None:
    password = derived_password(KEY, one).get_secret_value()
    assert 8 <= len(password) <= 50
    assert password.isascii()
    assert "\n" not in password
    assert password == derived_password(KEY, one).get_secret_value()
    same = one.strip().lower() == other.strip().lower()
    assert (password == derived_password(KEY, other).get_secret_value()) == same


def test_a_derived_password_does_not_depend_on_case_or_blanks_but_on_the_key() -> None:
    plain = derived_password(KEY, "ada@acme.test").get_secret_value()
    assert derived_password(KEY, " Ada@ACME.Test\n").get_secret_value() == plain
    assert derived_password(SecretStr("another key entirely"), "ada@acme.test").get_secret_value() != plain
    assert "ada" not in plain


def test_a_derived_password_never_changes_between_releases() -> None:
    """Accounts that exist already have the passwords of today."""
    fixed = derived_password(SecretStr("0123456789abcdef"), "ada@acme.test").get_secret_value()
    assert fixed == "boPox0Fgtf8dn12zefNYqz17APDr3zD2-iY_0vJcuEM"
