"""The ledger's rows about people, in a real database."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from alembic import command

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.members import Accounts, MemberIntent, MemberLink, Members, Proof, Proofs
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.people import Move
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
ONE, TWO = "twenty_tenant_one", "twenty_tenant_two"
JANE, JOHN, ADA = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def with_tenants(url: str, work: Callable[[Database], Awaitable[T]]) -> T:
    async def go(database: Database) -> T:
        await Ledger(database).ensure_links([Tenant(ONE, "one", "One"), Tenant(TWO, "two", "Two")])
        return await work(database)

    return ask_ledger(url, go)


def run(url: str, work: Callable[[Members], Awaitable[T]]) -> T:
    return with_tenants(url, lambda database: work(Members(database)))


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
        await members.database.execute("DROP TABLE provisioning.webhook_delivery")
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


# --- proofs of logins ---------------------------------------------------------------------------------------------


def proof(tenant: str, user: str, status: str = "COMPLETED", at: datetime | None = None) -> Proof:
    return Proof(tenant, user, f"{user[-1]}@x.test", status, at)


def test_the_last_proof_of_a_member_is_kept_with_its_time(url: str) -> None:
    async def work(database: Database) -> tuple[list[Proof], list[Proof]]:
        proofs = Proofs(database)
        await proofs.store([proof(ONE, JANE, at=LONG_AGO), proof(TWO, JANE, at=LONG_AGO)], "r1")
        return await proofs.store([proof(ONE, JOHN), proof(ONE, JANE, "PROFILE_CREATION")], "r2"), await proofs.of()

    stored, known = with_tenants(url, work)
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

    assert with_tenants(url, work) == [2, 1, 0]


def test_without_a_ledger_there_is_no_proof(sandbox_postgres: SandboxPostgres) -> None:
    async def work(database: Database) -> tuple[object, object]:
        return await Proofs(database).of(), await Members(database).taken_over()

    url = sandbox_postgres.create_database(f"proofs_{uuid.uuid4().hex[:8]}")
    assert ask_ledger(url, work) == ([], [])


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

    named, left, others = with_tenants(url, work)
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

    rows, taken_over, elsewhere = with_tenants(url, work)
    assert rows == [("user_john", JOHN, "john@x.test"), (None, ADA, "ada@x.test")]
    assert taken_over == [(JOHN, "old@x.test"), (ADA, "ada@x.test")]
    assert elsewhere == 0


def test_a_change_of_e_mail_is_known_by_account_and_address_until_it_is_given_up(url: str) -> None:
    first, second = (
        Move("new@one.example", "old@one.example", "user_1"),
        Move("newer@one.example", "old@one.example", "u"),
    )

    async def work(database: Database) -> list[dict[tuple[str, str], Move]]:
        accounts = Accounts(database)
        for move in (first, first, second):
            await accounts.begin_move("eu", JANE, move, "r1")
        await accounts.begin_move("us", JANE, second, "r1")
        seen = [await accounts.moves("eu"), await accounts.moves("eu", [JOHN])]
        await accounts.give_up_move("eu", JANE, second.email)
        return [*seen, await accounts.moves("eu", [JANE])]

    assert with_tenants(url, work) == [
        {(JANE, first.email): first, (JANE, second.email): second},
        {},
        {(JANE, first.email): first},
    ]
