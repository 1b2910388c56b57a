"""Pending reviews: asked for by events, each event once, and ended only as far as a run has read."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.organizations import claims
from provisioning_pipeline.ledger.pending import MOST_UPDATES_PER_HOUR, ClerkEvent, PendingReview, PendingReviews
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        yield made


def ask(fleet: Fleet, work: Callable[[PendingReviews], Coroutine[Any, Any, T]], table: str = "tenant_registry") -> T:
    return ask_ledger(
        fleet.url, lambda database: work(PendingReviews(database, Registry(database, table))), most_connections=16
    )


def about(organization: str | None = None, user: str | None = None, event_id: str = "msg_a") -> ClerkEvent:
    return ClerkEvent(event_id, "some.event", organization, user, None)


def test_an_organizations_event_marks_the_tenants_that_ledger_or_registry_give_it_to(fleet: Fleet) -> None:
    fleet.link("linked", "org_1", users=["user_1"])
    fleet.link("registered")
    fleet.link("another", "org_2", users=["user_1"])
    fleet.register("registered", "org_1")
    fleet.register("not looked at yet", "org_1")
    fleet.register("another", "org_2")

    assert ask(fleet, lambda reviews: reviews.receive(about("org_1", "user_1"))) == ("linked", "registered")
    assert fleet.marked() == ["linked", "registered"]


@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_a_registry_that_names_organizations_in_json_is_read_like_any_other(fleet: Fleet, kind: str) -> None:
    fleet.link("registered")
    fleet.register("registered", "org_1")
    fleet.sql(f"ALTER TABLE tenant_registry ALTER clerk_org_id TYPE {kind} USING to_json(clerk_org_id)::{kind}")

    async def read(database: Database) -> tuple[list[str], str, set[str | None]]:
        registry = Registry(database, "tenant_registry")
        (row,) = await registry.named("registered")
        (standing,) = await registry.standing("org_1", None)
        by_claims = {claim.organization_id for claim in await claims(registry)}
        return await registry.databases_of("org_1"), row["clerk_org_id"], by_claims | {standing.clerk_org_id}

    assert ask_ledger(fleet.url, read) == (["registered"], "org_1", {"org_1"})
    assert ask(fleet, lambda reviews: reviews.receive(about("org_1", "user_1"))) == ("registered",)


def test_a_users_event_marks_every_tenant_of_that_member(fleet: Fleet) -> None:
    fleet.link("one", "org_1", users=["user_1", "user_2"])
    fleet.link("two", "org_2", users=["user_1"])
    fleet.link("three", "org_3", users=["user_2"])

    assert ask(fleet, lambda reviews: reviews.receive(about(user="user_1"))) == ("one", "two")
    assert fleet.marked() == ["one", "two"]


def membership(kind: str, event_id: str, *, minutes: int | None = None) -> ClerkEvent:
    """An event about user_1 in org_1 so many minutes after noon; None: Clerk does not say when."""
    at = None if minutes is None else NOON + timedelta(minutes=minutes)
    return ClerkEvent(event_id, f"organizationMembership.{kind}", "org_1", "user_1", at)


def updated(event_id: str = "update", *, gone: bool = False) -> ClerkEvent:
    return ClerkEvent(event_id, "user.updated", None, "user_1", None, gone)


@pytest.mark.parametrize(
    ("told", "concerned"),
    [
        ([], ()),
        ([("created", 0)], ("acme",)),
        ([("created", 0), ("updated", 1)], ("acme",)),
        ([("created", 0), ("deleted", 1)], ()),
        ([("created", None), ("deleted", None)], ()),
        ([("created", 0), ("deleted", 1), ("created", 2)], ("acme",)),
        # they arrive in another order than they happened
        ([("deleted", 1), ("created", 0)], ()),
        ([("created", 2), ("deleted", 1)], ("acme",)),
        ([("deleted", 0), ("updated", 0)], ()),
    ],
    ids=str,
)
def test_who_has_left_marks_a_tenant_no_more(
    fleet: Fleet, told: list[tuple[str, int | None]], concerned: tuple[str, ...]
) -> None:
    fleet.link("acme", "org_1")
    fleet.link("beta", "org_2")

    async def go(reviews: PendingReviews) -> tuple[str, ...] | None:
        for number, (kind, minutes) in enumerate(told):
            await reviews.receive(membership(kind, f"msg_{number}", minutes=minutes))
        return await reviews.receive(updated())

    assert ask(fleet, go) == concerned


def test_a_member_who_changes_again_and_again_marks_so_often_an_hour(fleet: Fleet) -> None:
    fleet.link("acme", "org_1", users=["user_1", "user_2"])

    async def go(reviews: PendingReviews) -> list[tuple[str, ...] | None]:
        return [await reviews.receive(updated(f"msg_{number}")) for number in range(MOST_UPDATES_PER_HOUR + 5)]

    assert ask(fleet, go) == [("acme",)] * MOST_UPDATES_PER_HOUR + [()] * 5
    assert len(fleet.events()) == MOST_UPDATES_PER_HOUR + 5
    fleet.unmark()
    # what is no change of their own is never left out, and neither are others' changes
    other = ClerkEvent("msg_other", "user.updated", None, "user_2", None)
    deleted = ClerkEvent("msg_deleted", "user.deleted", None, "user_1", None)
    for event in (other, deleted, membership("updated", "msg_member"), updated("msg_banned", gone=True)):
        assert ask(fleet, lambda reviews, event=event: reviews.receive(event)) == ("acme",), event
    assert ask(fleet, lambda reviews: reviews.receive(updated("msg_more"))) == ()
    # the next hour is another one
    fleet.sql("UPDATE provisioning.clerk_event SET received_at = received_at - interval '1 hour'")
    assert ask(fleet, lambda reviews: reviews.receive(updated("msg_later"))) == ("acme",)


def test_many_changes_at_once_mark_no_more_often(fleet: Fleet) -> None:
    """Several processes serve, and each takes its share."""
    fleet.link("acme", "org_1", users=["user_1"])

    async def storm(reviews: PendingReviews) -> list[tuple[str, ...] | None]:
        return list(await asyncio.gather(*(reviews.receive(updated(f"msg_{number}")) for number in range(40))))

    assert sorted(ask(fleet, storm), reverse=True) == [("acme",)] * MOST_UPDATES_PER_HOUR + [()] * 30


def test_an_event_about_nobody_known_marks_nobody_and_is_kept(fleet: Fleet) -> None:
    fleet.link("without an organization")

    assert ask(fleet, lambda reviews: reviews.receive(about("org_unknown"))) == ()
    assert ask(fleet, lambda reviews: reviews.receive(about(event_id="msg_b"))) == ()
    assert fleet.marked() == []
    assert len(fleet.events()) == 2


def test_an_event_that_arrives_again_marks_nothing_again(fleet: Fleet) -> None:
    fleet.link("acme", "org_1")
    ask(fleet, lambda reviews: reviews.receive(about("org_1")))
    fleet.unmark()

    assert ask(fleet, lambda reviews: reviews.receive(about("org_1"))) is None
    assert fleet.marked() == []
    assert len(fleet.events()) == 1


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("tenant_registry", "ALTER TABLE tenant_registry DROP COLUMN clerk_org_id"),
        ("tenant_registry", "DROP TABLE tenant_registry"),
        ("people.tenants", "CREATE SCHEMA people; CREATE TABLE people.tenants (clerk_org_id text)"),
    ],
)
def test_a_registry_that_cannot_say_leaves_it_to_the_ledger(fleet: Fleet, table: str, change: str) -> None:
    fleet.link("acme", "org_1")
    fleet.sql(change)

    assert ask(fleet, lambda reviews: reviews.receive(about("org_1")), table) == ("acme",)


def test_a_registry_of_another_name_and_type_is_asked(fleet: Fleet) -> None:
    fleet.link("acme")
    fleet.sql("CREATE SCHEMA people; CREATE TABLE people.tenants (database_name varchar(63), clerk_org_id varchar(40))")
    fleet.sql("INSERT INTO people.tenants VALUES ('acme', 'org_1'), (NULL, 'org_1')")

    assert ask(fleet, lambda reviews: reviews.receive(about("org_1")), "people.tenants") == ("acme",)


def test_clearing_takes_the_marks_that_were_there_and_leaves_those_that_came_since(fleet: Fleet) -> None:
    for name in ("acme", "beta", "untouched"):
        fleet.link(name, f"org_{name}")

    async def look(reviews: PendingReviews) -> dict[str, datetime]:
        for name in ("acme", "beta", "untouched"):
            await reviews.receive(about(f"org_{name}", event_id=f"early {name}"))
        before = await reviews.now()
        # an event comes in while a run reads
        await reviews.receive(about("org_beta", event_id="late"))
        await reviews.clear(["acme", "beta", "never heard of"], before)
        return await reviews.pending()

    assert sorted(ask(fleet, look)) == ["beta", "untouched"]


def test_clearing_nobody_and_clearing_twice_change_nothing(fleet: Fleet) -> None:
    fleet.link("acme", "org_1")

    async def look(reviews: PendingReviews) -> dict[str, datetime]:
        before = await reviews.now()
        await reviews.receive(about("org_1"))
        await reviews.clear([], await reviews.now())
        for _ in range(2):
            await reviews.clear(["acme"], before)
        return await reviews.pending()

    assert list(ask(fleet, look)) == ["acme"]


def test_an_event_that_began_earlier_and_ends_later_does_not_move_a_mark_back(fleet: Fleet) -> None:
    fleet.link("acme", "org_1")
    future = ask(fleet, lambda reviews: reviews.now()) + timedelta(minutes=1)
    fleet.sql("UPDATE provisioning.tenant_link SET marked_at = %s", future)

    ask(fleet, lambda reviews: reviews.receive(about("org_1")))

    assert ask(fleet, lambda reviews: reviews.pending()) == {"acme": PendingReview(future, "clerk")}


def test_many_events_at_once_about_the_same_tenants_all_get_through(fleet: Fleet) -> None:
    names = [f"tenant {number:02}" for number in range(20)]
    for number, name in enumerate(names):
        # rows in another order than their names, so that unordered locks would meet crosswise
        fleet.link(names[-number - 1], f"org_{name}", users=["user_1"])

    async def storm(reviews: PendingReviews) -> list[tuple[str, ...] | None]:
        events = [reviews.receive(about(user="user_1", event_id=f"msg_{number % 30}")) for number in range(60)]
        clears = [reviews.clear(names[::-1], await reviews.now()) for _ in range(20)]
        results = await asyncio.gather(*events, *clears)
        return results[:60]

    received = ask(fleet, storm)

    assert sum(found is None for found in received) == 30
    assert all(found in (None, tuple(names)) for found in received)


def test_only_old_events_are_forgotten(fleet: Fleet) -> None:
    async def forget(reviews: PendingReviews) -> tuple[int, int]:
        await reviews.receive(about("org_1"))
        now = await reviews.now()
        none = await reviews.forget_events(now - timedelta(days=30))
        return none, await reviews.forget_events(now + timedelta(days=1))

    assert ask(fleet, forget) == (0, 1)


@pytest.mark.parametrize("revision", ["0001", "base"])
def test_without_a_ledger_that_knows_marks_nobody_is_marked_and_an_event_is_refused_in_words(
    fleet: Fleet, revision: str
) -> None:
    from alembic import command

    command.downgrade(schema.alembic_config(fleet.url), revision)

    assert ask(fleet, lambda reviews: reviews.pending()) == {}
    with pytest.raises(Fault, match="provisioning migrate"):
        ask(fleet, lambda reviews: reviews.receive(about("org_1")))
