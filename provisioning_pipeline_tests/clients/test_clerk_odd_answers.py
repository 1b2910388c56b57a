"""Answers that are not Clerk's: asked for again, then a doubt by which no member is missed; never the end of a run."""

import json
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.clients.clerk import client as clerk_client
from provisioning_pipeline.clients.clerk import walk as clerk_walk
from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.clerk.walk import membership_row, organization_row, page_of, user_row
from provisioning_pipeline.clients.http import OddAnswer, OddAnswerFault
from provisioning_pipeline.clients.json_answers import json_of
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.observe.snapshots import departures, whole_instance
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.odd_answers import ODD_ANSWERS
from provisioning_pipeline_tests.clients.clerk import client, membership, of, organization, people
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
LISTS = {
    "GET /organizations": lambda opened: opened.organizations(),
    "GET /organization_memberships": lambda opened: opened.memberships(),
    "GET /users": lambda opened: opened.users(),
    "GET /users/count": lambda opened: opened.users(),
}
CLERKS = [name for name in ODD_ANSWERS if name not in ("list", "errors of another")]
"""`[]` is an empty list, which the counts contradict."""


@pytest.mark.parametrize("operation", LISTS)
async def test_one_odd_answer_is_healed_by_asking_again(
    clerk: StandInClerk, waits: list[float], operation: str
) -> None:
    organization(clerk, *people(clerk, 2))
    async with of(clerk) as opened:
        for answer in CLERKS:
            waits.clear()
            clerk.faults.scripted = [ScriptedFault(operation, "odd", answer=answer)]
            walk = await LISTS[operation](opened)
            assert walk.doubt is None, answer
            assert (len(walk.rows) > 0, len(waits)) == (True, 1), answer


@pytest.mark.parametrize("operation", LISTS)
async def test_odd_answers_that_stay_are_clerks_trouble_for_the_moment(
    clerk: StandInClerk, waits: list[float], operation: str
) -> None:
    organization(clerk, *people(clerk, 2))
    clerk.faults.scripted = [ScriptedFault(operation, "odd", times=99, answer="not found page")]
    async with of(clerk) as opened:
        snapshot = await whole_instance(opened)
    assert snapshot.fault is not None
    assert (snapshot.fault.kind, snapshot.fault.reason) == (FaultKind.TRANSIENT, Reason.CLERK_UNREACHABLE)
    assert operation in str(snapshot.doubt)
    assert "HTTP 404 with an HTML page" in str(snapshot.doubt)


async def test_a_page_that_stays_unreadable_costs_the_list_its_proof_and_nothing_else(
    any_server: AnyServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerk_walk, "MOST_PER_PAGE", 3)
    monkeypatch.setattr(clerk_walk, "_STEP", 2)
    monkeypatch.setattr(clerk_client, "MOST_PER_PAGE", 3)

    async def answer(request: Request) -> Response:
        offset = int(request.query_params["offset"])
        if offset == 4:
            return PlainTextResponse("<html>", 404)
        return JSONResponse({"data": [membership(n) for n in range(offset, min(offset + 3, 9))], "total_count": 9})

    async with client(any_server.answers(answer), "sk_test") as opened:
        walk = await opened.memberships()
    assert [row[1] for row in walk.rows] == [f"user_{number}" for number in (0, 1, 2, 3, 4, 6, 7, 8)]
    assert walk.doubt == (
        "Clerk's list of memberships is not proved whole: a page of it could not be read (HTTP 404 with an HTML page)."
    )


async def test_a_page_of_users_that_stays_unreadable_is_a_doubt(clerk: StandInClerk, waits: list[float]) -> None:
    people(clerk, 501)
    clerk.faults.scripted = [ScriptedFault("GET /users", "odd", times=99, skip=1, answer="other json")]
    async with of(clerk) as opened:
        walk = await opened.users()
    # the second walk meets the fault on its first page, so that the first one counts
    assert len(walk.rows) == 500
    assert "could not be read" in str(walk.doubt)


@pytest.mark.parametrize("answer", ["not found page", "html", "forbidden page", "empty", "sign-in page"])
@pytest.mark.parametrize("operation", ["GET /users/{user_id}", "GET /organizations/{organization_id}/memberships"])
async def test_an_odd_answer_is_no_witness_that_somebody_left(
    clerk: StandInClerk, waits: list[float], operation: str, answer: str
) -> None:
    (ada,) = people(clerk, 1)
    acme = organization(clerk, ada)
    clerk.remove_membership(acme, ada)
    clerk.faults.scripted = [ScriptedFault(operation, "odd", times=4, answer=answer)]
    async with of(clerk) as opened:
        assert await departures(opened, [(acme, ada)]) == {}
        assert (await departures(opened, [(acme, ada)]))[acme, ada].kind == "left"


WRITES: dict[str, Callable[[ClerkClient, str, str], Awaitable[None]]] = {
    "PATCH /organizations/{organization_id}/metadata": lambda opened, acme, _: opened.store_workspace_id(acme, "w-1"),
    "PATCH /users/{user_id}": lambda opened, _, ada: opened.store_external_id(ada, "t-1"),
}


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("answer", ["html", "not found page", "list", "empty", "too large page"])
async def test_a_write_counts_only_by_an_answer_of_clerks(
    clerk: StandInClerk, waits: list[float], operation: str, answer: str
) -> None:
    (ada,) = people(clerk, 1)
    acme = organization(clerk, ada)
    async with of(clerk, dry_run=False) as opened:
        clerk.faults.scripted = [ScriptedFault(operation, "odd", answer=answer)]
        await WRITES[operation](opened, acme, ada)
        stored = clerk.state.organizations[acme].public_metadata, clerk.state.users[ada].external_id
        assert stored != ({}, None)
        clerk.faults.scripted = [ScriptedFault(operation, "odd", times=4, answer=answer)]
        with pytest.raises(OddAnswerFault) as raised:
            await WRITES[operation](opened, acme, ada)
    assert (raised.value.kind, raised.value.effect_unknown) == (FaultKind.TRANSIENT, True)


async def test_e_mails_of_another_shape_are_asked_for_again(clerk: StandInClerk, waits: list[float]) -> None:
    people(clerk, 1)
    for answer in ("object", "text", "field list of wrong types"):
        clerk.faults.scripted = [ScriptedFault("GET /users", "odd", answer=answer)]
        async with of(clerk) as opened:
            assert await opened.known_emails(["user0@acme.test"]) == {"user0@acme.test"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "id data total_count slug name public_metadata public_user_data user_id organization role created_at errors code "
    "email_addresses primary_email_address_id verification status banned email_address external_id first_name "
    "updated_at"
).split()
SHAPED = st.recursive(
    JSON,
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@given(st.lists(SHAPED, max_size=3))
def test_any_object_is_a_row_that_can_be_stored_or_odd(entries: list[Any]) -> None:
    for parse in (organization_row, membership_row, user_row):
        page = page_of(entries, parse)
        assert len(page.rows) + len(page.odd) <= len(entries) + len(page.odd)
        for row in page.rows.values():
            assert "\x00" not in "".join(str(value) for value in row or ())
            assert not any(isinstance(value, dict | list) for value in row or ())


ODD_TEXTS = (
    "\0",
    "Ac\0me",
    "\x1b]0;x\x07",
    "\ud83d",
    "\ud83d\0",
    "a\nb",
    " ",
    "\u202ecod.exe",
    "x" * 3_000_000,
    "\0" * 300,
)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: ascii(text[:9]))
async def test_no_text_of_a_customer_puts_a_list_in_doubt(any_server: AnyServer, text: str) -> None:
    """Else a customer who renames their organization would have nobody of any tenant removed any more."""
    listed = {
        "/organizations": {"id": "org_1", "name": text, "slug": text, "public_metadata": {"twenty_workspace_id": text}},
        "/users": {
            "id": "user_1",
            "first_name": text,
            "last_name": text,
            "external_id": text,
            "primary_email_address_id": "idn_1",
            "email_addresses": [
                {"id": "idn_1", "email_address": f"a{text}@acme.test", "verification": {"status": "verified"}}
            ],
        },
        "/organization_memberships": membership(1) | {"role": text},
    }

    async def answer(request: Request) -> Response:
        if request.url.path == "/users/count":
            return JSONResponse({"total_count": 1})
        found = listed[request.url.path]
        body = json.dumps([found] if request.url.path == "/users" else {"data": [found], "total_count": 1})
        return PlainTextResponse(body, media_type="application/json")

    async with client(any_server.answers(answer), "sk_test") as opened:
        walks = [await opened.organizations(), await opened.users(), await opened.memberships()]

    assert [(walk.doubt, len(walk.rows)) for walk in walks] == [(None, 1)] * 3
    texts = [value for walk in walks for value in walk.rows[0] if isinstance(value, str)]
    assert max(map(len, texts)) <= 256
    "".join(texts).encode()
    assert not [letter for letter in "".join(texts) if unicodedata.category(letter) in ("Cc", "Cs")]
    # what stands for one thing is never cut or cleaned into something that stands for another
    (_, _, slug, _), (_, email, *_) = walks[0].rows[0], walks[1].rows[0]
    assert slug in (None, text)
    assert email in (None, f"a{text}@acme.test")


@pytest.mark.parametrize("created_at", [10**400, -(10**400), 10**19, True, "1", 1.5, None])
def test_a_time_that_no_calendar_has_is_odd(created_at: object) -> None:
    assert page_of([membership(1) | {"created_at": created_at}], membership_row).odd == (0,)


CALLS: list[Callable[[ClerkClient], Awaitable[Any]]] = [
    lambda opened: opened.instance(),
    lambda opened: opened.organizations(),
    lambda opened: opened.organization_memberships("org_1"),
    lambda opened: opened.users(),
    lambda opened: opened.some_users(["user_1"]),
    lambda opened: opened.some_organizations(["org_1"]),
    lambda opened: opened.known_emails(["a@x.test"]),
    lambda opened: opened.organization_by_slug("acme"),
    lambda opened: opened.standing("org_1", "user_1"),
    lambda opened: opened.store_workspace_id("org_1", "w"),
    lambda opened: opened.store_external_id("user_1", "t"),
]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(CALLS), st.sampled_from([200, 200, 200, 400, 401, 403, 404, 409, 413, 422]), SHAPED)
async def test_any_json_is_a_result_or_a_fault(
    call: Callable[[ClerkClient], Awaitable[Any]], status: int, body: Any
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("provisioning_pipeline.clients.transport._ATTEMPTS", 1)
        async with ClerkClient(
            "http://clerk.test", SecretStr("sk"), timeout_seconds=5, dry_run=False, counter=CallCounter()
        ) as opened:
            await opened._transport._client.aclose()
            opened._transport._client = httpx2.AsyncClient(
                transport=httpx2.MockTransport(lambda _: httpx2.Response(status, json=body))
            )
            try:
                await call(opened)
            except Fault as fault:
                told = fault.message
                assert told.isprintable()


@pytest.mark.parametrize("address", [{}, {"errors": "x"}, {"errors": [None]}, {"errors": [{"code": "x\x00y"}]}])
async def test_refusals_of_another_shape_are_no_crash(any_server: AnyServer, waits: list[float], address: Any) -> None:
    async with client(any_server.answers(JSONResponse(address, 403)), "sk_test") as opened:
        with pytest.raises(Fault) as raised:
            await opened.organizations()
    assert "\x00" not in raised.value.message


# --- JSON that is odd and no fault -----------------------------------------------------------------------------------


def _json(body: str | bytes) -> httpx2.Response:
    return httpx2.Response(200, content=body)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (r'{"name": "Acme \ud83d"}', {"name": "Acme �"}),
        (r'{"name": "\ude00 Acme"}', {"name": "� Acme"}),
        (r'[{"\ud83d": ["\ud83d\ude00", "\ud83d"]}]', [{"�": ["😀", "�"]}]),
        (r'{"name": "\\ud83d"}', {"name": r"\ud83d"}),
        ('{"n": 1e999, "m": 123456789012345678901234567890}', {"n": float("inf"), "m": 123456789012345678901234567890}),
    ],
)
def test_json_that_every_browser_reads_is_read(body: str, read: object) -> None:
    assert json_of(_json(body)) == read


@pytest.mark.parametrize(
    "body", ["", "<html>", '{"name": "Acme', "NaN", '{"n": -Infinity}', b'{"a": "\xff"}', "[" * 9999]
)
def test_what_is_no_json_is_an_odd__json(body: str | bytes) -> None:
    with pytest.raises(OddAnswer):
        json_of(_json(body))


def test_a_cut_emoji_costs_no_other_entry_of_the_page() -> None:
    entries = json_of(_json(r'[{"id": "org_1", "name": "A \ud83d", "slug": "a"}, {"id": "org_2", "name": "B"}]'))
    page = page_of(entries, organization_row)
    assert page.odd == ()
    assert page.rows == {"org_1": ("org_1", "A �", "a", None), "org_2": ("org_2", "B", None, None)}
