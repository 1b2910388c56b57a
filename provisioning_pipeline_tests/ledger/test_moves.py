"""A tenant's name in the ledger follows its registry row, with everything that goes by it."""

import uuid
from typing import Any

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.moves import move_tenant, store_registry_ids
from provisioning_pipeline.model.condition import ConditionType, Reason, is_true
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

ACME, BETA = Tenant("twenty_tenant_acme_1", "acme", "Acme"), Tenant("twenty_tenant_beta_2", "beta", "Beta")
NEW = "twenty_tenant_acme_9"
WORKSPACE, PERSON = str(uuid.uuid4()), str(uuid.uuid4())


async def with_a_workspace(database: Database) -> Ledger:
    ledger = Ledger(database)
    await ledger.ensure_links([ACME, BETA])
    await ledger.adopt_workspace(ACME.database_name, "eu", "acme", WORKSPACE, "http://acme.localhost/")
    ready = is_true(ConditionType.WORKSPACE_READY, Reason.WORKSPACE_ACTIVE, "It is.")
    await ledger.store_conditions({ACME.database_name: [ready]}, run_id="r1", waits=None)
    await database.execute(
        "INSERT INTO provisioning.member_link (database_name, clerk_user_id, twenty_user_id, email, first_name, "
        "last_name, run_id) VALUES (%s, 'user_1', %s, 'ada@acme.test', 'Ada', '', 'r1')",
        [ACME.database_name, PERSON],
    )
    await store_registry_ids(database, {ACME.database_name: "1", BETA.database_name: "2"})
    return ledger


async def links_of(database: Database) -> dict[str, tuple[Any, ...]]:
    rows = await database.fetch_tuples(
        "SELECT database_name, workspace_id::text, registry_id, left_for FROM provisioning.tenant_link"
    )
    return {row[0]: tuple(row[1:]) for row in rows}


async def tables_with(database: Database, name: str) -> set[str]:
    """The tables of the ledger that have a row of this tenant."""
    tables = await database.fetch_tuples(
        "SELECT table_name FROM information_schema.columns c JOIN information_schema.tables t USING "
        "(table_schema, table_name) WHERE table_schema = 'provisioning' AND column_name = 'database_name'"
    )
    found = set()
    for (table,) in tables:
        rows = await database.fetch_tuples(
            f"SELECT 1 FROM provisioning.{table} WHERE database_name = %s",
            [name],
        )
        found |= {str(table)} if rows else set()
    return found


@pytest.mark.parametrize("seen_before", [False, True])
def test_everything_goes_by_the_new_name_and_the_old_one_says_for_which(url: str, seen_before: bool) -> None:
    async def work(database: Database) -> None:
        ledger = await with_a_workspace(database)
        before = await tables_with(database, ACME.database_name)
        if seen_before:
            await ledger.ensure_links([Tenant(NEW, "acme-9", "Acme")])
            found = is_true(ConditionType.DETECTED, Reason.DATABASE_PRESENT, "It is.")
            await ledger.store_conditions({NEW: [found]}, run_id="r1", waits=None)
        await move_tenant(database, ACME.database_name, NEW)
        assert await links_of(database) == {
            NEW: (WORKSPACE, "1", None),
            ACME.database_name: (None, None, NEW),
            BETA.database_name: (None, "2", None),
        }
        assert await tables_with(database, NEW) >= before
        # and back again
        await move_tenant(database, NEW, ACME.database_name)
        assert (await links_of(database))[ACME.database_name] == (WORKSPACE, "1", None)
        assert (await links_of(database))[NEW] == (None, None, ACME.database_name)

    ask_ledger(url, work)


def test_a_name_that_is_another_tenants_is_not_taken(url: str) -> None:
    async def work(database: Database) -> None:
        await with_a_workspace(database)
        before = await links_of(database)
        for old, new in ((ACME.database_name, BETA.database_name), ("unknown", NEW)):
            with pytest.raises(Fault, match="has learnt of"):
                await move_tenant(database, old, new)
        assert await links_of(database) == before

    ask_ledger(url, work)


def test_an_id_is_one_tenants_and_a_row_makes_a_name_a_tenants_again(url: str) -> None:
    async def work(database: Database) -> None:
        await with_a_workspace(database)
        await store_registry_ids(database, {ACME.database_name: "2", BETA.database_name: "1"})
        await store_registry_ids(database, {BETA.database_name: "2"})
        assert {name: link[1] for name, link in (await links_of(database)).items()} == {
            ACME.database_name: None,
            BETA.database_name: "2",
        }
        await move_tenant(database, ACME.database_name, NEW)
        await store_registry_ids(database, {ACME.database_name: "7"})
        assert (await links_of(database))[ACME.database_name] == (None, "7", None)

    ask_ledger(url, work)


def test_every_key_to_a_tenant_follows_its_name(url: str) -> None:
    async def work(database: Database) -> list[str]:
        rows = await database.fetch_tuples(
            "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confupdtype <> 'c' "
            "AND confrelid = 'provisioning.tenant_link'::regclass"
        )
        return [name for (name,) in rows]

    assert ask_ledger(url, work) == []
