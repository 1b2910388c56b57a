"""Clerk's lists: proved whole, or read again and in doubt."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.clients.clerk.walk import Walk
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline_tests.clients.clerk import client, membership, of, organization, people
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
AROUND_A_PAGE = [0, 1, 499, 500, 501, 999, 1000]


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


# --- lists of memberships in doubt --------------------------------------------------------------------------------


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


# --- lists of users in doubt --------------------------------------------------------------------------------------


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


async def test_a_first_page_that_is_not_found_is_no_deleted_user(any_server: AnyServer, waits: list[float]) -> None:
    async with client(any_server.answers(Users([3], [404] * 4).answer), "sk_test") as opened:
        with pytest.raises(Fault, match="as if Clerk had no GET /users") as raised:
            await opened.users()
    assert raised.value.kind is FaultKind.TRANSIENT
