"""Turns in the ledger: what a tick leaves, what a run ends, who waits for whom."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from provisioning_pipeline.ledger import revisions
from provisioning_pipeline.ledger.pending import CodeLocations, Turns
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.model.history import LastRun
from provisioning_pipeline.run.turns import next_launch
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        yield made


def nothing(works: frozenset[str]) -> Mapping[str, LastRun]:
    return {}


def launch(fleet: Fleet, *names: str, asker: str = "sensor", busy: tuple[str, ...] = (), most: int = 10) -> list[str]:
    due = dict.fromkeys(names, "1")
    return list(asyncio.run(next_launch(fleet.settings(), due, busy, nothing, asker=asker, most=most)).names)


def turns(fleet: Fleet) -> dict[str, int]:
    return dict(fleet.sql("SELECT database_name, attempts FROM provisioning.turn ORDER BY 1"))


def end(fleet: Fleet, *names: str) -> None:
    async def work() -> None:
        async with ledger_database(fleet.settings(), read_only=False) as database:
            await Turns(database).end(names)

    asyncio.run(work())


def test_a_run_ends_the_turn_of_those_that_it_had_but_of_those_whose_mark_stands(fleet: Fleet) -> None:
    for name in ("acme", "beta", "gamma", "delta"):
        fleet.link(name)
    fleet.sql("UPDATE provisioning.tenant_link SET marked_at = now() WHERE database_name <> 'delta'")
    assert launch(fleet, "acme", "beta", "gamma", "delta") == ["acme", "beta", "delta", "gamma"]
    # acme was read, beta was not, and gamma got another mark since
    fleet.sql("UPDATE provisioning.tenant_link SET marked_at = NULL WHERE database_name = 'acme'")
    fleet.sql("UPDATE provisioning.tenant_link SET marked_at = now() WHERE database_name = 'gamma'")

    end(fleet, "acme", "beta", "gamma", "never due")

    assert turns(fleet) == {"beta": 1, "delta": 1}


def test_who_is_due_longest_goes_first_and_those_who_are_busy_wait_without_a_turn_lost(fleet: Fleet) -> None:
    assert launch(fleet, *"abcd", most=2, busy=("a",)) == ["b", "c"]
    assert launch(fleet, *"abcd", "aa", asker="clerk", most=2) == ["a", "d"]
    assert launch(fleet, *"abcd", "aa", asker="members", most=2) == ["aa"]


def test_a_turn_that_nobody_was_due_for_in_a_week_is_forgotten(fleet: Fleet) -> None:
    launch(fleet, "gone", "due")
    fleet.sql("UPDATE provisioning.turn SET due_since = due_since - interval '8 days', launched_at = NULL")
    launch(fleet, "due", "new")

    assert set(turns(fleet)) == {"due", "new"}


def test_a_ledger_of_an_earlier_version_is_brought_to_this_one_before_a_run_is_asked_for(fleet: Fleet) -> None:
    fleet.sql("DROP SCHEMA provisioning CASCADE")

    assert launch(fleet, "acme") == ["acme"]

    assert fleet.sql("SELECT version_num FROM provisioning.alembic_version") == [(revisions.HEAD,)]


def test_two_sensors_at_once_divide_the_due_between_them(fleet: Fleet) -> None:
    async def both() -> list[Any]:
        due = {f"t{number}": "1" for number in range(200)}
        asked = [
            next_launch(fleet.settings(), due, (), nothing, asker=f"sensor {number}", most=50) for number in range(4)
        ]
        return await asyncio.gather(*asked)

    found = [name for launched in asyncio.run(both()) for name in launched.names]

    assert len(found) == len(set(found)) == 200


def test_the_code_location_is_known_once_a_sensor_has_said_it(fleet: Fleet) -> None:
    async def work() -> list[tuple[str, str] | None]:
        async with ledger_database(fleet.settings(), read_only=False) as database:
            locations = CodeLocations(database)
            found = [await locations.known()]
            for place in (("one", "r"), ("two", "r")):
                await locations.store(*place)
                found.append(await locations.known())
            await database.execute("DROP SCHEMA provisioning CASCADE")
            return [*found, await locations.known()]

    assert asyncio.run(work()) == [None, ("one", "r"), ("two", "r"), None]
