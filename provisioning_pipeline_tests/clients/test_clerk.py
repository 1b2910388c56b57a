"""Clerk: lists that prove themselves whole, a look at one person, two ids kept there, and refusals in words."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.clerk.rows import verified_email
from provisioning_pipeline.clients.clerk.walk import Walk
from provisioning_pipeline.clients.limits import RateLimit
from provisioning_pipeline.clients.transport import CallCounter, DryRunViolation
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
MEMBERS = "GET /organizations/{organization_id}/memberships"
AROUND_A_PAGE = [0, 1, 499, 500, 501, 999, 1000]
Call = Callable[[ClerkClient], Awaitable[Any]]


@pytest.fixture(scope="module")
def served() -> Iterator[StandInClerk]:
    with StandInClerk() as stand_in:
        yield stand_in


@pytest.fixture
def clerk(served: StandInClerk) -> StandInClerk:
    served.clear()
    return served


@asynccontextmanager
async def client(base_url: str, key: str, *, dry_run: bool = True) -> AsyncIterator[ClerkClient]:
    counter = CallCounter()
    async with ClerkClient(base_url, SecretStr(key), timeout_seconds=5, dry_run=dry_run, counter=counter) as opened:
        yield opened


@asynccontextmanager
async def of(clerk: StandInClerk, *, dry_run: bool = True) -> AsyncIterator[ClerkClient]:
    async with client(clerk.base_url, clerk.secret_key, dry_run=dry_run) as opened:
        yield opened


def people(clerk: StandInClerk, count: int) -> list[str]:
    """New users; their ids."""
    return [clerk.add_user(f"user{number}@acme.test").id for number in range(count)]


def organization(clerk: StandInClerk, *members: str) -> str:
    """A new organization with these members; its id."""
    made = clerk.add_organization("Acme")
    for user_id in members:
        clerk.add_membership(made.id, user_id)
    return made.id


# --- whole lists --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", AROUND_A_PAGE)
async def test_every_user_is_read_oldest_first_and_proved_whole(clerk: StandInClerk, count: int) -> None:
    ids = people(clerk, count)
    async with of(clerk) as opened:
        walk = await opened.users()
    assert walk.doubt is None
    assert [row[0] for row in walk.rows] == ids
    assert clerk.calls["GET /users"] == max(1, -(-count // 500))


@pytest.mark.parametrize("count", AROUND_A_PAGE)
async def test_every_membership_is_read_oldest_first_and_proved_whole(clerk: StandInClerk, count: int) -> None:
    ids = people(clerk, count)
    acme, zenith = organization(clerk, *ids[: count // 2]), organization(clerk, *ids[count // 2 :])
    async with of(clerk) as opened:
        walk = await opened.memberships()
        members = await opened.organization_memberships(zenith)
    assert walk.doubt is None
    assert [row[:2] for row in walk.rows] == [
        *((acme, user_id) for user_id in ids[: count // 2]),
        *((zenith, user_id) for user_id in ids[count // 2 :]),
    ]
    assert members == Walk(walk.rows[count // 2 :], None)


@pytest.mark.parametrize("count", AROUND_A_PAGE)
async def test_every_organization_is_read_oldest_first_and_proved_whole(clerk: StandInClerk, count: int) -> None:
    ids = [clerk.add_organization(f"Tenant {number}").id for number in range(count)]
    async with of(clerk) as opened:
        walk = await opened.organizations()
    assert walk.doubt is None
    assert [row[0] for row in walk.rows] == ids


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


# --- doubt --------------------------------------------------------------------------------------------------------


def membership(number: int, **changes: Any) -> dict[str, Any]:
    user = {"user_id": f"user_{number}", "banned": False}
    made = {"id": f"mem_{number}", "role": "org:admin", "created_at": number, "public_user_data": user}
    return made | {"organization": {"id": "org_1"}} | changes


class Listing:
    """A server whose list is told for each reading anew: numbers of the rows, and the count that each page tells."""

    def __init__(self, *readings: Callable[[int], tuple[list[Any], int]]) -> None:
        self.readings = list(readings)
        self.begun = 0

    async def answer(self, request: Request) -> Response:
        offset = int(request.query_params["offset"])
        self.begun += offset == 0
        data, total = self.readings[min(self.begun, len(self.readings)) - 1](offset)
        entries = [membership(entry) if isinstance(entry, int) else entry for entry in data]
        return JSONResponse({"data": entries, "total_count": total})


def rows_of(numbers: list[Any], total: int | None = None) -> Callable[[int], tuple[list[Any], int]]:
    """A list that stays as it is; `total` is what it is said to hold."""
    return lambda offset: (numbers[offset : offset + 500], len(numbers) if total is None else total)


FIRST, REST = list(range(500)), list(range(499, 998))
DOUBTFUL = [
    pytest.param(lambda offset: (FIRST, 998) if offset == 0 else (REST, 999), "changed between 998 and 999", id="grew"),
    pytest.param(
        lambda offset: (FIRST, 998) if offset == 0 else (REST, 997), "changed between 997 and 998", id="shrank"
    ),
    pytest.param(
        lambda offset: (FIRST, 998) if offset == 0 else ([number + 1 for number in REST], 998),
        "moved",
        id="one left and one joined, so that a row was skipped and the count is right",
    ),
    pytest.param(lambda offset: (FIRST, 998) if offset == 0 else (FIRST[1:], 998), "500 different", id="repeats"),
    pytest.param(lambda offset: (FIRST, 998) if offset == 0 else (REST[:9], 998), "9 where 499", id="short page"),
    pytest.param(lambda offset: (FIRST, 998) if offset == 0 else ([], 998), "empty where 499", id="empty page"),
    pytest.param(rows_of(FIRST[:10], 998), "10 where 500", id="short first page"),
    pytest.param(rows_of([], 3), "empty where 3", id="empty first page"),
    pytest.param(rows_of(FIRST, 3), "500 different entries, but Clerk counts 3", id="more than were counted"),
    pytest.param(rows_of(FIRST, 10**9), "empty|where 500", id="a count beyond all measure"),
]


@pytest.mark.parametrize(("reading", "why"), DOUBTFUL)
async def test_a_list_that_does_not_add_up_is_in_doubt_and_says_why(
    any_server: AnyServer, reading: Callable[[int], tuple[list[Any], int]], why: str
) -> None:
    listing = Listing(reading)
    async with client(any_server.answers(listing.answer), "sk_test") as opened:
        walk = await opened.organization_memberships("org_1")
    assert re.search(why, str(walk.doubt))
    assert listing.begun == 2


@pytest.mark.parametrize(("reading", "why"), DOUBTFUL)
async def test_a_list_that_moved_once_is_read_again_and_whole(
    any_server: AnyServer, reading: Callable[[int], tuple[list[Any], int]], why: str
) -> None:
    listing = Listing(reading, rows_of(list(range(700))))
    async with client(any_server.answers(listing.answer), "sk_test") as opened:
        walk = await opened.memberships()
    assert (len(walk.rows), walk.doubt, listing.begun) == (700, None, 2)


async def test_members_that_share_a_time_are_no_doubt(any_server: AnyServer) -> None:
    together = [membership(number, created_at=5) for number in range(1100)]
    async with client(any_server.answers(Listing(rows_of(together)).answer), "sk_test") as opened:
        walk = await opened.memberships()
    assert (len(walk.rows), walk.doubt) == (1100, None)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "text",
        {},
        {**membership(0), "id": None},
        {**membership(0), "role": None},
        {**membership(0), "created_at": None},
        {**membership(0), "organization": None},
        {**membership(0), "public_user_data": "text"},
    ],
)
@pytest.mark.parametrize("position", [0, 499])
async def test_an_odd_row_costs_only_itself_and_makes_the_list_doubtful(
    any_server: AnyServer, odd: Any, position: int
) -> None:
    rows: list[Any] = [*range(1, position + 1), odd, *range(position + 1, 600)]
    async with client(any_server.answers(Listing(rows_of(rows)).answer), "sk_test") as opened:
        walk = await opened.memberships()
    assert len(walk.rows) == 599
    assert walk.doubt == "Clerk's list of memberships is not proved whole: 1 of its entries could not be understood."


@pytest.mark.parametrize("nobody", [None, {}, {"user_id": None}])
async def test_a_membership_without_a_person_counts_and_is_dropped(any_server: AnyServer, nobody: Any) -> None:
    listing = Listing(rows_of([1, membership(2, public_user_data=nobody), 3]))
    async with client(any_server.answers(listing.answer), "sk_test") as opened:
        walk = await opened.memberships()
    assert ([row[1] for row in walk.rows], walk.doubt) == (["user_1", "user_3"], None)


class Users:
    """A server of users whose counts and pages come one after the other; a number as a page is its HTTP status."""

    def __init__(self, counts: list[int], pages: list[list[int] | int]) -> None:
        self.counts, self.pages = counts, pages

    async def answer(self, request: Request) -> Response:
        if request.url.path.endswith("/count"):
            return JSONResponse({"object": "total_count", "total_count": self.counts.pop(0)})
        page = self.pages.pop(0)
        if isinstance(page, int):
            return JSONResponse({"errors": [{"code": "resource_not_found"}]}, status_code=page)
        return JSONResponse([{"id": f"user_{number}", "created_at": number} for number in page])


@pytest.mark.parametrize(
    ("counts", "pages", "why"),
    [
        pytest.param([2, 3], [[1, 2]], "changed from 2 to 3", id="somebody joined"),
        pytest.param([3, 2], [[1, 2, 3]], "changed from 3 to 2", id="somebody left"),
        pytest.param([3, 3], [[1, 2], []], "2 different entries, but Clerk counts 3", id="cut short"),
        pytest.param([3, 3], [[1, 2], [1, 2]], "2 different entries, but Clerk counts 3", id="repeats"),
        pytest.param([2, 2], [[]], "0 different entries, but Clerk counts 2", id="empty"),
        pytest.param([1, 1], [[1, 2]], "2 different entries, but Clerk counts 1", id="more than were counted"),
        *(pytest.param([3, 3], [[1, 2], status], "deleted", id=f"cursor: {status}") for status in (400, 404, 422)),
    ],
)
async def test_users_that_do_not_add_up_are_read_again_and_then_in_doubt(
    any_server: AnyServer, counts: list[int], pages: list[list[int] | int], why: str
) -> None:
    for second, expected in (
        (Users([*counts, 3, 3], [*pages, [1, 2], [3]]), None),
        (Users(counts * 2, pages * 2), why),
    ):
        async with client(any_server.answers(second.answer), "sk_test") as opened:
            walk = await opened.users()
        assert (second.counts, second.pages) == ([], [])
        assert walk.doubt is None if expected is None else expected in str(walk.doubt)


async def test_a_first_page_that_is_not_found_is_no_deleted_user(any_server: AnyServer) -> None:
    async with client(any_server.answers(Users([3], [404]).answer), "sk_test") as opened:
        with pytest.raises(Fault) as raised:
            await opened.users()
    assert raised.value.kind is FaultKind.SERVER


# --- the second witness -------------------------------------------------------------------------------------------


async def test_a_look_tells_who_is_gone_and_how(clerk: StandInClerk) -> None:
    kept, banned, deleted, left, elsewhere = people(clerk, 5)
    acme, zenith = organization(clerk, kept, banned, deleted, left), organization(clerk, elsewhere)
    clerk.ban_user(banned)
    clerk.delete_user(deleted)
    clerk.remove_membership(acme, left)
    since = clerk.state.users[banned].updated_at
    async with of(clerk) as opened:
        seen = {user_id: await opened.look_at(acme, user_id) for user_id in (kept, banned, deleted, left, elsewhere)}
        assert await opened.look_at(zenith, elsewhere) is None
    assert seen == {
        kept: None,
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
        assert await opened.look_at(acme, kept) is None
        assert await opened.look_at(acme, deleted) is None


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
        pytest.param(NOT_LISTED, [], id="no user object"),
    ],
)
async def test_an_answer_that_contradicts_itself_proves_nothing(any_server: AnyServer, listed: Any, user: Any) -> None:
    async def answer(request: Request) -> Response:
        if "/organizations/" in request.url.path:
            return JSONResponse(listed)
        return JSONResponse({"errors": []}, status_code=404) if user is None else JSONResponse(user)

    async with client(any_server.answers(answer), "sk_test") as opened:
        assert await opened.look_at("org_1", "user_1") is None


async def test_a_clerk_that_is_down_has_seen_nobody_leave(clerk: StandInClerk, waits: list[float]) -> None:
    (ada,) = people(clerk, 1)
    acme = organization(clerk, ada)
    clerk.faults.error_rate = 1.0
    async with of(clerk) as opened:
        with pytest.raises(Fault) as raised:
            await opened.look_at(acme, ada)
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


# --- refusals -----------------------------------------------------------------------------------------------------

CALLS: dict[str, Call] = {
    "instance": lambda opened: opened.instance(),
    "organizations": lambda opened: opened.organizations(),
    "memberships": lambda opened: opened.memberships(),
    "organization_memberships": lambda opened: opened.organization_memberships("org_1"),
    "users": lambda opened: opened.users(),
    "some_users": lambda opened: opened.some_users(["user_1"]),
    "some_organizations": lambda opened: opened.some_organizations(["org_1"]),
    "organization_by_slug": lambda opened: opened.organization_by_slug("acme"),
    "look_at": lambda opened: opened.look_at("org_1", "user_1"),
    "store_workspace_id": lambda opened: opened.store_workspace_id("org_1", "w-1"),
    "store_external_id": lambda opened: opened.store_external_id("user_1", "twenty-1"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
async def test_a_wrong_key_ends_the_run_and_is_not_shown(clerk: StandInClerk, call: Call) -> None:
    async with client(clerk.base_url, "sk_test_c4nary", dry_run=False) as opened:
        with pytest.raises(Fault, match="PROVISIONING_CLERK_SECRET_KEY") as raised:
            await call(opened)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.CREDENTIALS_REFUSED)
    assert "c4nary" not in raised.value.message


@every_call
async def test_a_base_url_without_v1_is_recognised_and_gives_the_hint(clerk: StandInClerk, call: Call) -> None:
    async with client(clerk.base_url.removesuffix("/v1"), clerk.secret_key, dry_run=False) as opened:
        with pytest.raises(Fault, match="needs /v1 at its end") as raised:
            await call(opened)
    assert raised.value.kind is FaultKind.SERVER


@every_call
async def test_a_clerk_that_stays_down_is_transient_and_named(
    clerk: StandInClerk, waits: list[float], call: Call
) -> None:
    clerk.faults.error_rate = 1.0
    async with of(clerk, dry_run=False) as opened:
        with pytest.raises(Fault, match="Clerk at") as raised:
            await call(opened)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TRANSIENT, Reason.CLERK_UNREACHABLE)
    assert clerk.secret_key not in raised.value.message


@every_call
async def test_clerks_own_error_codes_are_told(any_server: AnyServer, call: Call) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse({"errors": [{"code": "not_allowed_access", "message": "x"}]}, status_code=403)

    async with client(any_server.answers(answer), "sk_test_c4nary", dry_run=False) as opened:
        with pytest.raises(Fault, match="not_allowed_access") as raised:
            await call(opened)
    assert raised.value.kind is FaultKind.TENANT
    assert "c4nary" not in raised.value.message


@pytest.mark.parametrize(
    "body", [[], {}, "text", None, {"data": []}, {"total_count": 1}, {"data": {}, "total_count": 1}]
)
@pytest.mark.parametrize("call", ["organizations", "memberships", "organization_memberships", "users", "look_at"])
async def test_json_that_is_not_clerks_is_a_fault_and_no_crash(any_server: AnyServer, body: Any, call: str) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse(body)

    async with client(any_server.answers(answer), "sk_test") as opened:
        with pytest.raises(Fault) as raised:
            await CALLS[call](opened)
    assert raised.value.reason is Reason.CLERK_UNREACHABLE


async def test_a_server_that_is_not_clerk_is_told_so(any_server: AnyServer) -> None:
    async def answer(_: Request) -> Response:
        return PlainTextResponse("<html>hello</html>")

    async with client(any_server.answers(answer), "sk_test") as opened:
        with pytest.raises(Fault, match="PROVISIONING_CLERK_BASE_URL") as raised:
            await opened.instance()
    assert raised.value.kind is FaultKind.SERVER


async def test_an_unknown_organization_is_the_tenants_trouble_alone(clerk: StandInClerk) -> None:
    async with of(clerk) as opened:
        with pytest.raises(Fault, match="org_unknown") as raised:
            await opened.organization_memberships("org_unknown")
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.ORGANIZATION_MISSING)


@pytest.mark.parametrize("odd", ["{}#x", "{}?a=b", "{}/../users", "../organizations/{}", "{} ", "ü", ".."])
async def test_an_organization_id_from_the_registry_cannot_lead_elsewhere(clerk: StandInClerk, odd: str) -> None:
    acme = clerk.add_organization("Acme")
    async with of(clerk) as opened:
        with pytest.raises(Fault) as raised:
            await opened.organization_memberships(odd.format(acme.id))
    assert raised.value.reason is Reason.ORGANIZATION_MISSING


async def test_a_rate_limit_is_waited_out_by_everybody_with_that_key(
    clerk: StandInClerk, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    monkeypatch.setattr(RateLimit, "hold", lambda _, seconds: held.append(seconds))
    acme = organization(clerk)
    clerk.faults.scripted = [ScriptedFault(MEMBERS, "refuse", times=2)]
    async with of(clerk) as opened:
        assert await opened.organization_memberships(acme) == Walk((), None)
    assert waits == held == [1.0, 1.0]


async def test_clients_with_one_key_share_its_allowance(clerk: StandInClerk) -> None:
    async with of(clerk) as one, of(clerk) as other, client(clerk.base_url, "sk_test_other") as stranger:
        limits = [opened._transport._limit for opened in (one, other, stranger)]
    assert limits[0] is limits[1]
    assert limits[0] is not limits[2]
    assert [limit.calls for limit in limits if limit] == [800] * 3


async def test_the_instance_is_told(clerk: StandInClerk) -> None:
    async with of(clerk) as opened:
        instance = await opened.instance()
    assert (instance["id"], instance["environment_type"]) == (clerk.instance_id, "development")
