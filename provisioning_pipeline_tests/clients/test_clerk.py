"""Clerk: walks that prove themselves whole, and refusals in words."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
MEMBERSHIPS = "GET /organizations/{organization_id}/memberships"


@pytest.fixture(scope="module")
def served() -> Iterator[StandInClerk]:
    with StandInClerk() as stand_in:
        yield stand_in


@pytest.fixture
def clerk(served: StandInClerk) -> StandInClerk:
    served.clear()
    return served


@asynccontextmanager
async def client(base_url: str, key: str) -> AsyncIterator[ClerkClient]:
    counter = CallCounter()
    async with ClerkClient(base_url, SecretStr(key), timeout_seconds=5, dry_run=True, counter=counter) as opened:
        yield opened


def people(clerk: StandInClerk, organization_id: str, count: int) -> list[str]:
    """Members of an organization; their ids."""
    ids = [clerk.add_user(f"user{number}@acme.test").id for number in range(count)]
    for user_id in ids:
        clerk.add_membership(organization_id, user_id)
    return ids


# --- members ------------------------------------------------------------------------------------------------------


async def test_more_members_than_one_page_holds_are_read_and_proved_whole(clerk: StandInClerk) -> None:
    acme, zenith = clerk.add_organization("Acme"), clerk.add_organization("Zenith")
    ids = people(clerk, acme.id, 503)
    clerk.add_membership(zenith.id, ids[0])
    async with client(clerk.base_url, clerk.secret_key) as opened:
        members, complete = await opened.memberships(acme.id)
    assert complete
    assert [member.user_id for member in members] == ids
    assert clerk.calls[MEMBERSHIPS] == 2


@pytest.mark.parametrize("count", [0, 1, 500])
async def test_a_walk_ends_where_the_page_does(clerk: StandInClerk, count: int) -> None:
    acme = clerk.add_organization("Acme")
    people(clerk, acme.id, count)
    async with client(clerk.base_url, clerk.secret_key) as opened:
        members, complete = await opened.memberships(acme.id)
    assert (len(members), complete) == (count, True)
    assert clerk.calls[MEMBERSHIPS] == 1


async def test_roles_bans_and_times_are_clerks_own(clerk: StandInClerk) -> None:
    acme = clerk.add_organization("Acme")
    first, second = clerk.add_user("a@x.test"), clerk.add_user("b@x.test")
    kept = clerk.add_membership(acme.id, first.id, "org:admin")
    clerk.add_membership(acme.id, second.id, "org:billing")
    clerk.ban_user(second.id)
    async with client(clerk.base_url, clerk.secret_key) as opened:
        (admin, other), _ = await opened.memberships(acme.id)
    assert (admin.user_id, admin.role, admin.banned, admin.created_at) == (
        first.id,
        "org:admin",
        False,
        kept.created_at,
    )
    assert (other.role, other.banned) == ("org:billing", True)


def membership(number: int) -> dict[str, Any]:
    user = {"user_id": f"user_{number}", "banned": False}
    return {"id": f"mem_{number}", "role": "org:admin", "created_at": number, "public_user_data": user}


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        pytest.param([([1, 2], 3), ([3], 4), ([], 4)], 3, id="it grew between the pages"),
        pytest.param([([1, 2], 3), ([3], 2)], 3, id="it shrank between the pages"),
        pytest.param([([1, 2], 3), ([2], 3)], 2, id="a row came twice and another never"),
        pytest.param([([1], 3), ([], 3)], 1, id="a page came back empty"),
        pytest.param([([1, 2], 1)], 2, id="more rows than were counted"),
    ],
)
async def test_a_list_that_moved_is_not_called_whole(
    any_server: AnyServer, pages: list[tuple[list[int], int]], found: int
) -> None:
    left = list(pages)

    async def answer(_: Request) -> Response:
        numbers, total = left.pop(0)
        return JSONResponse({"data": [membership(number) for number in numbers], "total_count": total})

    async with client(any_server.answers(answer), "sk_test") as opened:
        members, complete = await opened.memberships("org_1")
    assert (len(members), complete) == (found, False)
    assert left == []


async def test_an_unknown_organization_is_the_tenants_trouble_alone(clerk: StandInClerk) -> None:
    async with client(clerk.base_url, clerk.secret_key) as opened:
        with pytest.raises(Fault, match="org_unknown") as raised:
            await opened.memberships("org_unknown")
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.ORGANIZATION_MISSING)


@pytest.mark.parametrize("odd", ["{}#x", "{}?a=b", "{}/../users", "../organizations/{}", "{} ", "ü", ".."])
async def test_an_organization_id_from_the_registry_cannot_lead_elsewhere(clerk: StandInClerk, odd: str) -> None:
    acme = clerk.add_organization("Acme")
    async with client(clerk.base_url, clerk.secret_key) as opened:
        with pytest.raises(Fault) as raised:
            await opened.memberships(odd.format(acme.id))
    assert raised.value.reason is Reason.ORGANIZATION_MISSING


# --- people -------------------------------------------------------------------------------------------------------


async def test_only_a_verified_primary_address_counts(clerk: StandInClerk) -> None:
    made = {
        "verified": clerk.add_user(" Ada@ACME.test".strip(), first_name=" Ada ", last_name=None),
        "unverified": clerk.add_user("b@x.test", status="unverified"),
        "no verification": clerk.add_user("c@x.test", status=None),
        "no address": clerk.add_user(None),
        "reserved": clerk.add_user("d@x.test", reserved=True, status="unverified"),
        "secondary only": clerk.add_user("e@x.test", status="unverified", other_emails=("f@x.test",)),
        "expired": clerk.add_user("g@x.test", status="expired"),
    }
    async with client(clerk.base_url, clerk.secret_key) as opened:
        users = await opened.users([user.id for user in made.values()])
    emails = {name: users[user.id].verified_email for name, user in made.items()}
    assert emails == dict.fromkeys(made) | {"verified": "ada@acme.test"}
    assert (users[made["verified"].id].first_name, users[made["verified"].id].last_name) == ("Ada", "")


async def test_users_are_found_by_the_hundred_and_deleted_ones_are_missing(clerk: StandInClerk) -> None:
    ids = [clerk.add_user(f"user{number}@acme.test").id for number in range(205)]
    clerk.delete_user(ids[7])
    clerk.ban_user(ids[9])
    async with client(clerk.base_url, clerk.secret_key) as opened:
        users = await opened.users(ids)
        assert await opened.users([]) == {}
    assert set(users) == set(ids) - {ids[7]}
    assert [user.user_id for user in users.values() if user.banned] == [ids[9]]
    assert clerk.calls["GET /users"] == 3


# --- refusals -----------------------------------------------------------------------------------------------------


async def test_a_wrong_key_ends_the_run_and_is_not_shown(clerk: StandInClerk) -> None:
    async with client(clerk.base_url, "sk_test_c4nary") as opened:
        for call in (opened.instance(), opened.memberships("org_1"), opened.users(["user_1"])):
            with pytest.raises(Fault, match="PROVISIONING_CLERK_SECRET_KEY") as raised:
                await call
            assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.CREDENTIALS_REFUSED)
            assert "c4nary" not in raised.value.message


async def test_a_base_url_without_v1_is_recognised_and_gives_the_hint(clerk: StandInClerk) -> None:
    people(clerk, clerk.add_organization("Acme").id, 1)
    async with client(clerk.base_url.removesuffix("/v1"), clerk.secret_key) as opened:
        with pytest.raises(Fault, match="needs /v1 at its end") as raised:
            await opened.instance()
    assert raised.value.kind is FaultKind.SERVER


async def test_without_v1_no_organization_is_said_to_be_missing(clerk: StandInClerk) -> None:
    acme = clerk.add_organization("Acme")
    async with client(clerk.base_url.removesuffix("/v1"), clerk.secret_key) as opened:
        with pytest.raises(Fault) as raised:
            await opened.memberships(acme.id)
    assert raised.value.reason is not Reason.ORGANIZATION_MISSING


async def test_a_rate_limit_is_waited_out(clerk: StandInClerk, waits: list[float]) -> None:
    acme = clerk.add_organization("Acme")
    clerk.faults.scripted = [ScriptedFault(MEMBERSHIPS, "refuse", times=2)]
    async with client(clerk.base_url, clerk.secret_key) as opened:
        assert await opened.memberships(acme.id) == ((), True)
    assert waits == [1.0, 1.0]


async def test_a_clerk_that_stays_down_is_transient_and_named(clerk: StandInClerk, waits: list[float]) -> None:
    clerk.faults.error_rate = 1.0
    async with client(clerk.base_url, clerk.secret_key) as opened:
        with pytest.raises(Fault, match="Clerk at") as raised:
            await opened.instance()
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TRANSIENT, Reason.CLERK_UNREACHABLE)
    assert not raised.value.effect_unknown


async def test_a_server_that_is_not_clerk_is_told_so(any_server: AnyServer) -> None:
    async def answer(_: Request) -> Response:
        return PlainTextResponse("<html>hello</html>")

    async with client(any_server.answers(answer), "sk_test") as opened:
        with pytest.raises(Fault, match="PROVISIONING_CLERK_BASE_URL") as raised:
            await opened.instance()
    assert raised.value.kind is FaultKind.SERVER


@pytest.mark.parametrize("body", [[], {}, "text", None, {"data": []}])
async def test_json_that_is_not_clerks_is_a_fault_and_no_crash(any_server: AnyServer, body: Any) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse(body)

    async with client(any_server.answers(answer), "sk_test") as opened:
        with pytest.raises(Fault) as raised:
            await opened.memberships("org_1")
    assert raised.value.reason is Reason.CLERK_UNREACHABLE


async def test_clerks_own_error_codes_are_told(any_server: AnyServer) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse({"errors": [{"code": "form_param_value_invalid", "message": "x"}]}, status_code=422)

    async with client(any_server.answers(answer), "sk_test") as opened:
        with pytest.raises(Fault, match="form_param_value_invalid") as raised:
            await opened.users(["user_1"])
    assert raised.value.kind is FaultKind.TENANT


async def test_the_instance_is_told(clerk: StandInClerk) -> None:
    async with client(clerk.base_url, clerk.secret_key) as opened:
        instance = await opened.instance()
    assert (instance["id"], instance["environment_type"]) == (clerk.instance_id, "development")
