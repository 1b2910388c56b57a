"""Tenants with what happened to them, read from a ledger that has come to be by itself or by hand."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.decide.timeline import position_from
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.history import Actor, Event, Source
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.report.timeline_page import Timeline
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.views.tenant_timeline import SeveralTenants, one_of, timeline, timelines
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in
from provisioning_pipeline_tests.world import World

T = TypeVar("T")
NOON = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        yield made


def ask(url: str, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    async def go() -> T:
        registry = Database(url, system="The registry", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=True)
        async with registry as database:
            return await work(database)

    return asyncio.run(go())


def read(url: str, name: str, **how: Any) -> Timeline:
    found = ask(url, lambda database: timeline(database, name, **how))
    assert found is not None
    return found


def link(fleet: Fleet, database_name: str, slug: str) -> None:
    fleet.sql(
        "INSERT INTO provisioning.tenant_link (database_name, slug, created_at) VALUES (%s, %s, %s)",
        *(database_name, slug, NOON - timedelta(days=1)),
    )


@pytest.mark.slow
def test_page_by_page_every_event_is_told_once(fleet: Fleet) -> None:
    """Outcomes of one run have the same time, and so have turns of conditions: a page may end among them."""
    link(fleet, "acme", "acme")
    for minute, count in ((0, 3), (1, 7), (2, 1)):
        at = NOON + timedelta(minutes=minute)
        for number in range(count):
            fleet.sql(
                "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds, at) "
                "VALUES ('r1', 'acme', 'add member', 'done', %s, 1, %s)",
                *(f"{minute}.{number}", at),
            )
            fleet.sql(
                "INSERT INTO provisioning.condition_change (run_id, database_name, type, status, reason, message, at) "
                "VALUES ('r1', 'acme', 'LoginProved', 'False', 'LoginRefused', %s, %s)",
                *(f"{minute}.{number}", at),
            )
    whole = read(fleet.url, "acme")
    assert (len(whole.events), whole.next) == (2 * 11 + 1, None)

    for most in (1, 2, 4, 9, 23):
        walked: list[Event] = []
        begin = None
        while True:
            part = read(fleet.url, "acme", most=most, begin=position_from(begin) if begin else None)
            assert part.begin == begin
            walked += part.events
            if part.next is None:
                break
            begin = part.next
        assert walked == list(whole.events)


def test_a_tenant_is_found_by_slug_and_by_database_name(fleet: Fleet) -> None:
    link(fleet, "twenty_tenant_acme_1", "acme")
    assert read(fleet.url, "acme").tenant.database_name == "twenty_tenant_acme_1"
    assert read(fleet.url, "twenty_tenant_acme_1").tenant.slug == "acme"
    assert ask(fleet.url, lambda database: timeline(database, "nobody")) is None


def test_a_slug_of_several_tenants_is_no_name_for_one_of_them(fleet: Fleet) -> None:
    link(fleet, "one", "acme")
    link(fleet, "two", "acme")
    with pytest.raises(SeveralTenants) as several:
        read(fleet.url, "acme")
    assert several.value.database_names == ("one", "two")
    assert len(ask(fleet.url, lambda database: timelines(database, "acme"))) == 2

    link(fleet, "acme", "three")
    assert read(fleet.url, "acme").tenant.slug == "three"


def test_without_a_ledger_there_is_no_tenant(sandbox_postgres: SandboxPostgres) -> None:
    url = sandbox_postgres.create_database("timeline_without_ledger")
    try:
        assert ask(url, lambda database: timeline(database, "acme")) is None
        assert ask(url, lambda database: timelines(database, "acme")) == []
    finally:
        sandbox_postgres.drop_database("timeline_without_ledger")


@pytest.mark.slow
def test_a_tenants_life_can_be_read_from_its_timeline() -> None:
    """Found, made, and set aside by the tenant manager, with who did it and in which run."""
    with Sandbox(SandboxOptions(tenants=1, members=2, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox)
        made = world.apply()
        world.registry("UPDATE tenant_registry SET status = 'suspended'")
        aside = world.apply()
        url = world.settings.registry_url.get_secret_value()

        found = read(url, "acme")

        told = {(event.who, event.source, event.run_id) for event in found.events}
        assert {
            (Actor.TENANT_MANAGER, Source.DATABASE, made.summary.run_id),
            (Actor.OPERATOR, Source.ACTION, made.summary.run_id),
            (Actor.OPERATOR, Source.LOGIN, made.summary.run_id),
            (Actor.TENANT_MANAGER, Source.REGISTRY, aside.summary.run_id),
        } <= told
        assert not any(event.failed for event in found.events)
        assert found.reported == {made.summary.run_id, aside.summary.run_id}
        assert (found.members, found.organization) == (2, world.organization("acme"))
        assert [event.what for event in found.events if event.what.startswith("prove login of 2 people")]
        oldest_first = [event.what for event in reversed(found.events)]
        assert oldest_first[0].startswith("A new tenant")
        assert oldest_first.index("Ready.") < oldest_first.index("Excluded: TenantSuspended.")


def test_a_tenant_that_is_gone_leaves_its_slug_to_the_next_customer() -> None:
    def line(name: str, reason: Reason) -> TenantLine:
        return TenantLine("acme", name, None, None, None, None, None, reason, "", None, ())

    gone, suspended, ready = (
        line("db_1", Reason.TENANT_GONE),
        line("db_2", Reason.TENANT_SUSPENDED),
        line("db_3", Reason.ALL_TRUE),
    )
    assert one_of([gone, ready], "acme") is ready
    assert one_of([gone, ready], "db_1") is gone
    assert one_of([gone], "acme") is gone
    assert one_of([], "acme") is None
    with pytest.raises(SeveralTenants):
        one_of([suspended, ready, gone], "acme")
