"""The API of a Twenty server: who signs in, what is refused, and in which words."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from provisioning_pipeline.clients.transport import CallCounter, DryRunViolation
from provisioning_pipeline.clients.twenty.client import Account, Door, TwentyClient, derived_password
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline.settings import TwentyServer

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
    server: StandInTwenty | str, *, email: str = SERVICE, password: str = PASSWORD, dry_run: bool = False
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
        settings, timeout_seconds=10, activation_timeout_seconds=10, dry_run=dry_run, counter=CallCounter()
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
        invite_hash = await opened.invite_hash(door)
        await opened.join(ada, invite_hash)
        await opened.join(ada, invite_hash)
        assert role_of(server, ada.email) == [("Member",)]
        seen = await opened.current_user(ada, door)
        await opened.set_role(door, str(seen.workspace_member_id), await opened.role_id(door, "Admin"))
    assert role_of(server, ada.email) == [("Admin",)]
    assert len(server.mails) == mails


async def test_a_foreign_password_is_a_reason_of_its_own_and_nobody_joins(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, theirs = await workspace(opened), await workspace(opened)
        ada = person(password="her own password")
        await opened.join(ada, await opened.invite_hash(theirs))
        ours = person(ada.email)
        for attempt in (opened.check_password(ours), opened.join(ours, await opened.invite_hash(door))):
            with pytest.raises(Fault, match="password that is not ours") as raised:
                await attempt
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.FOREIGN_PASSWORD)
            assert ours.password.get_secret_value() not in raised.value.message
    assert len(role_of(server, ada.email)) == 1


async def test_a_member_with_a_foreign_password_is_acted_for_by_impersonation(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
        ada = person(password="her own password")
        await opened.join(ada, await opened.invite_hash(door))
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


async def test_a_closed_invite_link_is_told_with_what_to_do(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door, ada = await workspace(opened), person()
        invite_hash = await opened.invite_hash(door)
        sql(
            server,
            'UPDATE core.workspace SET "isPublicInviteLinkEnabled" = false WHERE id::text = %s',
            door.workspace_id,
        )
        with pytest.raises(Fault, match="invite link is off") as raised:
            await opened.join(ada, invite_hash)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.INVITE_LINK_DISABLED)
    assert role_of(server, ada.email) == []


async def test_a_role_that_is_not_there_is_told_with_those_that_are(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
        with pytest.raises(Fault, match="no role Owner; it has Admin, Member") as raised:
            await opened.role_id(door, "Owner")
    assert raised.value.kind is FaultKind.TENANT


# --- tokens that run out ------------------------------------------------------------------------------------------


async def test_tokens_that_are_about_to_expire_are_renewed_before_they_do(special: Any) -> None:
    """A token that ends within the minute is not used for another call."""
    server = special(TwentyOptions(access_token_seconds=30, activation_seconds=0))
    async with ready(server) as opened:
        door = await workspace(opened)
        logins = server.calls["getLoginTokenFromCredentials"]
        await opened.invite_hash(door)
        await opened.invite_hash(door)
        assert server.calls["getLoginTokenFromCredentials"] == logins + 2
        sign_ins = server.calls["signIn"]
        await opened.service_token()
        await opened.service_token()
        assert server.calls["signIn"] == sign_ins + 2


async def test_tokens_that_last_are_used_again(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        door = await workspace(opened)
        await opened.invite_hash(door)
        before = server.calls["getLoginTokenFromCredentials"] + server.calls["signIn"]
        await opened.invite_hash(door)
        await opened.service_token()
        assert server.calls["getLoginTokenFromCredentials"] + server.calls["signIn"] == before


async def test_a_token_that_the_server_no_longer_takes_is_renewed(special: Any) -> None:
    server = special()
    async with ready(server) as opened:
        door = await workspace(opened)
        before = await opened.invite_hash(door)
        forget_tokens(server)
        assert await opened.invite_hash(door) == before
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
