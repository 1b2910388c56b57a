"""The ledger's rows about logins and about members taken over, in a real database."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.members import MemberLink, Members, Proof, Proofs
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres

T = TypeVar("T")
MIGRATED = "proofs_migrated"
ONE, TWO = "twenty_tenant_one", "twenty_tenant_two"
JANE, JOHN, ADA = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def url(sandbox_postgres: SandboxPostgres) -> str:
    if MIGRATED not in sandbox_postgres.databases():
        schema.migrate(sandbox_postgres.create_database(MIGRATED))
    return sandbox_postgres.create_database(f"proofs_{uuid.uuid4().hex[:8]}", template=MIGRATED)


def run(url: str, work: Callable[[Database], Awaitable[T]], *, tenants: bool = True) -> T:
    async def go() -> T:
        async with Database(
            url, system="The tenant registry", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False
        ) as database:
            if tenants:
                await Ledger(database).ensure_links([Tenant(ONE, "one", "One"), Tenant(TWO, "two", "Two")])
            return await work(database)

    return asyncio.run(go())


def proof(tenant: str, user: str, status: str = "COMPLETED", at: datetime | None = None) -> Proof:
    return Proof(tenant, user, f"{user[-1]}@x.test", status, at)


def test_the_last_proof_of_a_member_is_kept_with_its_time(url: str) -> None:
    async def work(database: Database) -> tuple[list[Proof], list[Proof]]:
        proofs = Proofs(database)
        await proofs.store([proof(ONE, JANE, at=LONG_AGO), proof(TWO, JANE, at=LONG_AGO)], "r1")
        return await proofs.store([proof(ONE, JOHN), proof(ONE, JANE, "PROFILE_CREATION")], "r2"), await proofs.of()

    stored, known = run(url, work)
    assert [(one.twenty_user_id, one.status, one.completed) for one in stored] == [
        (JOHN, "COMPLETED", True),
        (JANE, "PROFILE_CREATION", False),
    ]
    assert all(one.proved_at and one.proved_at > LONG_AGO for one in stored)
    assert [(one.database_name, one.twenty_user_id, one.status) for one in known] == [
        (ONE, JANE, "PROFILE_CREATION"),
        (ONE, JOHN, "COMPLETED"),
        (TWO, JANE, "COMPLETED"),
    ]
    assert known[2].proved_at == LONG_AGO


def test_proofs_are_read_for_named_tenants_only(url: str) -> None:
    async def work(database: Database) -> list[int]:
        proofs = Proofs(database)
        await proofs.store([proof(ONE, JANE), proof(TWO, JOHN)], "r1")
        assert await proofs.store([], "r1") == []
        return [len(await proofs.of(names)) for names in (None, [ONE], [])]

    assert run(url, work) == [2, 1, 0]


def test_without_a_ledger_there_is_no_proof(sandbox_postgres: SandboxPostgres) -> None:
    async def work(database: Database) -> tuple[object, object]:
        return await Proofs(database).of(), await Members(database).taken_over()

    url = sandbox_postgres.create_database(f"proofs_{uuid.uuid4().hex[:8]}")
    assert run(url, work, tenants=False) == ([], [])


def test_whoever_is_no_member_any_more_is_forgotten_and_no_other(url: str) -> None:
    async def work(database: Database) -> tuple[int, list[tuple[str, str]], int]:
        proofs, members = Proofs(database), Members(database)
        await Ledger(database).store_admin(ONE, JANE, "1@x.test")
        await members.store("eu", ONE, [MemberLink("user_john", JOHN, "2@x.test", "", "")], "r1")
        await members.store_taken_over(ONE, ADA, "3@x.test", "r1")
        await proofs.store([proof(tenant, user) for tenant in (ONE, TWO) for user in (JANE, JOHN, ADA)], "r1")
        await members.drop(ONE, ["user_john"])
        named = await proofs.forget_strangers([ONE])
        left = [(one.database_name, one.twenty_user_id) for one in await proofs.of()]
        return named, left, await proofs.forget_strangers()

    named, left, others = run(url, work)
    assert named == 1
    assert left == [(ONE, JANE), (ONE, ADA), (TWO, JANE), (TWO, JOHN), (TWO, ADA)]
    assert others == 3


def test_members_taken_over_are_members_once(url: str) -> None:
    async def work(database: Database) -> tuple[list[tuple[str | None, str, str]], list[tuple[str, str]], int]:
        members = Members(database)
        await members.store("eu", ONE, [MemberLink("user_john", JOHN, "john@x.test", "", "")], "r1")
        for user, email in ((JOHN, "old@x.test"), (ADA, "old@x.test"), (ADA, "ada@x.test")):
            await members.store_taken_over(ONE, user, email, "r1")
        rows = [(row["clerk_user_id"], row["twenty_user_id"], row["email"]) for row in await members.of_tenant(ONE)]
        taken_over = [(row["twenty_user_id"], row["email"]) for row in await members.taken_over([ONE])]
        return rows, taken_over, len(await members.of_tenant(TWO)) + len(await members.taken_over([TWO]))

    rows, taken_over, elsewhere = run(url, work)
    assert rows == [("user_john", JOHN, "john@x.test"), (None, ADA, "ada@x.test")]
    assert taken_over == [(JOHN, "old@x.test"), (ADA, "ada@x.test")]
    assert elsewhere == 0
