"""Members taken out of a workspace and proved to be out, and those who are never taken out."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.clients.twenty.accounts import Token, WorkspaceAddress
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.twenty import StandInTwenty
from provisioning_pipeline_tests.clients.conftest import AnyServer
from provisioning_pipeline_tests.clients.twenty import SERVICE, client, joined, person, ready, role_of, sql, workspace

pytestmark = pytest.mark.anyio


async def test_a_member_is_removed_and_proved_to_be_out(server: StandInTwenty) -> None:
    """Once somebody who belongs elsewhere, too, and once somebody whose account goes with the membership."""
    async with ready(server) as opened:
        address, elsewhere = await workspace(opened), await workspace(opened)
        stays, goes = person(), person()
        await joined(opened, stays, elsewhere)
        for account in (stays, goes):
            await joined(opened, account, address)
            token = await opened.member_token(account, address)
            seen = await opened.current_user(account, address)
            assert await opened.lets_in(account, address, token) == "an access token from before still lets them in"
            assert await opened.lets_in(account, address, None) == "a new login still lets them in"
            for _ in range(2):
                await opened.remove_member(address, str(seen.workspace_member_id))
            before = server.calls.copy()
            assert await opened.lets_in(account, address, token) is None
            assert server.calls - before == {
                "currentUser": 1,
                "findWorkspaceInvitations": 1,
                "getLoginTokenFromCredentials": 1,
            }
            assert await opened.lets_in(person(account.email, user_id=seen.user_id), address, token) is None
        assert (await opened.current_user(stays, elsewhere)).workspace_id == elsewhere.workspace_id
    living = 'SELECT email FROM core."user" WHERE email = ANY(%s) AND "deletedAt" IS NULL'
    assert sql(server, living, [stays.email, goes.email]) == [(stays.email,)]


async def test_who_has_a_password_of_their_own_is_proved_out_by_impersonation(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, elsewhere, theirs = (
            await workspace(opened),
            await workspace(opened),
            person(password="her own password"),
        )
        for each in (elsewhere, address):
            await joined(opened, theirs, each)
        seen = await opened.current_user(theirs, address)
        ours = person(theirs.email, user_id=seen.user_id)
        opened.forget(theirs, address)
        token = await opened.member_token(ours, address)
        before = server.calls["impersonate"]
        assert await opened.lets_in(ours, address, None) == "a new login still lets them in"
        assert server.calls["impersonate"] == before + 1
        told = await opened.lets_in(person(theirs.email), address, None)
        assert told == "a new login was refused for another reason, which proves nothing (Wrong password)"
        await opened.remove_member(address, str(seen.workspace_member_id))
        assert await opened.lets_in(ours, address, token) is None


async def test_an_invitation_would_undo_a_removal_and_the_proof_does_not_set_it_off(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, elsewhere, ada = await workspace(opened), await workspace(opened), person()
        for each in (elsewhere, address):
            await joined(opened, ada, each)
        token = await opened.member_token(ada, address)
        await opened.remove_member(address, str((await opened.current_user(ada, address)).workspace_member_id))
        admin = await opened.role_id(address, "Admin")
        await opened.invite(address, ada.email, admin)
        told = await opened.lets_in(ada, address, token)
        assert told == (f"a personal invitation lets {ada.email} join again by signing in (Twenty, Settings > Members)")
        assert len(role_of(server, ada.email)) == 1
        assert await opened.withdraw_invitations(address, ada.email.upper()) == 1
        assert await opened.withdraw_invitations(address, ada.email) == 0
        assert await opened.lets_in(ada, address, token) is None
        # a login that does not look first: any password makes her what she was invited as
        await opened.invite(address, ada.email, admin)
        with pytest.raises(Fault, match="password that is not ours"):
            await opened.member_token(person(ada.email, "not hers at all"), address)
    assert sorted(role_of(server, ada.email)) == [("Admin",), ("Member",)]


async def test_the_trouble_of_a_server_proves_nothing(server: StandInTwenty, waits: list[float]) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        token = await opened.member_token(ada, address)
        for operation in ("currentUser", "findWorkspaceInvitations", "getLoginTokenFromCredentials"):
            server.faults.scripted += [ScriptedFault(operation, "error") for _ in range(4)]
            with pytest.raises(Fault) as raised:
                await opened.lets_in(ada, address, token if operation == "currentUser" else None)
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
        address, token = (
            WorkspaceAddress(str(uuid4()), "http://acme.test/"),
            Token("old", datetime.now(UTC) + timedelta(hours=1)),
        )
        opened.known.tokens[(SERVICE, address.workspace_id)] = token
        given = token if way == "currentUser" else None
        refusal = "LIMIT_REACHED"
        with pytest.raises(Fault) as raised:
            await opened.lets_in(person(), address, given)
        assert raised.value.kind is FaultKind.TRANSIENT
        refusal = "ODD"
        told = await opened.lets_in(person(), address, given)
    assert told is not None
    assert "for another reason, which proves nothing (Email is not verified)" in told


async def test_the_service_account_is_never_removed(server: StandInTwenty) -> None:
    """With its last member record, Twenty would delete the workspace."""
    async with ready(server) as opened:
        address = await workspace(opened)
        own = str((await opened.current_user(opened.service_account, address)).workspace_member_id)
        with pytest.raises(Fault, match="is the one to be removed") as raised:
            await opened.remove_member(address, own)
        assert raised.value.reason is Reason.LAST_ADMIN_KEPT
        assert (await opened.current_user(opened.service_account, address)).workspace_id == address.workspace_id


async def test_nobody_is_removed_where_the_service_account_has_no_record(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        created = await opened.create_workspace("Acme", f"acme-{uuid4().hex[:8]}")
        await opened.enter(created)
        with pytest.raises(Fault, match="has no member record there"):
            await opened.remove_member(created.address, str(uuid4()))
