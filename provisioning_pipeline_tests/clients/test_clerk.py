"""Clerk: what is told of organizations, members and users, a look at one person, and two ids kept there."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.clients.clerk.walk import Walk, verified_email
from provisioning_pipeline.clients.transport import DryRunViolation
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.clients.clerk import client, membership, of, organization, people
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio


# --- what is told -------------------------------------------------------------------------------------------------


async def test_the_instance_is_told(clerk: StandInClerk) -> None:
    async with of(clerk) as opened:
        instance = await opened.instance()
    assert (instance["id"], instance["environment_type"]) == (clerk.instance_id, "development")


async def test_an_organization_is_told_with_its_workspace(clerk: StandInClerk) -> None:
    first = clerk.add_organization("Acme", slug="acme", public_metadata={"twenty_workspace_id": "w-1", "plan": "gold"})
    second = clerk.add_organization("Zenith", slug="zenith", public_metadata={"twenty_workspace_id": 7})
    third = clerk.add_organization("Other", slug="other", public_metadata={"twenty_workspace_id": None})
    async with of(clerk) as opened:
        walk = await opened.organizations()
        some = await opened.some_organizations([third.id, "org_gone", first.id, first.id, "", f"-{second.id}"])
        others = await opened.some_organizations([f"-{second.id}"])
    assert walk.rows == (
        (first.id, "Acme", "acme", "w-1"),
        (second.id, "Zenith", "zenith", "7"),
        (third.id, "Other", "other", None),
    )
    assert set(some.rows) == {walk.rows[0], walk.rows[2]}
    assert others == Walk((), None), "a sign before an id would leave that one out and list all others"
    assert some.doubt is None


async def test_a_membership_is_told_with_role_and_time(clerk: StandInClerk) -> None:
    (ada,) = people(clerk, 1)
    acme = clerk.add_organization("Acme")
    made = clerk.add_membership(acme.id, ada, "org:billing")
    async with of(clerk) as opened:
        walk = await opened.memberships()
    assert walk.rows == ((acme.id, ada, "org:billing", made.created_at),)


async def test_a_user_is_told_with_the_verified_primary_address_only(clerk: StandInClerk) -> None:
    made = {
        "verified": clerk.add_user("Ada@ACME.test", first_name=" Ada ", last_name=None, external_id="twenty-1"),
        "unverified": clerk.add_user("b@x.test", status="unverified"),
        "no verification": clerk.add_user("c@x.test", status=None),
        "no address": clerk.add_user(None),
        "reserved": clerk.add_user("d@x.test", reserved=True, status="unverified"),
        "secondary only": clerk.add_user("e@x.test", status="unverified", other_emails=("f@x.test",)),
        "expired": clerk.add_user("g@x.test", status="expired"),
    }
    clerk.ban_user(made["expired"].id)
    async with of(clerk) as opened:
        walk = await opened.users()
        assert set((await opened.some_users(user.id for user in made.values())).rows) == set(walk.rows)
    assert walk.rows[0] == (made["verified"].id, "ada@acme.test", "Ada", "", False, "twenty-1")
    assert [row[1] for row in walk.rows[1:]] == [None] * 6
    assert [row[0] for row in walk.rows if row[4]] == [made["expired"].id]


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"primary_email_address_id": "idn_1"},
        {"primary_email_address_id": "idn_1", "email_addresses": None},
        {"primary_email_address_id": None, "email_addresses": [{"id": None, "email_address": "a@x.test"}]},
        {"primary_email_address_id": "idn_1", "email_addresses": [{"id": "idn_1", "verification": None}]},
        {"primary_email_address_id": "idn_2", "email_addresses": [{"email_address": "a@x.test"}, {"id": "idn_1"}]},
        # in lower case it is kate@x.test, which may be another user
        {
            "primary_email_address_id": "idn_1",
            "email_addresses": [
                {"id": "idn_1", "email_address": "\N{KELVIN SIGN}ate@x.test", "verification": {"status": "verified"}}
            ],
        },
    ],
)
def test_a_user_without_a_proved_address_has_none(user: dict[str, Any]) -> None:
    assert verified_email(user) is None


async def test_users_are_found_by_the_hundred_and_deleted_ones_are_missing(clerk: StandInClerk) -> None:
    ids = people(clerk, 205)
    clerk.delete_user(ids[7])
    async with of(clerk) as opened:
        walk = await opened.some_users(ids)
        assert await opened.some_users([]) == Walk((), None)
    assert {row[0] for row in walk.rows} == set(ids) - {ids[7]}
    assert clerk.calls["GET /users"] == 3


async def test_an_organization_is_found_by_exactly_its_slug(clerk: StandInClerk) -> None:
    acme = clerk.add_organization("Acme", slug="acme")
    async with of(clerk) as opened:
        assert await opened.organization_by_slug("acme") == (acme.id, "Acme", "acme", None)
        for other in ("acm", "", acme.id, "..", "acme/memberships"):
            assert await opened.organization_by_slug(other) is None


# --- the second witness -------------------------------------------------------------------------------------------


async def test_a_member_check_says_who_is_gone_and_how(clerk: StandInClerk) -> None:
    kept, banned, deleted, left, elsewhere = people(clerk, 5)
    acme, zenith = organization(clerk, kept, banned, deleted, left), organization(clerk, elsewhere)
    clerk.ban_user(banned)
    clerk.delete_user(deleted)
    clerk.remove_membership(acme, left)
    since = clerk.state.users[banned].updated_at
    async with of(clerk) as opened:
        seen = {user_id: await opened.standing(acme, user_id) for user_id in (kept, banned, deleted, left, elsewhere)}
        assert await opened.standing(zenith, elsewhere) is True
    assert seen == {
        kept: True,
        banned: Departure("banned", since),
        deleted: Departure("deleted", None),
        left: Departure("left", None),
        elsewhere: Departure("left", None),
    }


async def test_an_organization_that_clerk_does_not_know_proves_nothing(clerk: StandInClerk) -> None:
    kept, deleted = people(clerk, 2)
    acme = organization(clerk, kept, deleted)
    clerk.delete_user(deleted)
    clerk.delete_organization(acme)
    async with of(clerk) as opened:
        assert await opened.standing(acme, kept) is False
        assert await opened.standing(acme, deleted) is False


LISTED = {"data": [membership(1)], "total_count": 1}
NOT_LISTED: dict[str, Any] = {"data": [], "total_count": 0}
USER = {"id": "user_1", "banned": False}


@pytest.mark.parametrize(
    ("listed", "user"),
    [
        pytest.param(LISTED, None, id="no user, and yet a member"),
        pytest.param({"data": [membership(2)], "total_count": 1}, USER, id="another's membership"),
        pytest.param({"data": [], "total_count": 7}, USER, id="a count without rows"),
        pytest.param({"data": [membership(1), membership(2)], "total_count": 2}, None, id="a filter that was ignored"),
        pytest.param(NOT_LISTED, {"id": "user_2", "banned": True}, id="another user"),
    ],
)
async def test_an_answer_that_contradicts_itself_proves_nothing(any_server: AnyServer, listed: Any, user: Any) -> None:
    async def answer(request: Request) -> Response:
        if "/organizations/" in request.url.path:
            return JSONResponse(listed)
        return JSONResponse({"errors": []}, status_code=404) if user is None else JSONResponse(user)

    async with client(any_server.answers(answer), "sk_test") as opened:
        assert await opened.standing("org_1", "user_1") is False


async def test_a_clerk_that_is_down_has_seen_nobody_leave(clerk: StandInClerk, waits: list[float]) -> None:
    (ada,) = people(clerk, 1)
    acme = organization(clerk, ada)
    clerk.faults.error_rate = 1.0
    async with of(clerk) as opened:
        with pytest.raises(Fault) as raised:
            await opened.standing(acme, ada)
    assert raised.value.kind is FaultKind.TRANSIENT


# --- writes -------------------------------------------------------------------------------------------------------


async def test_the_workspace_id_is_merged_into_the_metadata_and_taken_out_again(clerk: StandInClerk) -> None:
    acme = clerk.add_organization("Acme", public_metadata={"plan": "gold"})
    async with of(clerk, dry_run=False) as opened:
        await opened.store_workspace_id(acme.id, "w-1")
        assert acme.public_metadata == {"plan": "gold", "twenty_workspace_id": "w-1"}
        await opened.store_workspace_id(acme.id, None)
    assert acme.public_metadata == {"plan": "gold"}


async def test_an_external_id_is_stored_and_belongs_to_one_user_alone(clerk: StandInClerk) -> None:
    ada, bob = people(clerk, 2)
    async with of(clerk, dry_run=False) as opened:
        await opened.store_external_id(ada, "twenty-1")
        await opened.store_external_id(ada, "twenty-1")
        with pytest.raises(Fault, match="twenty-1") as raised:
            await opened.store_external_id(bob, "twenty-1")
        assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.EXTERNAL_ID_TAKEN)
        assert (clerk.state.users[ada].external_id, clerk.state.users[bob].external_id) == ("twenty-1", None)
        await opened.store_external_id(ada, None)
    assert clerk.state.users[ada].external_id is None


async def test_a_write_to_what_is_gone_is_the_tenants_trouble_alone(clerk: StandInClerk) -> None:
    async with of(clerk, dry_run=False) as opened:
        with pytest.raises(Fault, match="org_gone") as organization_gone:
            await opened.store_workspace_id("org_gone", "w-1")
        with pytest.raises(Fault, match="user_gone") as user_gone:
            await opened.store_external_id("user_gone", "twenty-1")
    assert (organization_gone.value.kind, organization_gone.value.reason) == (
        FaultKind.TENANT,
        Reason.ORGANIZATION_MISSING,
    )
    assert (user_gone.value.kind, user_gone.value.reason) == (FaultKind.TENANT, Reason.MEMBERS_GONE)


async def test_a_dry_run_writes_nothing_at_clerk(clerk: StandInClerk) -> None:
    acme, (ada,) = clerk.add_organization("Acme"), people(clerk, 1)
    async with of(clerk) as opened:
        for write in (opened.store_workspace_id(acme.id, "w-1"), opened.store_external_id(ada, "twenty-1")):
            with pytest.raises(DryRunViolation):
                await write
    assert clerk.mutating_calls == 0


async def test_a_write_whose_answer_was_lost_is_sent_again(clerk: StandInClerk, waits: list[float]) -> None:
    acme = clerk.add_organization("Acme")
    clerk.faults.scripted = [ScriptedFault("PATCH /organizations/{organization_id}/metadata", "drop")]
    async with of(clerk, dry_run=False) as opened:
        await opened.store_workspace_id(acme.id, "w-1")
    assert acme.public_metadata == {"twenty_workspace_id": "w-1"}
