"""Many tenant databases: each has its look, a bounded number at once, and one's trouble is its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from provisioning_pipeline.clients import tenant_database
from provisioning_pipeline.clients.postgres import Connection
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant_database import Inspection
from provisioning_pipeline.observe import snapshots
from provisioning_pipeline.observe.snapshots import inspect_databases
from provisioning_pipeline.sandbox.hand_made import create_partial_core, insert_workspace
from provisioning_pipeline.sandbox.postgres import SandboxPostgres, free_port
from provisioning_pipeline.sandbox.twenty import core_sql

pytestmark = pytest.mark.anyio
AT = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE, PARTIAL, BARE, GONE = "looked_at_whole", "looked_at_partial", "looked_at_bare", "looked_at_gone"


@pytest.fixture(scope="module")
def postgres(sandbox_postgres: SandboxPostgres) -> Iterator[SandboxPostgres]:
    sandbox_postgres.create_databases([WHOLE, PARTIAL, BARE])
    sandbox_postgres.execute(WHOLE, core_sql())
    with sandbox_postgres.connect(WHOLE) as connection:
        insert_workspace(connection, "acme", "Acme", [])
    with sandbox_postgres.connect(PARTIAL) as connection:
        create_partial_core(connection)
    yield sandbox_postgres
    for name in (WHOLE, PARTIAL, BARE):
        sandbox_postgres.drop_database(name)


async def test_every_state_is_a_look_of_its_own_in_the_order_of_the_names(postgres: SandboxPostgres) -> None:
    names = [BARE, WHOLE, GONE, PARTIAL]
    found = await inspect_databases(lambda _: postgres.url(), {WHOLE: "one", BARE: "two"}, names, AT, at_once=3)
    assert [(look.database_name, look.evidence, look.reason, look.vanished) for look in found] == [
        (BARE, "two", Reason.NO_SCHEMA_YET, False),
        (WHOLE, "one", None, False),
        (GONE, "", Reason.DATABASE_VANISHED, True),
        (PARTIAL, "", Reason.OLDER_SCHEMA, False),
    ]
    assert {look.looked_at for look in found} == {AT}
    assert [workspace.display_name for workspace in found[1].workspaces] == ["Acme"]


async def test_there_are_never_more_connections_than_allowed(
    postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, opened, seen = tenant_database.begin, list[Connection](), list[int]()

    async def counted(connection: Connection, *rest: Any, **named: Any) -> Any:
        # by our side of them: the server takes a moment to notice that one was closed
        opened.append(connection)
        seen.append(sum(not one.closed for one in opened))
        return await begin(connection, *rest, **named)

    monkeypatch.setattr(tenant_database, "begin", counted)
    for at_once in (1, 3):
        seen.clear()
        await inspect_databases(lambda _: postgres.url(), {}, [WHOLE, BARE, PARTIAL, GONE] * 5, AT, at_once=at_once)
        assert 1 <= max(seen) <= at_once


async def test_one_that_is_dropped_in_the_middle_leaves_the_others_alone(
    postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = "looked_at_victim"
    postgres.create_database(victim)
    begin = tenant_database.begin

    async def dropped_first(connection: Connection, *rest: Any, **named: Any) -> Any:
        if connection.info.dbname == victim:
            postgres.drop_database(victim)
        return await begin(connection, *rest, **named)

    monkeypatch.setattr(tenant_database, "begin", dropped_first)
    found = await inspect_databases(lambda _: postgres.url(), {}, [BARE, victim, WHOLE], AT, at_once=2)
    assert [look.vanished for look in found] == [False, True, False]
    assert [look.reason for look in found] == [Reason.NO_SCHEMA_YET, Reason.DATABASE_VANISHED, None]


async def test_a_cluster_that_is_away_is_said_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await inspect_databases(
        lambda _: f"postgresql://u:c4nary@127.0.0.1:{free_port()}/postgres", {}, [WHOLE, BARE], AT, at_once=8
    )
    assert {look.reason for look in found} == {Reason.DATABASE_UNREACHABLE}
    assert "c4nary" not in repr(found)


async def test_the_same_name_twice_is_one_look(postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[str]()
    look = snapshots.look

    async def noted(url: str, name: str, *rest: Any, **options: Any) -> Inspection:
        looked.append(name)
        return await look(url, name, *rest, **options)

    monkeypatch.setattr(snapshots, "look", noted)
    assert len(await inspect_databases(lambda _: postgres.url(), {}, [BARE, BARE], AT, at_once=2)) == 2
    assert looked == [BARE]
    assert await inspect_databases(lambda _: postgres.url(), {}, [], AT, at_once=2) == []
