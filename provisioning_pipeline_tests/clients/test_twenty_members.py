"""Members of a workspace: who joins, in which role, by which invitation, and what half a member is told."""

from uuid import uuid4

import pytest

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.accounts import InviteLink
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.twenty import StandInTwenty
from provisioning_pipeline_tests.clients.twenty import SERVICE, joined, person, ready, role_of, sql, workspace

pytestmark = pytest.mark.anyio


# --- joining ------------------------------------------------------------------------------------------------------


async def test_joining_twice_is_joining_once_and_sends_no_mail(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        mails = len(server.mails)
        await joined(opened, ada, address)
        await joined(opened, ada, address)
        assert role_of(server, ada.email) == [("Member",)]
        seen = await opened.current_user(ada, address)
        await opened.set_role(address, str(seen.workspace_member_id), await opened.role_id(address, "Admin"))
    assert role_of(server, ada.email) == [("Admin",)]
    assert len(server.mails) == mails


async def test_a_foreign_password_is_a_reason_of_its_own_and_nobody_joins(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, theirs = await workspace(opened), await workspace(opened)
        ada = person(password="her own password")
        await joined(opened, ada, theirs)
        ours = person(ada.email)
        for attempt in (opened.check_password(ours), joined(opened, ours, address)):
            with pytest.raises(Fault, match="password that is not ours") as raised:
                await attempt
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.FOREIGN_PASSWORD)
            assert ours.password.get_secret_value() not in raised.value.message
    assert len(role_of(server, ada.email)) == 1


async def test_a_closed_invite_link_is_told_with_what_to_do_and_can_be_opened(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada, member = await workspace(opened), person(), person()
        link = await opened.invite_links.read(address)
        assert link.enabled
        await opened.join(member, address, link.hash)
        await opened.invite_links.turn_off(address)
        assert await opened.invite_links.read(address) == InviteLink(link.hash, enabled=False)
        for account in (ada, member):
            with pytest.raises(Fault, match="invite link is off") as raised:
                await opened.join(account, address, link.hash)
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.INVITE_LINK_DISABLED)
        assert role_of(server, ada.email) == []
        await opened.invite_links.turn_on(address)
        assert await opened.invite_links.read(address) == link
        await opened.join(ada, address, link.hash)
    assert role_of(server, ada.email) == [("Member",)]
    assert link.hash not in repr(link)


async def test_joining_costs_two_calls_and_keeps_the_token(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        link = await opened.invite_links.read(address)
        before = server.calls.copy()
        await opened.join(ada, address, link.hash)
        assert server.calls - before == {"signUpInWorkspace": 1, "getAuthTokensFromLoginToken": 1}
        await opened.member_token(ada, address)
        await opened.current_user(ada, address)
        assert server.calls["getLoginTokenFromCredentials"] == before["getLoginTokenFromCredentials"]
        opened.forget(ada, address)
        await opened.member_token(ada, address)
        assert server.calls["getLoginTokenFromCredentials"] == before["getLoginTokenFromCredentials"] + 1


# --- roles --------------------------------------------------------------------------------------------------------


async def test_a_role_that_is_not_there_is_told_with_those_that_are(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address = await workspace(opened)
        with pytest.raises(Fault, match="no role Owner; it has Admin, Member") as raised:
            await opened.role_id(address, "Owner")
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.ROLE_UNKNOWN)


async def test_roles_are_read_once_for_each_workspace(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        one, two = await workspace(opened), await workspace(opened)
        before = server.calls["getRoles"]
        await all_of(opened.role_id(address, label) for address in (one, two) for label in ("Admin", "Member", "Admin"))
        roles = await opened.roles(one)
        assert roles != await opened.roles(two)
    assert server.calls["getRoles"] == before + 2
    mine = 'SELECT label, id::text FROM core.role WHERE "workspaceId" = %s'
    assert roles == dict(sql(server, mine, one.workspace_id))


async def test_the_last_admin_stays_admin_and_stays(server: StandInTwenty) -> None:
    """The service account has all rights here, but by a role that is not Twenty's own Admin."""
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        member_id = str((await opened.current_user(ada, address)).workspace_member_id)
        await opened.set_role(address, member_id, await opened.role_id(address, "Admin"))
        sql(
            server,
            """WITH made AS (INSERT INTO core.role (label, "workspaceId", "canUpdateAllSettings")
                             VALUES ('Operator', %s, true) RETURNING id, "workspaceId")
               UPDATE core."roleTarget" t SET "roleId" = made.id
               FROM made, core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId" AND u.email = %s
               WHERE uw."workspaceId" = made."workspaceId" AND t."userWorkspaceId" = uw.id""",
            address.workspace_id,
            SERVICE,
        )
        for attempt in (
            opened.set_role(address, member_id, await opened.role_id(address, "Member")),
            opened.remove_member(address, member_id),
        ):
            with pytest.raises(Fault, match="keeps the last Admin") as raised:
                await attempt
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.LAST_ADMIN_KEPT)
    assert role_of(server, ada.email) == [("Admin",)]


# --- invitations --------------------------------------------------------------------------------------------------


async def test_an_invitation_is_one_mail_and_carries_the_role(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada, plain = await workspace(opened), person(), person()
        mails = len(server.mails)
        for email in (ada.email, ada.email.upper(), SERVICE.title()):
            await opened.invite(address, email, await opened.role_id(address, "Admin"))
        await opened.invite(address, plain.email, None)
    assert [mail.to for mail in server.mails[mails:]] == [ada.email, plain.email]
    sent = """SELECT context->>'email', context->>'roleId' IS NOT NULL FROM core."appToken"
              WHERE "workspaceId" = %s AND type LIKE '%%INVITATION_TOKEN'"""
    assert set(sql(server, sent, address.workspace_id)) == {(ada.email, True), (plain.email, False)}


async def test_a_role_that_is_not_there_is_not_invited_to(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address = await workspace(opened)
        with pytest.raises(Fault, match="Role not found") as raised:
            await opened.invite(address, person().email, str(uuid4()))
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.REFUSED_BY_TWENTY)


# --- half members -------------------------------------------------------------------------------------------------


async def test_a_membership_without_a_record_is_told_and_joining_does_not_mend_it(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        schema = sql(server, 'SELECT "databaseSchema" FROM core.workspace WHERE id::text = %s', address.workspace_id)
        sql(server, f'DELETE FROM "{schema[0][0]}"."workspaceMember" WHERE "userEmail" = %s', ada.email)
        opened.forget(ada, address)
        for attempt in (joined(opened, ada, address), opened.current_user(ada, address)):
            with pytest.raises(Fault, match="no member record") as raised:
                await attempt
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.HALF_MEMBER)
        assert await opened.lets_in(ada, address, None) is None


async def test_a_record_without_a_membership_is_mended_by_joining(server: StandInTwenty) -> None:
    """Without a role or without a membership Twenty removes no one; joining gives both, and the record is kept."""
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        seen = await opened.current_user(ada, address)
        member_id = str(seen.workspace_member_id)
        for leftover in (
            """DELETE FROM core."roleTarget" WHERE "userWorkspaceId" IN (
                 SELECT id FROM core."userWorkspace" WHERE "userId"::text = %s)""",
            'DELETE FROM core."userWorkspace" WHERE "userId"::text = %s',
        ):
            sql(server, leftover, seen.user_id)
            with pytest.raises(Fault, match="no whole membership") as raised:
                await opened.remove_member(address, member_id)
            assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.HALF_MEMBER)
        await joined(opened, ada, address)
        assert (await opened.current_user(ada, address, by_new_login=True)).workspace_member_id == member_id
        assert role_of(server, ada.email) == [("Member",)]
        await opened.remove_member(address, member_id)
        assert await opened.lets_in(ada, address, None) is None


async def test_a_record_of_a_deleted_account_keeps_its_address_out(server: StandInTwenty) -> None:
    async with ready(server) as opened:
        address, ada = await workspace(opened), person()
        await joined(opened, ada, address)
        sql(server, 'UPDATE core."user" SET "deletedAt" = now() WHERE email = %s', ada.email)
        with pytest.raises(Fault, match="another or a deleted account") as raised:
            await joined(opened, ada, address)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.HALF_MEMBER)
