"""What happens to members over time: another e-mail, and logins that are renewed."""

from typing import Any

import pytest

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account, Renewal
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_unknown_user, why_email_stays
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.clients.twenty import joined, person, ready, sql, workspace

pytestmark = pytest.mark.anyio


# --- another e-mail -------------------------------------------------------------------------------------------------


async def test_a_member_gets_another_address_and_keeps_password_and_logins(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        token = await opened.member_token(ada, address)
        new = f"new.{ada.email}"
        for _ in range(2):
            await opened.change_email(ada, address, new.upper())
        assert (await opened.call_with(token, operations.CURRENT_USER)).email == new
        moved = Account(new, ada.password)
        seen = await opened.current_user(moved, address, by_new_login=True)
        assert seen.onboarding_status is not None
        with pytest.raises(TwentyFault) as raised:
            await opened.log_in(ada, address)
        assert is_unknown_user(raised.value.error)


async def test_what_twenty_refuses_about_an_address_is_told_in_words(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, elsewhere, ada, bea = await workspace(opened), await workspace(opened), person(), person()
        for account in (ada, bea):
            await joined(opened, account, address)

        async def refusal() -> str:
            with pytest.raises(TwentyFault) as raised:
                await opened.change_email(ada, address, bea.email)
            return why_email_stays(raised.value.error)

        assert await refusal() == "another account there has that address"
        fields = 'UPDATE core.workspace SET "editableProfileFields" = %s WHERE id = %s RETURNING 1'
        sql(server, fields, ["firstName"], address.workspace_id)
        assert "does not let them change it" in await refusal()
        sql(server, fields, ["email"], address.workspace_id)
        await joined(opened, ada, elsewhere)
        assert "several workspaces" in await refusal()


# --- logins that are renewed ----------------------------------------------------------------------------------------


async def test_a_refresh_token_renews_no_login_of_a_member_who_was_removed(server: StandInTwenty) -> None:
    """Once somebody who belongs elsewhere, too, and once somebody whose account goes with the membership."""
    async with ready(server) as opened:
        address, elsewhere = await workspace(opened), await workspace(opened)
        stays, goes = person(), person()
        await joined(opened, stays, elsewhere)
        for account in (stays, goes):
            await joined(opened, account, address)
            token = await opened.member_token(account, address)
            seen = await opened.current_user(account, address)
            still = await opened.renewal(token)
            assert still == Renewal(False, "a login renewed by a refresh token from before still lets them in")
            await opened.remove_member(address, str(seen.workspace_member_id))
            assert await opened.renewal(token) == Renewal(True, "refused")


async def test_without_a_login_from_before_it_cannot_be_told_whether_one_is_renewed(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        assert (await opened.renewal(None)).refused is None


async def test_where_a_server_renews_nothing_it_cannot_be_told(special: Any) -> None:
    server = special(TwentyOptions(lacking=frozenset({"renewToken"})))
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        token = await opened.member_token(ada, address)
        assert await opened.renewal(token) == Renewal(None, "this server has no call for it")
