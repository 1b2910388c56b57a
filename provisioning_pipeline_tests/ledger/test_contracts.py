"""The ledger's rows about contracts, in a real database."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.servers import Contracts, SeenContract
from provisioning_pipeline.model.contract import Contract, Onboarding
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
ONE, TWO = "twenty_tenant_one", "twenty_tenant_two"
OLD = Contract(frozenset({"query CurrentUser"}), {"user.id": "uuid"}, frozenset({"ACTIVE"}))
NEW = replace(OLD, onboarding=Onboarding(frozenset({"COMPLETED", "IMPORT_DATA"}), frozenset()))


def run(url: str, work: Callable[[Contracts], Awaitable[T]]) -> T:
    return ask_ledger(url, lambda database: work(Contracts(database)))


def test_what_is_seen_again_is_one_row_and_the_last_seen_comes_first(url: str) -> None:
    async def work(contracts: Contracts) -> list[SeenContract]:
        for contract in (OLD, NEW, OLD):
            await contracts.see("eu", contract)
        await contracts.see("us", NEW)
        return await contracts.of("eu")

    seen = run(url, work)
    assert [row.contract for row in seen] == [OLD, NEW]
    assert seen[0].first_seen < seen[1].first_seen < seen[0].checked_at
    assert [(row.proved_at, row.canary, row.tried) for row in seen] == [(None, None, ())] * 2


def test_a_proof_names_its_tenant_and_the_first_one_stays(url: str) -> None:
    async def work(contracts: Contracts) -> tuple[list[SeenContract], list[SeenContract]]:
        await contracts.see("eu", NEW)
        await contracts.store_tried("eu", NEW.fingerprint, {TWO, ONE})
        before = await contracts.of("eu")
        await contracts.prove("eu", NEW.fingerprint, TWO)
        await contracts.prove("eu", NEW.fingerprint, ONE)
        await contracts.store_tried("eu", NEW.fingerprint, {ONE})
        return before, await contracts.of("eu")

    (before,), (after,) = run(url, work)
    assert (before.proved_at, before.canary, before.tried) == (None, None, (ONE, TWO))
    assert after.proved_at is not None
    assert (after.canary, after.tried) == (TWO, ())


def test_without_a_ledger_nothing_is_known(sandbox_postgres: SandboxPostgres) -> None:
    empty = sandbox_postgres.create_database(f"contracts_{uuid.uuid4().hex[:8]}")
    assert run(empty, lambda contracts: contracts.of("eu")) == []
    assert run(empty, lambda contracts: contracts.a_workspace_on("eu", [])) is None


def test_a_workspace_on_a_server_is_a_preferred_one_where_there_is_one(url: str) -> None:
    first, second = (str(uuid.UUID(int=number)) for number in (1, 2))

    async def work(contracts: Contracts) -> list[tuple[str, str] | None]:
        ledger = Ledger(contracts.database)
        await ledger.ensure_links([Tenant(ONE, "one", "One"), Tenant(TWO, "two", "Two")])
        await ledger.adopt_workspace(ONE, "eu", "one", first, "http://one.twenty.test/")
        await ledger.adopt_workspace(TWO, "eu", "two", second, "http://two.twenty.test/")
        return [
            await contracts.a_workspace_on(server, names) for server, names in (("eu", []), ("eu", [TWO]), ("us", []))
        ]

    assert run(url, work) == [(first, "http://one.twenty.test/"), (second, "http://two.twenty.test/"), None]
