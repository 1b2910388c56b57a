"""The owner of a tenant database attacks those who write there: nothing of theirs ever runs with our rights."""

import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import anyio
import psycopg
import pytest

from provisioning_pipeline.clients.onboarding_rows import (
    Restored,
    activate_workspaces,
    remove_rows,
    restore_rows,
    restore_status,
    rights_missing,
)
from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import Flag
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import core_sql
from provisioning_pipeline_tests.attacks import Attack, Ground, Victim
from provisioning_pipeline_tests.attacks.writing import (
    HARMLESS,
    REFUSED,
    REFUSED_REMOVAL,
    REFUSED_RETURN,
    REFUSED_STATUS,
)
from provisioning_pipeline_tests.granted import TENANT_ROLE

pytestmark = pytest.mark.anyio

USER, WORKSPACE, PAIR = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
KEY = "ONBOARDING_CREATE_PROFILE_PENDING"
FLAG = Flag(KEY, USER, WORKSPACE, value=True, row_id=PAIR)
ROW: Row = {
    "id": PAIR,
    "key": KEY,
    "value": True,
    "type": "USER_VARIABLE",
    "userId": USER,
    "workspaceId": WORKSPACE,
    "textValueDeprecated": None,
    "createdAt": "2026-01-01T00:00:00+00:00",
    "updatedAt": "2026-01-01T00:00:00+00:00",
    "deletedAt": None,
}
PEOPLE = f"""
INSERT INTO core.workspace (id, subdomain, "activationStatus") VALUES ('{WORKSPACE}', 'acme', 'PENDING_CREATION');
INSERT INTO core."user" (id, email) VALUES ('{USER}', 'ann@acme.example');
"""
PENDING = f"""{PEOPLE}
INSERT INTO core."keyValuePair" (id, key, value, "userId", "workspaceId", "createdAt", "updatedAt")
VALUES ('{PAIR}', '{KEY}', 'true', '{USER}', '{WORKSPACE}', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');
"""
FEW = {"before trigger", "partial index", "nothing", "CHECK that has PostgreSQL run SQL", "trigger on the workspace"}
ALL = [*REFUSED, *REFUSED_REMOVAL, *REFUSED_RETURN, *HARMLESS[1:3]]
TOUCHING = """
INSERT INTO core."keyValuePair" (key, "userId") SELECT 'x', id FROM core."user" WHERE email = 'ann@acme.example'::text;
SELECT to_jsonb(k), k.type::text FROM core."keyValuePair" k;
DELETE FROM core."keyValuePair" WHERE key = 'x'::text OR true;
"""


@pytest.fixture(scope="module")
def ground(sandbox_postgres: SandboxPostgres) -> Iterator[Ground]:
    made = Ground(sandbox_postgres, core_sql())
    yield made
    made.close()


def each(attacks: Iterable[Attack]) -> pytest.MarkDecorator:
    """A test for each; all but a few are slow, since each makes a database."""
    return pytest.mark.parametrize(
        "attack",
        [pytest.param(one, marks=() if one.name in FEW else pytest.mark.slow) for one in attacks],
        ids=str,
    )


@asynccontextmanager
async def opened(victim: Victim, *, read_only: bool = False) -> AsyncIterator[Database]:
    async with Database(
        victim.url,
        system="The tenant's database",
        unreachable=Reason.DATABASE_UNREACHABLE,
        read_only=read_only,
    ) as database:
        yield database


async def remove(victim: Victim) -> list[Row]:
    kept: list[Row] = []

    async def keep(rows: list[Row]) -> None:
        kept.extend(rows)

    async with opened(victim) as database:
        removed = await remove_rows(database, [FLAG], keep)
    assert kept == removed
    return removed


async def restore(victim: Victim) -> Restored:
    async with opened(victim) as database:
        return await restore_rows(database, [ROW])


async def activate(victim: Victim) -> list[Row]:
    async def keep(rows: list[Row]) -> None:
        """Nothing else is asked of it."""

    async with opened(victim) as database:
        return await activate_workspaces(database, [WORKSPACE], keep)


def pairs(victim: Victim) -> list[str]:
    with psycopg.connect(victim.owner_url) as connection:
        return [row[0] for row in connection.execute('SELECT id::text FROM ONLY core."keyValuePair"')]


# --- the attacks are real -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("attack", ALL, ids=str)
def test_whoever_touches_the_table_as_usual_runs_what_its_owner_left_there(ground: Ground, attack: Attack) -> None:
    with ground.attacked(attack, PENDING) as victim:
        try:
            with psycopg.connect(victim.url, autocommit=True) as connection:
                for statement in TOUCHING.strip().split(";\n"):
                    connection.execute(statement.encode())
            ran_as = {who for (who,) in victim.postgres.execute(victim.name, "SELECT who FROM evil.audit")}
            # since PostgreSQL 18, a deferred trigger runs as the role that set it off: here the owner's, by the cascade
            assert ran_as == {TENANT_ROLE} or (ran_as and attack in REFUSED_REMOVAL)
            with pytest.raises(AssertionError, match="were called"):
                victim.must_be_untouched()
        finally:
            ground.postgres.execute("postgres", "ALTER ROLE provisioning_tenants PASSWORD 'choose-one'")


# --- and none of them works ---------------------------------------------------------------------------------------


@each([*REFUSED, *REFUSED_REMOVAL])
async def test_no_row_is_removed_where_that_would_run_code(ground: Ground, attack: Attack) -> None:
    with ground.attacked(attack, PENDING) as victim:
        with pytest.raises(Fault, match=(REFUSED | REFUSED_REMOVAL)[attack]) as refused:
            await remove(victim)
        assert (refused.value.kind, refused.value.reason) == (FaultKind.TENANT, Reason.TENANT_DATABASE_UNSAFE)
        victim.must_be_untouched()


@each([*REFUSED, *REFUSED_RETURN])
async def test_no_row_is_put_back_where_that_would_run_code(ground: Ground, attack: Attack) -> None:
    with ground.attacked(attack, PEOPLE) as victim:
        with pytest.raises(Fault, match=(REFUSED | REFUSED_RETURN)[attack]) as refused:
            await restore(victim)
        assert (refused.value.kind, refused.value.reason) == (FaultKind.TENANT, Reason.TENANT_DATABASE_UNSAFE)
        victim.must_be_untouched()


@each(HARMLESS)
async def test_rows_go_and_come_back_past_what_cannot_run(ground: Ground, attack: Attack) -> None:
    with ground.attacked(attack, PENDING) as victim:
        async with opened(victim, read_only=True) as database:
            assert await rights_missing(database) == ()
        removed = await remove(victim)
        assert [{name: row[name] for name in ROW} for row in removed] == [ROW]
        assert pairs(victim) == []
        assert (await restore(victim)).inserted == {PAIR}
        assert (await restore(victim)).there == {PAIR}
        assert [row["id"] for row in await activate(victim)] == [WORKSPACE]
        async with opened(victim) as database:
            assert await restore_status(database, WORKSPACE, "PENDING_CREATION", "ACTIVE") == "ACTIVE"
        victim.must_be_untouched()


@each(REFUSED_STATUS)
async def test_no_status_is_set_where_that_would_run_code(ground: Ground, attack: Attack) -> None:
    with ground.attacked(attack, PENDING) as victim:
        with pytest.raises(Fault, match=REFUSED_STATUS[attack]) as refused:
            await activate(victim)
        assert refused.value.reason is Reason.TENANT_DATABASE_UNSAFE
        victim.must_be_untouched()


@pytest.mark.slow
async def test_a_row_larger_than_any_of_twenty_s_is_not_taken_in(ground: Ground) -> None:
    large = Attack("large", 'UPDATE core."keyValuePair" SET "textValueDeprecated" = repeat(\'x\', 10000)')
    with ground.attacked(large, PENDING) as victim:
        with pytest.raises(Fault) as refused:
            await remove(victim)
        assert refused.value.reason is Reason.TENANT_DATABASE_TOO_LARGE
        assert pairs(victim) == [PAIR]


@pytest.mark.slow
async def test_a_row_that_json_cannot_hold_here_is_not_taken_in(ground: Ground) -> None:
    deep = Attack(
        "deep",
        'ALTER TABLE core."keyValuePair" ADD COLUMN more jsonb'
        " DEFAULT (repeat('[', 1500) || repeat(']', 1500))::jsonb",
    )
    with ground.attacked(deep, PENDING) as victim:
        with pytest.raises(Fault) as refused:
            await remove(victim)
        assert refused.value.reason is Reason.TENANT_DATABASE_TOO_LARGE


# --- while we are at it -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "meanwhile",
    [
        'CREATE TRIGGER t BEFORE DELETE ON core."keyValuePair" FOR EACH ROW EXECUTE FUNCTION evil.fired()',
        'CREATE INDEX ON core."keyValuePair" ((evil.folded(1)))',
        'CREATE INDEX CONCURRENTLY ON core."keyValuePair" ((evil.folded(1)))',
        'CREATE STATISTICS evil.s ON key, (evil.folded(1)) FROM core."keyValuePair"',
        'CREATE RULE r AS ON DELETE TO core."keyValuePair" DO ALSO SELECT evil.run()',
        'ALTER TABLE core."keyValuePair" ENABLE ROW LEVEL SECURITY',
        'CREATE TABLE evil.child () INHERITS (core."keyValuePair")',
        'CREATE TABLE evil.hanging (of uuid REFERENCES core."keyValuePair" ON DELETE CASCADE)',
        'ALTER TABLE core."keyValuePair" RENAME TO moved',
        'ALTER TABLE core."keyValuePair" ADD COLUMN more text DEFAULT evil.made()',
    ],
)
async def test_the_table_stays_as_it_was_judged_until_the_rows_are_gone(ground: Ground, meanwhile: str) -> None:
    with ground.attacked(HARMLESS[0], PENDING) as victim:

        async def keep(rows: list[Row]) -> None:
            with psycopg.connect(victim.owner_url, autocommit=True) as owner:
                owner.execute("SET lock_timeout = 1")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    owner.execute(meanwhile.encode())

        async with opened(victim) as database:
            assert len(await remove_rows(database, [FLAG], keep)) == 1
        victim.must_be_untouched()


async def test_a_session_is_not_cut_off_while_its_rows_are_written_down(ground: Ground) -> None:
    """Else the ledger would get the same rows again by each run."""
    settings = "; ".join(
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {name} = %L', current_database(), '200ms'); "
        "EXCEPTION WHEN undefined_object THEN NULL; END $$"
        for name in ("idle_in_transaction_session_timeout", "transaction_timeout")
    )
    with ground.attacked(Attack("cut off", settings), PENDING) as victim:

        async def keep(rows: list[Row]) -> None:
            await anyio.sleep(1)

        async with opened(victim) as database:
            removed = await remove_rows(database, [FLAG], keep)
        assert [row["id"] for row in removed] == [PAIR]


@pytest.mark.slow
async def test_a_trigger_that_is_made_meanwhile_waits_and_meets_nobody_of_ours(ground: Ground) -> None:
    with ground.attacked(HARMLESS[0], PENDING) as victim:
        begun = threading.Event()

        def make_it() -> None:
            with psycopg.connect(victim.owner_url, autocommit=True) as owner:
                begun.set()
                owner.execute(
                    'CREATE TRIGGER t BEFORE DELETE ON core."keyValuePair" FOR EACH ROW EXECUTE FUNCTION evil.fired()'
                )

        attacker = threading.Thread(target=make_it)

        async def keep(rows: list[Row]) -> None:
            attacker.start()
            begun.wait()

        async with opened(victim) as database:
            assert len(await remove_rows(database, [FLAG], keep)) == 1
        attacker.join()
        assert pairs(victim) == []
        victim.must_be_untouched()


async def test_a_schema_that_is_renamed_meanwhile_leads_nowhere_else(ground: Ground) -> None:
    """No lock on a table keeps its schema from being renamed, and another from taking its name."""
    with ground.attacked(HARMLESS[0], PENDING) as victim:

        async def keep(rows: list[Row]) -> None:
            with psycopg.connect(victim.owner_url, autocommit=True) as owner:
                owner.execute(
                    f"""
                    ALTER SCHEMA core RENAME TO core_of_old;
                    CREATE SCHEMA core;
                    GRANT USAGE ON SCHEMA core TO PUBLIC;
                    CREATE TABLE core."keyValuePair" (id uuid);
                    GRANT ALL ON core."keyValuePair" TO PUBLIC;
                    INSERT INTO core."keyValuePair" VALUES ('{PAIR}');
                    CREATE TRIGGER t BEFORE DELETE ON core."keyValuePair" FOR EACH ROW EXECUTE FUNCTION evil.fired()
                    """.encode()
                )

        async with opened(victim) as database:
            assert len(await remove_rows(database, [FLAG], keep)) == 1
        assert pairs(victim) == [PAIR], "the other table is not touched"
        victim.must_be_untouched()


@pytest.mark.slow
async def test_no_view_of_ours_stays_in_a_session_that_others_get(ground: Ground) -> None:
    with ground.attacked(HARMLESS[0], PENDING) as victim:
        async with opened(victim) as database:

            async def keep(rows: list[Row]) -> None:
                """Nothing else is asked of it."""

            await remove_rows(database, [FLAG], keep)
            await restore_rows(database, [ROW])
            left = await database.fetch("SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()")
        assert left == []


# --- rights -------------------------------------------------------------------------------------------------------


async def test_what_may_not_be_locked_is_not_written_to(ground: Ground) -> None:
    with ground.attacked(HARMLESS[0], PENDING) as victim:
        with psycopg.connect(victim.owner_url, autocommit=True) as owner:
            owner.execute("REVOKE UPDATE ON core.workspace FROM provisioning_tenants")
            owner.execute('GRANT UPDATE ("activationStatus") ON core.workspace TO provisioning_tenants')
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="workspace"):
            await activate(victim)
