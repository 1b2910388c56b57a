"""Clerk as frames: the whole instance, named organizations, and the second witness before a member is called gone."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pandas as pd
import pytest
from pydantic import SecretStr
from tenacity import AsyncRetrying

from provisioning_pipeline.clients import transport
from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.frames import CLERK_USERS, MEMBERSHIPS, ORGANIZATIONS, ClerkSnapshot
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.observe.snapshots import departures, some_organizations, whole_instance
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault

pytestmark = pytest.mark.anyio
MEMBERS, USERS, ALL_USERS = "GET /organizations/{organization_id}/memberships", "GET /users", "GET /users/count"
LISTS = ["GET /organizations", "GET /organization_memberships", USERS, ALL_USERS]


@pytest.fixture(scope="module")
def served() -> Iterator[StandInClerk]:
    with StandInClerk() as stand_in:
        yield stand_in


@pytest.fixture
def clerk(served: StandInClerk, monkeypatch: pytest.MonkeyPatch) -> StandInClerk:
    """A running stand-in, empty; tries follow each other without a wait."""

    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr(transport, "AsyncRetrying", partial(AsyncRetrying, sleep=at_once))
    served.clear()
    return served


@asynccontextmanager
async def client(clerk: StandInClerk, key: str | None = None) -> AsyncIterator[ClerkClient]:
    secret = SecretStr(key or clerk.secret_key)
    async with ClerkClient(clerk.base_url, secret, timeout_seconds=5, dry_run=True, counter=CallCounter()) as opened:
        yield opened


def organization(clerk: StandInClerk, *people: tuple[str, str]) -> tuple[str, list[str]]:
    """A new organization with these (e-mail, role); its id and those of the people."""
    made = clerk.add_organization("Acme")
    ids = [clerk.add_user(email).id for email, _ in people]
    for user_id, (_, role) in zip(ids, people, strict=True):
        clerk.add_membership(made.id, user_id, role)
    return made.id, ids


def pairs(snapshot: ClerkSnapshot) -> set[tuple[str, str]]:
    return set(zip(snapshot.memberships["organization_id"], snapshot.memberships["user_id"], strict=True))


def has_its_columns(snapshot: ClerkSnapshot) -> bool:
    """Whether the frames have the columns that `model.frames` says, of objects."""
    wanted = (
        (snapshot.organizations, ORGANIZATIONS),
        (snapshot.memberships, MEMBERSHIPS),
        (snapshot.users, CLERK_USERS),
    )
    return all(
        tuple(seen.columns) == columns and {str(dtype) for dtype in seen.dtypes} == {"object"}
        for seen, columns in wanted
    )


def is_empty(snapshot: ClerkSnapshot) -> bool:
    return snapshot.organizations.empty and snapshot.memberships.empty and snapshot.users.empty


# --- the whole instance -------------------------------------------------------------------------------------------


async def test_the_whole_instance_is_read_and_proved_whole(clerk: StandInClerk) -> None:
    acme, (ada, bob) = organization(clerk, ("ada@x.test", "org:admin"), ("bob@x.test", "org:member"))
    zenith, _ = organization(clerk)
    clerk.add_membership(zenith, ada)
    loner = clerk.add_user(None).id
    async with client(clerk) as opened:
        seen = await whole_instance(opened)
    assert has_its_columns(seen)
    assert (seen.asked, seen.unread, seen.fault, seen.doubt) == (None, {}, None, None)
    assert list(seen.organizations["organization_id"]) == [acme, zenith]
    assert pairs(seen) == {(acme, ada), (acme, bob), (zenith, ada)}
    assert dict(zip(seen.users["user_id"], seen.users["email"], strict=True)) == {
        ada: "ada@x.test",
        bob: "bob@x.test",
        loner: None,
    }


async def test_an_instance_without_users_removes_no_one(clerk: StandInClerk) -> None:
    async with client(clerk) as opened:
        empty = await whole_instance(opened)
        organization(clerk)
        without_members = await whole_instance(opened)
    assert has_its_columns(empty)
    assert empty.doubt is not None
    assert "organization" in empty.doubt
    assert without_members.doubt is not None
    assert "membership" in without_members.doubt


@pytest.mark.parametrize("operation", LISTS)
async def test_an_instance_of_which_one_list_cannot_be_read_is_not_read(clerk: StandInClerk, operation: str) -> None:
    organization(clerk, ("ada@x.test", "org:admin"))
    clerk.faults.scripted = [ScriptedFault(operation, "error", times=4)]
    async with client(clerk) as opened:
        seen = await whole_instance(opened)
        again = await whole_instance(opened)
    assert seen.fault is not None
    assert seen.fault.reason is Reason.CLERK_UNREACHABLE
    assert seen.doubt is not None
    assert is_empty(seen)
    assert has_its_columns(seen)
    assert (again.fault, again.doubt) == (None, None)


async def test_a_refused_key_ends_the_run(clerk: StandInClerk) -> None:
    acme, (ada,) = organization(clerk, ("ada@x.test", "org:admin"))
    async with client(clerk, "sk_test_wrong") as opened:
        for read in (whole_instance(opened), some_organizations(opened, [acme]), departures(opened, [(acme, ada)])):
            with pytest.raises(Fault) as raised:
                await read
            assert raised.value.reason is Reason.CREDENTIALS_REFUSED
            assert "sk_test_wrong" not in raised.value.message


# --- named organizations ------------------------------------------------------------------------------------------


async def test_named_organizations_are_read_with_their_people_alone(clerk: StandInClerk) -> None:
    acme, (ada, bob) = organization(clerk, ("ada@x.test", "org:admin"), ("bob@x.test", "org:member"))
    organization(clerk, ("eve@x.test", "org:admin"))
    async with client(clerk) as opened:
        seen = await some_organizations(opened, [acme, acme])
        whole = await whole_instance(opened)
    assert has_its_columns(seen)
    assert (seen.asked, seen.unread, seen.fault, seen.doubt) == (frozenset({acme}), {}, None, None)
    assert pairs(seen) == {(acme, ada), (acme, bob)}
    assert set(seen.users["user_id"]) == {ada, bob}
    pd.testing.assert_frame_equal(
        seen.organizations, whole.organizations[whole.organizations["organization_id"] == acme], check_index_type=False
    )


async def test_an_organization_that_is_missing_does_not_hide_the_others(clerk: StandInClerk) -> None:
    acme, (ada,) = organization(clerk, ("ada@x.test", "org:admin"))
    empty, _ = organization(clerk)
    async with client(clerk) as opened:
        seen = await some_organizations(opened, [acme, "org_gone", empty])
    assert {organization_id: fault.reason for organization_id, fault in seen.unread.items()} == {
        "org_gone": Reason.ORGANIZATION_MISSING
    }
    assert pairs(seen) == {(acme, ada)}
    assert set(seen.organizations["organization_id"]) == {acme, empty}
    assert seen.doubt is None


async def test_an_organization_that_cannot_be_read_does_not_hide_the_others(clerk: StandInClerk) -> None:
    made = [organization(clerk, (f"{number}@x.test", "org:admin"))[0] for number in range(12)]
    clerk.faults.scripted = [ScriptedFault(MEMBERS, "error", times=4)]
    async with client(clerk) as opened:
        first = await some_organizations(opened, made[:1])
        seen = await some_organizations(opened, made)
    assert first.unread[made[0]].reason is Reason.CLERK_UNREACHABLE
    assert first.memberships.empty
    assert (len(seen.memberships), len(seen.users), seen.unread) == (12, 12, {})


@pytest.mark.parametrize("operation", [USERS, "GET /organizations"])
async def test_members_without_their_people_are_of_no_use(clerk: StandInClerk, operation: str) -> None:
    acme, _ = organization(clerk, ("ada@x.test", "org:admin"))
    clerk.faults.scripted = [ScriptedFault(operation, "error", times=4)]
    async with client(clerk) as opened:
        seen = await some_organizations(opened, [acme])
    assert seen.fault is not None
    assert seen.asked == frozenset({acme})
    assert is_empty(seen)


async def test_an_organization_is_found_by_its_slug(clerk: StandInClerk) -> None:
    acme, (ada,) = organization(clerk, ("ada@x.test", "org:admin"))
    slug = clerk.state.organizations[acme].slug
    async with client(clerk) as opened:
        seen = await some_organizations(opened, [], [slug, "nobody-has-this"])
        clerk.faults.scripted = [ScriptedFault("GET /organizations/{organization_id}", "error", times=4)]
        unread = await some_organizations(opened, [], [slug])
    assert (seen.asked, pairs(seen)) == (frozenset({acme}), {(acme, ada)})
    assert unread.fault is not None
    assert unread.fault.reason is Reason.CLERK_UNREACHABLE


async def test_nobody_is_asked_about_nothing(clerk: StandInClerk) -> None:
    async with client(clerk) as opened:
        seen = await some_organizations(opened, [])
        assert await departures(opened, []) == {}
    assert is_empty(seen)
    assert (seen.asked, seen.fault, seen.doubt) == (frozenset(), None, None)
    assert not clerk.calls


# --- the second witness -------------------------------------------------------------------------------------------


async def test_only_those_whom_a_direct_look_finds_gone_are_gone(clerk: StandInClerk) -> None:
    people = [(f"{number}@x.test", "org:member") for number in range(12)]
    acme, ids = organization(clerk, *people)
    left, deleted = ids[:2]
    clerk.remove_membership(acme, left)
    clerk.delete_user(deleted)
    async with client(clerk) as opened:
        gone = await departures(opened, [*((acme, user_id) for user_id in ids), ("org_gone", left), (acme, left)])
    assert gone == {(acme, left): Departure("left", None), (acme, deleted): Departure("deleted", None)}
    assert clerk.calls["GET /users/{user_id}"] == len(ids) + 1


@pytest.mark.parametrize("operation", [MEMBERS, "GET /users/{user_id}"])
async def test_who_could_not_be_looked_at_is_not_gone(clerk: StandInClerk, operation: str) -> None:
    acme, (ada,) = organization(clerk, ("ada@x.test", "org:admin"))
    clerk.remove_membership(acme, ada)
    clerk.faults.scripted = [ScriptedFault(operation, "error", times=4)]
    async with client(clerk) as opened:
        assert await departures(opened, [(acme, ada)]) == {}
        assert await departures(opened, [(acme, ada)]) == {(acme, ada): Departure("left", None)}
