"""Clerk's organizations: the trouble of one is never that of another."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from pydantic import SecretStr
from tenacity import AsyncRetrying

from provisioning_pipeline.clients import transport
from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import AdminUnknown
from provisioning_pipeline.observe.clerk import organization_admins
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault

pytestmark = pytest.mark.anyio
MEMBERSHIPS, USERS = "GET /organizations/{organization_id}/memberships", "GET /users"


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


def organization(clerk: StandInClerk, *people: tuple[str, str]) -> str:
    made = clerk.add_organization("Acme")
    for email, role in people:
        clerk.add_membership(made.id, clerk.add_user(email).id, role)
    return made.id


async def test_only_the_holders_of_the_role_are_read_and_their_users(clerk: StandInClerk) -> None:
    acme = organization(clerk, ("ada@x.test", "org:admin"), ("bob@x.test", "org:member"), ("eve@x.test", "org:owner"))
    async with client(clerk) as opened:
        seen = await organization_admins(opened, [acme], "org:admin")
        owners = await organization_admins(opened, [acme], "org:owner")
    (holder,) = seen.holders[acme]  # type: ignore[misc]
    assert [user.verified_email for user in seen.users.values()] == ["ada@x.test"]
    assert seen.users[holder.user_id].verified_email == "ada@x.test"
    assert [user.verified_email for user in owners.users.values()] == ["eve@x.test"]


async def test_an_organization_that_is_missing_does_not_hide_the_others(clerk: StandInClerk) -> None:
    acme, empty = organization(clerk, ("ada@x.test", "org:admin")), organization(clerk)
    async with client(clerk) as opened:
        seen = await organization_admins(opened, [acme, "org_gone", empty], "org:admin")
    gone = seen.holders["org_gone"]
    assert isinstance(gone, AdminUnknown)
    assert gone.reason is Reason.ORGANIZATION_MISSING
    assert len(seen.users) == 1
    assert isinstance(seen.holders[acme], tuple)
    assert seen.holders[empty] == ()


async def test_an_organization_that_cannot_be_read_does_not_hide_the_others(clerk: StandInClerk) -> None:
    acme, zenith = organization(clerk, ("a@x.test", "org:admin")), organization(clerk, ("z@x.test", "org:admin"))
    clerk.faults.scripted = [ScriptedFault(MEMBERSHIPS, "error", times=4)]
    async with client(clerk) as opened:
        first = await organization_admins(opened, [acme], "org:admin")
        both = await organization_admins(opened, [acme, zenith], "org:admin")
    unread = first.holders[acme]
    assert isinstance(unread, AdminUnknown)
    assert unread.reason is Reason.CLERK_UNREACHABLE
    assert len(both.users) == 2


async def test_when_the_users_cannot_be_read_only_those_who_need_them_wait(clerk: StandInClerk) -> None:
    acme, empty = organization(clerk, ("ada@x.test", "org:admin")), organization(clerk)
    clerk.faults.scripted = [ScriptedFault(USERS, "error", times=4)]
    async with client(clerk) as opened:
        seen = await organization_admins(opened, [acme, empty, "org_gone"], "org:admin")
    waiting, gone = seen.holders[acme], seen.holders["org_gone"]
    assert isinstance(waiting, AdminUnknown)
    assert waiting.reason is Reason.CLERK_UNREACHABLE
    assert isinstance(gone, AdminUnknown)
    assert gone.reason is Reason.ORGANIZATION_MISSING
    assert seen.holders[empty] == ()


async def test_a_refused_key_ends_the_run(clerk: StandInClerk) -> None:
    acme = organization(clerk, ("ada@x.test", "org:admin"))
    async with client(clerk, "sk_test_wrong") as opened:
        with pytest.raises(Fault) as raised:
            await organization_admins(opened, [acme], "org:admin")
    assert raised.value.reason is Reason.CREDENTIALS_REFUSED


async def test_nobody_is_asked_about_nothing(clerk: StandInClerk) -> None:
    async with client(clerk) as opened:
        seen = await organization_admins(opened, [], "org:admin")
    assert (seen.holders, seen.users) == ({}, {})
    assert not clerk.calls
