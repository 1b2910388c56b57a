"""The ledger's rows about people, in a real database."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from alembic import command

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.members import MemberIntent, MemberLink, Members
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres

T = TypeVar("T")
MIGRATED = "members_migrated"
ONE, TWO = "twenty_tenant_one", "twenty_tenant_two"
JANE, JOHN = (str(uuid.UUID(int=number)) for number in (1, 2))


@pytest.fixture
def url(sandbox_postgres: SandboxPostgres) -> str:
    if MIGRATED not in sandbox_postgres.databases():
        schema.migrate(sandbox_postgres.create_database(MIGRATED))
    return sandbox_postgres.create_database(f"members_{uuid.uuid4().hex[:8]}", template=MIGRATED)


def run(url: str, work: Callable[[Members], Awaitable[T]]) -> T:
    async def go() -> T:
        async with Database(
            url, system="The tenant registry", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False
        ) as database:
            await Ledger(database).ensure_links([Tenant(ONE, "one", "One"), Tenant(TWO, "two", "Two")])
            return await work(Members(database))

    return asyncio.run(go())


def link(clerk_user_id: str, account: str, name: str = "Jane") -> MemberLink:
    return MemberLink(clerk_user_id, account, "jane@one.example", name, "Doe")


def test_what_is_stored_twice_is_there_once_with_the_last_name(url: str) -> None:
    async def work(members: Members) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        await members.store("eu", ONE, [link("user_1", JANE)], "r1")
        await members.store("eu", ONE, [link("user_1", JANE, "Janet")], "r2")
        return records(await members.member_links()), records(await members.user_links())

    member_links, user_links = run(url, work)
    assert [(row["clerk_user_id"], row["twenty_user_id"], row["first_name"]) for row in member_links] == [
        ("user_1", JANE, "Janet")
    ]
    assert user_links == [{"server": "eu", "clerk_user_id": "user_1", "twenty_user_id": JANE}]


def test_an_account_that_became_somebody_elses_is_theirs_alone(url: str) -> None:
    async def work(members: Members) -> tuple[list[str], list[str]]:
        await members.store("eu", ONE, [link("user_old", JANE)], "r1")
        await members.store("eu", ONE, [link("user_new", JANE)], "r2")
        return (
            [row["clerk_user_id"] for row in records(await members.member_links())],
            [row["clerk_user_id"] for row in records(await members.user_links())],
        )

    assert run(url, work) == (["user_new"], ["user_new"])


def test_links_are_read_for_named_tenants_and_people_only(url: str) -> None:
    async def work(members: Members) -> tuple[int, int, int, int]:
        await members.store("eu", ONE, [link("user_1", JANE)], "r1")
        await members.store("eu", TWO, [link("user_2", JOHN)], "r1")
        return (
            len(await members.member_links([ONE])),
            len(await members.member_links([])),
            len(await members.user_links(["user_1"])),
            len(await members.user_links([], [JANE, JOHN])),
        )

    assert run(url, work) == (1, 0, 1, 2)


def test_a_dropped_link_is_gone_in_that_tenant_alone(url: str) -> None:
    async def work(members: Members) -> list[str]:
        for name in (ONE, TWO):
            await members.store("eu", name, [link("user_1", JANE)], "r1")
        await members.drop(ONE, ["user_1"])
        return [row["database_name"] for row in records(await members.member_links())]

    assert run(url, work) == [TWO]


def test_a_ledger_of_an_earlier_version_is_refused_in_words_until_it_is_migrated(url: str) -> None:
    async def work(members: Members) -> str:
        await members.database.execute("DROP TABLE provisioning.refusal")
        with pytest.raises(Fault) as caught:
            await members.member_links()
        return caught.value.message

    assert "provisioning migrate" in run(url, work)


def intents(rows: object) -> list[tuple[object, ...]]:
    return [(row["database_name"], row["clerk_user_id"], row["twenty_user_id"], row["email"]) for row in records(rows)]


def test_an_intent_stands_until_its_person_is_linked_dropped_or_given_up(url: str) -> None:
    async def work(members: Members) -> list[list[tuple[object, ...]]]:
        begun = [MemberIntent("user_1", None, "jane@one.example"), MemberIntent("user_2", JOHN, "john@one.example")]
        await members.begin(ONE, begun, "r1")
        await members.begin(ONE, begun[:1], "r2")
        seen = [intents(await members.intents([ONE]))]
        # somebody else has Jane's account by now
        await members.store("eu", ONE, [link("user_3", JANE)], "r3")
        await members.drop(ONE, ["user_2"])
        seen.append(intents(await members.intents()))
        await members.begin(TWO, begun, "r4")
        await members.give_up([(TWO, "user_1"), (ONE, "user_2")])
        return [*seen, intents(await members.intents())]

    first, linked, given_up = run(url, work)
    assert sorted(first) == [(ONE, "user_1", None, "jane@one.example"), (ONE, "user_2", JOHN, "john@one.example")]
    assert linked == []
    assert given_up == [(TWO, "user_2", JOHN, "john@one.example")]


@pytest.mark.slow
def test_an_upgrade_finds_whom_earlier_versions_let_in_and_never_linked(url: str) -> None:
    command.downgrade(schema.alembic_config(url), "0006")
    ids = [str(uuid.UUID(int=number)) for number in range(1, 7)]
    admin, added, linked, dropped, reached, _ = ids

    async def before(members: Members) -> None:
        execute = members.database.execute
        await execute(
            "UPDATE provisioning.tenant_link SET server = 'eu', clerk_org_id = database_name, admin_user_id = %s, "
            "admin_email = 'admin@one.example' WHERE database_name = %s",
            [admin, ONE],
        )
        people = [(admin, "admin"), (added, "added"), (linked, "linked"), (dropped, "dropped"), (reached, "reached")]
        for account, name in people:
            await execute(
                "INSERT INTO provisioning.account_origin VALUES ('eu', %s, %s, %s, true, 'r1')",
                [account, f"{name}@one.example", None if name == "reached" else f"user_{name}"],
            )
        await execute("INSERT INTO provisioning.user_link VALUES ('eu', 'user_reached', %s, DEFAULT, 'r1')", [reached])
        await execute("INSERT INTO provisioning.run (run_id, trigger) VALUES ('r1', 'operator')")
        for name in ("added", "linked", "dropped", "unknown", "reached"):
            await execute(
                "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds) "
                "VALUES ('r1', %s, 'add member', 'done', %s, 1)",
                [ONE, f"{name}@one.example as Member"],
            )
        await execute(
            "INSERT INTO provisioning.member_link (database_name, clerk_user_id, twenty_user_id, email, first_name, "
            "last_name, run_id) VALUES (%s, 'user_linked', %s, 'linked@one.example', '', '', 'r1')",
            [ONE, linked],
        )
        await execute("INSERT INTO provisioning.known_at_clerk VALUES (%s, 'dropped@one.example')", [ONE])

    async def found(members: Members) -> list[tuple[object, ...]]:
        return sorted(intents(await members.intents()))

    run(url, before)
    schema.migrate(url)

    assert run(url, found) == [
        (ONE, "user_added", added, "added@one.example"),
        (ONE, "user_admin", admin, "admin@one.example"),
        (ONE, "user_reached", reached, "reached@one.example"),
    ]
