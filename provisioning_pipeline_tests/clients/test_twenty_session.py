"""Signing in to a Twenty server: whose words are reported, which tokens are stored, how many calls go at once."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.transport import DryRunViolation
from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import INSTALL_APPS
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.clients.conftest import AnyServer
from provisioning_pipeline_tests.clients.twenty import (
    KEY,
    PASSWORD,
    SERVICE,
    cleared,
    client,
    joined,
    person,
    ready,
    sql,
    workspace,
    workspaces,
)

pytestmark = pytest.mark.anyio


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


# --- tokens -------------------------------------------------------------------------------------------------------


async def test_a_token_shows_nothing_of_itself(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        token = await opened.service_token()
        assert token.value not in repr(vars(opened))
        assert PASSWORD not in repr(vars(opened))


async def test_a_token_that_many_want_at_once_is_fetched_once(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        opened.forget(ada, address)
        before = server.calls["getLoginTokenFromCredentials"]
        tokens = await all_of(opened.member_token(ada, address) for _ in range(6))
    assert len({token.value for token in tokens}) == 1
    assert server.calls["getLoginTokenFromCredentials"] == before + 1


async def test_tokens_that_are_about_to_expire_are_renewed_before_they_do(special: Any) -> None:
    """A token that ends within the minute is not used for another call."""
    server = special(TwentyOptions(access_token_seconds=30, activation_seconds=0))
    async with ready(server) as opened:
        address = await workspace(opened)
        logins = server.calls["getLoginTokenFromCredentials"]
        await opened.invite_links.read(address)
        await opened.invite_links.read(address)
        assert server.calls["getLoginTokenFromCredentials"] == logins + 2
        sign_ins = server.calls["signIn"]
        await opened.service_token()
        await opened.service_token()
        assert server.calls["signIn"] == sign_ins + 2


async def test_tokens_that_last_are_used_again(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address = await workspace(opened)
        await opened.invite_links.read(address)
        before = server.calls["getLoginTokenFromCredentials"] + server.calls["signIn"]
        await opened.invite_links.read(address)
        await opened.service_token()
        assert server.calls["getLoginTokenFromCredentials"] + server.calls["signIn"] == before


async def test_a_token_that_the_server_no_longer_takes_is_renewed(special: Any) -> None:
    server = special()
    async with ready(server) as opened:
        address = await workspace(opened)
        before = await opened.invite_links.read(address)
        forget_tokens(server)
        assert await opened.invite_links.read(address) == before
        await opened.skip_team_invitations(address)


async def test_an_agnostic_token_that_the_server_no_longer_takes_is_renewed(special: Any) -> None:
    server = special()
    async with ready(server) as opened:
        await opened.service_token()
        forget_tokens(server)
        address = (await opened.create_workspace("Acme", "acme-renewed")).address
    assert sql(server, "SELECT id::text FROM core.workspace") == [(address.workspace_id,)]


def forget_tokens(server: StandInTwenty) -> None:
    """The server starts anew with another secret, as after its operator changed it."""
    sql(server, "UPDATE sandbox_twenty.secret SET value = %s", uuid4().hex * 2)
    server.restart()


# --- an address that is another workspace's by now ----------------------------------------------------------------


async def test_nobody_is_signed_in_to_the_workspace_that_took_over_an_address(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        old, new, ada = await workspace(opened), await workspace(opened), person()
        await joined(opened, ada, old)
        await joined(opened, ada, new)
    sql(server, "UPDATE core.workspace SET subdomain = subdomain || '-gone' WHERE id::text = %s", old.workspace_id)
    subdomain = old.url.split("//")[1].split(".")[0]
    sql(server, "UPDATE core.workspace SET subdomain = %s WHERE id::text = %s", subdomain, new.workspace_id)
    async with client(server) as later:
        for attempt in (
            lambda: later.current_user(later.service_account, old),
            lambda: later.invite_links.read(old),
            lambda: later.current_user(ada, old),
            lambda: later.login_token(ada, old),
        ):
            with pytest.raises(Fault, match=f"leads to workspace {new.workspace_id} by now") as raised:
                await attempt()
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.WRONG_WORKSPACE)
        seen = await later.current_user(later.service_account, await later.address(old.workspace_id))
    assert seen.workspace_id == old.workspace_id


# --- a member whose password is not ours --------------------------------------------------------------------------


async def test_a_member_with_a_foreign_password_is_acted_for_by_impersonation(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address = await workspace(opened)
        ada = person(password="her own password")
        await joined(opened, ada, address)
        user_id = (await opened.current_user(ada, address)).user_id
    async with client(server) as later:
        with pytest.raises(Fault, match="password that is not ours"):
            await later.current_user(person(ada.email), address)
        seen = await later.current_user(person(ada.email, user_id=user_id), address)
        assert (seen.user_id, seen.workspace_id) == (user_id, address.workspace_id)
        assert seen.onboarding_status == "APPS_INSTALLATION"
        await cleared(later, person(ada.email, user_id=user_id), address, INSTALL_APPS)
        again = await later.current_user(person(ada.email, user_id=user_id), address, by_new_login=True)
    assert again.onboarding_status == "PROFILE_CREATION"


async def test_an_account_with_capitals_is_acted_for_by_its_id(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        seen = await opened.current_user(ada, address)
        sql(server, 'UPDATE core."user" SET email = %s WHERE id::text = %s', ada.email.upper(), seen.user_id)
        opened.forget(ada, address)
        known = person(ada.email, user_id=seen.user_id)
        assert (await opened.current_user(known, address)).user_id == seen.user_id
        assert await opened.lets_in(known, address, None) == "a new login still lets them in"


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
        httpx2.AsyncClient(base_url=url, verify=False) as other,
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


async def test_an_activation_holds_up_no_other_call(special: Any) -> None:
    server = special(TwentyOptions(activation_seconds=0.5))
    async with client(server, concurrency=1) as opened:
        await opened.sign_up_service_account()
        one, two = [await opened.create_workspace("Acme", subdomain) for subdomain in ("slow-one", "other-one")]
        for created in (one, two):
            await opened.enter(created)
        activation = asyncio.ensure_future(opened.activate_workspace(one.address))
        while not server.calls["activateWorkspace"]:
            await opened.invite_links.read(two.address)
        await opened.invite_links.read(two.address)
        assert not activation.done()
        assert await activation == "ACTIVE"


# --- the password of an account that we create ---------------------------------------------------------------------

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
