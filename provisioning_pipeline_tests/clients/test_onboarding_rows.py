"""Onboarding rows by SQL: out in one transaction, exactly as planned, and back as they were."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from provisioning_pipeline.clients.onboarding_rows import activate_workspaces, remove_rows, restore_rows
from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import Flag
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import core_sql

pytestmark = pytest.mark.anyio
APPS, PROFILE, TEAM = (f"ONBOARDING_{step}_PENDING" for step in ("INSTALL_APPS", "CREATE_PROFILE", "INVITE_TEAM"))
NUMBERS = count()


class Core:
    """A database with one workspace, one user and the rows that a test puts there."""

    def __init__(self, postgres: SandboxPostgres, name: str) -> None:
        self.postgres, self.name = postgres, name
        self.workspace = str(self.sql("INSERT INTO core.workspace (subdomain) VALUES ('acme') RETURNING id")[0][0])
        self.user = str(self.sql("INSERT INTO core.\"user\" (email) VALUES ('ann@acme.example') RETURNING id")[0][0])

    def sql(self, statement: str, *values: Any) -> list[Any]:
        return list(self.postgres.execute(self.name, statement, values or None))

    def flag(self, key: str, user_id: str | None, workspace_id: str | None, value: Any = True) -> Flag:
        (row,) = self.sql(
            'INSERT INTO core."keyValuePair" (key, value, "userId", "workspaceId") VALUES (%s, %s, %s, %s)'
            " RETURNING id::text",
            *(key, json.dumps(value), user_id, workspace_id),
        )
        return Flag(key, user_id, workspace_id, value, row_id=row[0])

    def three_levels(self) -> tuple[Flag, Flag, Flag]:
        return (
            self.flag(APPS, self.user, self.workspace),
            self.flag(PROFILE, self.user, None),
            self.flag(TEAM, None, self.workspace),
        )

    def rows(self) -> list[Row]:
        """Whole, by id."""
        return [row for (row,) in self.sql('SELECT to_jsonb(k) FROM core."keyValuePair" k ORDER BY id')]

    @asynccontextmanager
    async def opened(self, url: str | None = None) -> AsyncIterator[Database]:
        async with Database(
            url or self.postgres.url(self.name),
            system="The tenant's database",
            unreachable=Reason.DATABASE_UNREACHABLE,
            read_only=False,
        ) as database:
            yield database

    async def remove(
        self, *planned: Flag, meanwhile: Callable[[], object] = lambda: None, owner_is_trusted: bool = False
    ) -> list[Row]:
        async def keep(rows: list[Row]) -> None:
            meanwhile()

        async with self.opened() as database:
            return await remove_rows(database, planned, keep, owner_is_trusted=owner_is_trusted)

    async def restore(self, rows: list[Row]) -> set[str]:
        async with self.opened() as database:
            return set((await restore_rows(database, rows)).inserted)


@pytest.fixture(scope="module")
def template(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    name = "onboarding_rows_core"
    sandbox_postgres.create_database(name)
    sandbox_postgres.execute(name, core_sql())
    yield name
    sandbox_postgres.drop_database(name)


@pytest.fixture
def core(sandbox_postgres: SandboxPostgres, template: str) -> Iterator[Core]:
    name = f"onboarding_rows_{next(NUMBERS)}"
    sandbox_postgres.create_database(name, template=template)
    yield Core(sandbox_postgres, name)
    sandbox_postgres.drop_database(name)


def ids(rows: list[Row]) -> set[str]:
    return {row["id"] for row in rows}


# --- out ----------------------------------------------------------------------------------------------------------


async def test_exactly_the_planned_rows_go_and_are_returned_whole(core: Core) -> None:
    flags = core.three_levels()
    other = core.flag("ONBOARDING_CONNECT_ACCOUNT_PENDING", core.user, core.workspace)
    before = core.rows()
    removed = await core.remove(*flags)
    assert sorted(removed, key=lambda row: str(row["id"])) == [row for row in before if row["id"] != other.row_id]
    assert ids(core.rows()) == {other.row_id}


async def test_the_rows_are_kept_before_they_go(core: Core) -> None:
    flags = core.three_levels()
    kept: list[Row] = []

    async def keep(rows: list[Row]) -> None:
        assert len(core.rows()) == 3
        kept.extend(rows)

    async with core.opened() as database:
        assert await remove_rows(database, flags, keep) == kept
    assert core.rows() == []


@pytest.mark.parametrize(
    "change",
    [
        "value = 'false'",
        "value = '\"true\"'",
        "value = NULL",
        "type = 'FEATURE_FLAG'",
        "key = 'ONBOARDING_OTHER_PENDING'",
        '"userId" = NULL',
        '"workspaceId" = NULL',
        "id = gen_random_uuid()",
    ],
)
async def test_a_row_that_changed_is_left(core: Core, change: str) -> None:
    apps, _, team = core.three_levels()
    core.sql(f'UPDATE core."keyValuePair" SET {change} WHERE id = %s', apps.row_id)
    left = core.rows()
    removed = await core.remove(apps, team)
    assert ids(removed) == {team.row_id}
    assert core.rows() == [row for row in left if row["id"] != team.row_id]


async def test_rows_that_are_not_pending_or_were_never_read_are_no_plan(core: Core) -> None:
    apps, profile, _ = core.three_levels()
    before = core.rows()
    planned = [replace(apps, value=False), replace(apps, value="true"), replace(profile, row_id=None)]
    assert await core.remove(*planned, meanwhile=pytest.fail) == []
    assert await core.remove() == []
    assert core.rows() == before


async def test_nothing_is_kept_where_nothing_is_left_of_the_plan(core: Core) -> None:
    flags = core.three_levels()
    core.sql('DELETE FROM core."keyValuePair"')
    assert await core.remove(*flags, meanwhile=pytest.fail) == []


async def test_removing_twice_is_removing_once(core: Core) -> None:
    flags = core.three_levels()
    assert len(await core.remove(*flags)) == 3
    assert await core.remove(*flags) == []


async def test_a_row_that_is_removed_is_held_until_the_end(core: Core) -> None:
    apps, *_ = core.three_levels()

    def change() -> None:
        with core.postgres.connect(core.name) as connection:
            connection.execute("SET lock_timeout = 1")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                connection.execute("UPDATE core.\"keyValuePair\" SET value = 'false' WHERE id = %s", [apps.row_id])

    assert len(await core.remove(apps, meanwhile=change)) == 1


async def test_what_cannot_be_kept_is_not_removed(core: Core) -> None:
    flags = core.three_levels()
    before = core.rows()

    def away() -> None:
        raise Fault(FaultKind.TRANSIENT, Reason.REGISTRY_UNREACHABLE, "The ledger is away.")

    with pytest.raises(Fault, match="ledger is away"):
        await core.remove(*flags, meanwhile=away)
    assert core.rows() == before


async def test_rows_that_are_too_much_together_are_not_taken_in(core: Core) -> None:
    """Each is as long as a row may be; what Python would make of ten thousand of them is a gigabyte."""
    many, extra = 1_100, json.dumps([{}] * 900)
    core.sql('ALTER TABLE core."keyValuePair" ADD COLUMN extra jsonb')
    made = core.sql(
        """
        INSERT INTO core."keyValuePair" (key, value, "userId", "workspaceId", extra)
        SELECT 'ONBOARDING_' || number || '_PENDING', 'true', %s, %s, %s FROM generate_series(1, %s) number
        RETURNING id::text, key
        """,
        *(core.user, core.workspace, extra, many),
    )
    with pytest.raises(Fault) as refused:
        await core.remove(*(Flag(key, core.user, core.workspace, True, row_id=row_id) for row_id, key in made))
    assert refused.value.reason is Reason.TENANT_DATABASE_TOO_LARGE
    assert core.sql('SELECT count(*) FROM core."keyValuePair"') == [(many,)]


async def test_a_connection_cut_in_the_middle_leaves_everything_and_the_next_try_heals(core: Core) -> None:
    flags = core.three_levels()
    before = core.rows()

    def cut() -> None:
        core.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(Fault) as raised:
        await core.remove(*flags, meanwhile=cut)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TRANSIENT, Reason.DATABASE_UNREACHABLE)
    assert core.rows() == before
    assert len(await core.remove(*flags)) == 3


async def test_a_database_dropped_in_the_middle_is_a_fault(core: Core) -> None:
    flags = core.three_levels()
    with pytest.raises(Fault) as raised:
        await core.remove(*flags, meanwhile=lambda: core.postgres.drop_database(core.name))
    assert raised.value.reason is Reason.DATABASE_UNREACHABLE


async def test_a_trigger_of_twenty_s_own_that_saves_one_row_saves_them_all(core: Core) -> None:
    flags = core.three_levels()
    core.sql(
        "CREATE FUNCTION spare() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN CASE WHEN OLD.key LIKE '%TEAM%' THEN NULL ELSE OLD END; END $$;"
        ' CREATE TRIGGER spare BEFORE DELETE ON core."keyValuePair" FOR EACH ROW EXECUTE FUNCTION spare()'
    )
    with pytest.raises(Fault, match="2 of 3"):
        await core.remove(*flags, owner_is_trusted=True)
    assert len(core.rows()) == 3


async def test_a_missing_grant_is_postgresqls_own_error(core: Core) -> None:
    flags = core.three_levels()
    core.postgres.execute("postgres", "CREATE ROLE reader LOGIN PASSWORD 'c4nary'")
    try:
        core.sql('GRANT USAGE ON SCHEMA core TO reader; GRANT SELECT ON core."keyValuePair" TO reader')
        async with core.opened(f"postgresql://reader:c4nary@127.0.0.1:{core.postgres.port}/{core.name}") as database:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await remove_rows(database, flags, pytest.fail)
    finally:
        core.sql("DROP OWNED BY reader; DROP ROLE reader")
    assert len(core.rows()) == 3


async def test_a_table_that_is_gone_is_told(core: Core) -> None:
    flags = core.three_levels()
    core.sql('DROP TABLE core."keyValuePair"')
    with pytest.raises(Fault) as raised:
        await core.remove(*flags)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.OLDER_SCHEMA)


# --- back ---------------------------------------------------------------------------------------------------------


async def test_rows_come_back_as_they_were_and_only_once(core: Core) -> None:
    flags = core.three_levels()
    before = core.rows()
    removed = json.loads(json.dumps(await core.remove(*flags)))
    assert await core.restore(removed) == {flag.row_id for flag in flags}
    assert core.rows() == before
    assert await core.restore(removed) == set()
    assert await core.restore([]) == set()
    assert core.rows() == before


async def test_a_row_in_whose_place_is_a_newer_one_stays_out(core: Core) -> None:
    flags = core.three_levels()
    removed = await core.remove(*flags)
    newer = [core.flag(flag.key, flag.user_id, flag.workspace_id, value=False) for flag in flags[1:]]
    assert await core.restore(removed) == {flags[0].row_id}
    assert ids(core.rows()) == {flags[0].row_id, *(flag.row_id for flag in newer)}


async def test_a_table_without_any_index_gets_no_row_twice(core: Core) -> None:
    flags = core.three_levels()
    core.sql(
        'CREATE TABLE core.copy AS TABLE core."keyValuePair"; DROP TABLE core."keyValuePair";'
        ' ALTER TABLE core.copy RENAME TO "keyValuePair"'
    )
    removed = await core.remove(*flags)
    newer = core.flag(flags[2].key, None, flags[2].workspace_id)
    core.sql('UPDATE core."keyValuePair" SET id = gen_random_uuid()')
    assert await core.restore(removed) == {flags[0].row_id, flags[1].row_id}
    assert await core.restore(removed) == set()
    assert len(core.rows()) == 3
    assert newer.row_id not in ids(core.rows())


async def test_a_row_of_somebody_who_is_gone_keeps_no_other_out(core: Core) -> None:
    flags = core.three_levels()
    removed = await core.remove(*flags)
    core.sql('DELETE FROM core."user"')
    assert await core.restore(removed) == {flags[2].row_id}


async def test_a_table_whose_columns_changed_takes_what_it_knows(core: Core) -> None:
    flags = core.three_levels()
    removed = await core.remove(*flags)
    core.sql(
        'ALTER TABLE core."keyValuePair" DROP COLUMN "textValueDeprecated",'
        " ADD COLUMN more text NOT NULL DEFAULT '1',"
        " ADD COLUMN upper text GENERATED ALWAYS AS (upper(key)) STORED"
    )
    assert await core.restore(removed) == {flag.row_id for flag in flags}
    assert {row["more"] for row in core.rows()} == {"1"}


# --- activation ---------------------------------------------------------------------------------------------------


async def test_only_planned_workspaces_that_are_still_pending_are_activated(core: Core) -> None:
    core.sql("UPDATE core.workspace SET \"activationStatus\" = 'PENDING_CREATION'")
    others = {
        status: str(
            core.sql(
                'INSERT INTO core.workspace (subdomain, "activationStatus") VALUES (%s, %s) RETURNING id',
                *(status.lower(), status),
            )[0][0]
        )
        for status in ("PENDING_CREATION", "SUSPENDED")
    }
    kept: list[Row] = []

    async def keep(rows: list[Row]) -> None:
        kept.extend(rows)

    async with core.opened() as database:
        changed = await activate_workspaces(database, [core.workspace, others["SUSPENDED"], str(uuid4())], keep)
        assert await activate_workspaces(database, [core.workspace], keep) == []
    assert changed == kept
    assert [(row["id"], row["activationStatus"]) for row in changed] == [(core.workspace, "PENDING_CREATION")]
    assert dict(core.sql('SELECT subdomain, "activationStatus"::text FROM core.workspace')) == {
        "acme": "ACTIVE",
        "pending_creation": "PENDING_CREATION",
        "suspended": "SUSPENDED",
    }


async def test_an_activation_cut_in_the_middle_changes_nothing(core: Core) -> None:
    core.sql("UPDATE core.workspace SET \"activationStatus\" = 'PENDING_CREATION'")

    async def cut(rows: list[Row]) -> None:
        core.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    async with core.opened() as database:
        with suppress(Fault):
            await activate_workspaces(database, [core.workspace], cut)
    assert core.sql('SELECT "activationStatus"::text FROM core.workspace') == [("PENDING_CREATION",)]
