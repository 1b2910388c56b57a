"""Servers with cookie sessions and single-use login tokens (2.38 and later), and workspaces that keep programs out."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import JSONResponse

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import BOOK_CALL, CONNECT_ACCOUNT, INSTALL_APPS
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.clients.conftest import AnyServer
from provisioning_pipeline_tests.clients.twenty import (
    cleared,
    client,
    joined,
    person,
    ready,
    sql,
    workspace,
)

pytestmark = pytest.mark.anyio
EXCHANGE = "getAuthTokensFromLoginToken"


@pytest.fixture(params=["2.38", pytest.param("2.47", marks=pytest.mark.slow)])
def newer(request: pytest.FixtureRequest, special: Callable[[TwentyOptions], StandInTwenty]) -> StandInTwenty:
    return special(TwentyOptions(activation_seconds=0, version=request.param))


def living_sessions(server: StandInTwenty) -> list[tuple[Any, ...]]:
    """The logins that people would see among their devices."""
    return sql(server, 'SELECT "userId" FROM core."userSession" WHERE "revokedAt" IS NULL')


def pending(server: StandInTwenty, email: str) -> set[str]:
    """Keys of the onboarding rows, and of the history of steps, of this account."""
    rows = sql(
        server,
        'SELECT k.key FROM core."keyValuePair" k JOIN core."user" u ON u.id = k."userId" WHERE u.email = %s',
        email,
    )
    return {key for (key,) in rows}


async def test_one_client_makes_a_workspace_and_members_however_many_cookies_it_was_handed(
    newer: StandInTwenty,
) -> None:
    async with ready(newer) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        await opened.check_password(ada)
        seen = await opened.current_user(ada, address, by_new_login=True)
    assert (seen.workspace_id, seen.onboarding_status) == (address.workspace_id, "SYNC_EMAIL")


async def test_no_login_of_ours_stays_among_anybodys_devices(newer: StandInTwenty) -> None:
    async with ready(newer) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        await opened.check_password(ada)
        await opened.current_user(ada, address, by_new_login=True)
        await opened.sign_out(ada, address)
        ada_id = sql(newer, 'SELECT id FROM core."user" WHERE email = %s', ada.email)[0]
        assert ada_id not in living_sessions(newer)
        assert await opened.address(address.workspace_id) == address
    assert sql(newer, 'SELECT count(*) FROM core."userSession"')[0][0] >= 6
    assert living_sessions(newer) == []


async def test_a_step_that_we_skip_leaves_nothing_to_go_back_to(newer: StandInTwenty) -> None:
    async with ready(newer) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        assert CONNECT_ACCOUNT in pending(newer, ada.email)
        await cleared(opened, ada, address, CONNECT_ACCOUNT)
        assert (await opened.step_call(INSTALL_APPS) is None) == (newer.options.version == "2.47")
        user, place = sql(
            newer,
            'SELECT uw."userId", uw."workspaceId" FROM core."userWorkspace" uw'
            ' JOIN core."user" u ON u.id = uw."userId" WHERE u.email = %s',
            ada.email,
        )[0]
        sql(
            newer,
            'INSERT INTO core."keyValuePair" (key, value, type, "userId", "workspaceId") '
            "VALUES (%s, 'true', 'USER_VARIABLE', %s, %s)",
            BOOK_CALL,
            user,
            place,
        )
        await cleared(opened, ada, address, BOOK_CALL)
    assert {key for key in pending(newer, ada.email) if "PROFILE" not in key} == set()


async def test_what_is_only_convenient_refuses_no_server(special: Any) -> None:
    lacking = {
        "skipSyncEmailOnboardingStep",
        "triggerInstallAppsOnboardingStep",
        "deleteWorkspaceInvitation",
        "signOut",
    }
    server = special(TwentyOptions(activation_seconds=0, version="2.38", lacking=frozenset(lacking)))
    async with ready(server) as opened:
        await opened.check_contract()
        assert (await opened.surface()).lacks == ()
        assert await opened.step_call(CONNECT_ACCOUNT) is None
        assert await workspace(opened)


@pytest.mark.parametrize("kind", ["drop", "error"])
async def test_an_exchange_whose_answer_is_lost_is_made_with_another_login_token(
    newer: StandInTwenty, kind: Any, waits: list[float]
) -> None:
    async with ready(newer) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        newer.faults.scripted = [ScriptedFault(EXCHANGE, kind, times=2)]
        seen = await opened.current_user(ada, address, by_new_login=True)
    assert seen.workspace_id == address.workspace_id
    assert all(fault.times == 0 for fault in newer.faults.scripted)


async def test_whoever_joined_is_in_though_the_answer_of_the_exchange_is_lost(
    newer: StandInTwenty, waits: list[float]
) -> None:
    async with ready(newer) as opened:
        address, ada = await workspace(opened), person()
        newer.faults.scripted = [ScriptedFault(EXCHANGE, "drop")]
        await joined(opened, ada, address)
        assert (await opened.current_user(ada, address)).workspace_id == address.workspace_id


async def test_a_cookie_that_somebody_adds_on_the_way_is_told_as_that(any_server: AnyServer) -> None:
    refusal = {"statusCode": 403, "messages": ["Request origin is not allowed"], "error": "CSRF_ORIGIN_MISMATCH"}
    async with client(any_server.answers(JSONResponse(refusal, 403))) as opened:
        with pytest.raises(Fault, match="adds the cookie of a session") as raised:
            await opened.surface()
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.UNSUPPORTED_TWENTY)


# --- workspaces that keep programs out ----------------------------------------------------------------------------


def set_up(server: StandInTwenty, door_id: str, setting: str) -> None:
    """Change a setting of one workspace as its admin would."""
    sql(server, f"UPDATE core.workspace SET {setting} WHERE id::text = %s", door_id)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('"isPasswordAuthEnabled" = false', Reason.PASSWORD_LOGIN_OFF),
        ('"isTwoFactorAuthenticationEnforced" = true', Reason.SECOND_FACTOR_REQUIRED),
    ],
)
async def test_a_workspace_that_keeps_us_out_is_told_with_the_setting_to_change(
    server: StandInTwenty, setting: str, reason: Reason
) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        ada_id = (await opened.current_user(ada, address)).user_id
    set_up(server, address.workspace_id, setting)
    async with client(server) as later:
        with pytest.raises(Fault, match=r"^The service account [\s\S]*\(Settings > Security\)") as raised:
            await later.current_user(person(ada.email, user_id=ada_id), address)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, reason)


@pytest.mark.parametrize("setting", ['"isPasswordAuthEnabled" = false', '"isTwoFactorAuthenticationEnforced" = true'])
async def test_where_the_service_account_is_inside_members_are_looked_at_by_impersonation(
    server: StandInTwenty, setting: str
) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        ada_id = (await opened.current_user(ada, address)).user_id
        await opened.current_user(opened.service_account, address)
        set_up(server, address.workspace_id, setting)
        seen = await opened.current_user(person(ada.email, user_id=ada_id), address, by_new_login=True)
    assert (seen.user_id, seen.workspace_id) == (ada_id, address.workspace_id)
