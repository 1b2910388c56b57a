"""Workspaces of a Twenty server: made, activated, entered and led through their onboarding, or refused in words."""

from typing import Any
from uuid import uuid4

import pytest

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, INSTALL_APPS
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.clients.twenty import cleared, client, ready, workspace, workspaces

pytestmark = pytest.mark.anyio


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
        address = created.address
        early = await opened.current_user(opened.service_account, address)
        assert (early.workspace_member_id, early.onboarding_status) == (None, "WORKSPACE_ACTIVATION")
        assert await opened.activate_workspace(address) == "ACTIVE"
        assert await opened.activate_workspace(address) == "ACTIVE"
        seen = await opened.current_user(opened.service_account, address)
    assert seen.workspace_member_id
    assert seen.workspace_id == address.workspace_id


async def test_the_steps_of_the_service_account_are_cleared_one_after_another(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, me = await workspace(opened), opened.service_account
        seen = await opened.current_user(me, address)
        mails = len(server.mails)
        statuses = [seen.onboarding_status]
        await cleared(opened, me, address, CONNECT_ACCOUNT)
        statuses.append((await opened.current_user(me, address)).onboarding_status)
        await cleared(opened, me, address, INSTALL_APPS)
        statuses.append((await opened.current_user(me, address)).onboarding_status)
        await opened.set_name(address, str(seen.workspace_member_id), "Workspace", "Provisioning")
        statuses.append((await opened.current_user(me, address)).onboarding_status)
        await opened.skip_team_invitations(address)
        proved = await opened.current_user(me, address, by_new_login=True)
    assert statuses == ["SYNC_EMAIL", "APPS_INSTALLATION", "PROFILE_CREATION", "INVITE_TEAM"]
    assert (proved.onboarding_status, proved.first_name, proved.last_name) == (
        "COMPLETED",
        "Workspace",
        "Provisioning",
    )
    assert len(server.mails) == mails


async def test_a_door_is_found_again_by_another_client_and_no_other_workspaces_door(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address = await workspace(opened)
    async with client(server) as later:
        assert await later.address(address.workspace_id) == address
        with pytest.raises(Fault, match="no member of workspace") as raised:
            await later.address(str(uuid4()))
    assert raised.value.reason is Reason.WORKSPACE_INCOMPLETE
