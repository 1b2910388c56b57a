"""Member records of all workspaces at once, and what is written to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.twenty import members
from provisioning_pipeline.clients.twenty.database import Role, TwentyDatabase
from provisioning_pipeline.clients.twenty.members import HalfMembers, schema_name
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline_tests.clients.core import NOW, Core

pytestmark = pytest.mark.anyio
READS = "GRANT USAGE ON SCHEMA core TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA core TO {role}"


@asynccontextmanager
async def writing(core: Core, repairs_url: str | None = None) -> AsyncIterator[TwentyDatabase]:
    """The database, with a second connection that may write."""

    def database(url: str, *, read_only: bool) -> Database:
        reason = Reason.SERVER_DATABASE_UNREACHABLE
        return Database(url, system="The database", unreachable=reason, read_only=read_only)

    url = core.postgres.url(core.name)
    async with database(url, read_only=True) as reads, database(repairs_url or url, read_only=False) as repairs:
        yield TwentyDatabase(reads, repairs)


async def test_all_half_members_of_many_workspaces_are_found_by_few_queries(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_SCHEMAS_AT_ONCE", 2)
    people = {name: core.user(f"{name.title()}@x.test") for name in ("whole", "bare", "marked", "plain", "left")}
    removed = core.user("removed@x.test", deleted=True)
    places = [core.workspace(f"place-{number}", *people.values(), removed) for number in range(5)]
    for place in places:
        core.member_table(place)
        core.member(place, people["whole"], "whole@x.test", "Ada", "")
        core.member(place, people["marked"], "marked@x.test", "Mark", "Ed", deleted=True)
        core.member(place, people["plain"], "plain@x.test", "", "")
        core.sql(
            'UPDATE core."userWorkspace" SET "deletedAt" = %s WHERE "workspaceId" = %s AND "userId" = %s',
            *(NOW, place, people["left"]),
        )
    # the mark of one record says nothing about another one of the same person
    core.member(places[0], people["marked"], "again@x.test", "Mark", "Ed")
    async with core.read() as database:
        found = await database.records.half_members(places)
        assert await database.records.half_members([]) == HalfMembers([], 0)
    wanted = {
        (place, people[name], f"{name}@x.test", record)
        for place in places
        for name, record in (("bare", "missing"), ("marked", "deleted"), ("plain", "nameless"))
    } - {(places[0], people["marked"], "marked@x.test", "deleted")}
    assert (set(found.rows), len(found.rows), found.unreadable) == (wanted, len(wanted), 0)


async def test_workspaces_that_are_not_active_and_tables_that_are_not_there_or_odd_are_left_out(core: Core) -> None:
    ada = core.user("ada@x.test")
    pending = core.workspace("pending", ada, status="PENDING_CREATION")
    gone = core.workspace("gone", ada, deleted=True)
    tableless, odd, named = (core.workspace(name, ada) for name in ("tableless", "odd", "named"))
    for place in (pending, gone):
        core.member_table(place)
    core.sql(f'CREATE SCHEMA "{schema_name(odd)}"')
    core.sql(f'CREATE TABLE "{schema_name(odd)}"."workspaceMember" (id uuid PRIMARY KEY, name text)')
    core.sql('UPDATE core.workspace SET "databaseSchema" = %s WHERE id = %s', 'workspace_"odd"', named)
    core.sql('CREATE SCHEMA "workspace_""odd"""')
    core.sql('CREATE TABLE "workspace_""odd"""."workspaceMember" (id uuid PRIMARY KEY, "userId" uuid)')
    async with core.read() as database:
        found = await database.records.half_members([pending, gone, tableless, odd, named, str(uuid4())])
    assert found.rows == [(named, ada, "ada@x.test", "missing")]


async def test_one_schema_that_may_not_be_read_hides_no_other_and_is_counted(core: Core) -> None:
    ada = core.user("ada@x.test")
    closed, open_ = core.workspace("closed", ada), core.workspace("open", ada)
    for place in (closed, open_):
        core.member_table(place)
    schema = schema_name(open_)
    grants = f'{READS}; GRANT USAGE ON SCHEMA "{schema}" TO {{role}}; GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" '
    async with core.reader(grants + "TO {role}") as database:
        found = await database.records.half_members([closed, open_])
    assert found == HalfMembers([(open_, ada, "ada@x.test", "missing")], 1)


async def test_a_record_is_restored_once_and_only_its_own_mark_comes_off(core: Core) -> None:
    ada, bob = core.user("ada@x.test"), core.user("bob@x.test")
    made = core.workspace("acme", ada, bob)
    core.member_table(made)
    core.member(made, ada, "ada@x.test", "Ada", "L", deleted=True)
    core.member(made, bob, "bob@x.test", "Bob", "B", deleted=True)
    async with writing(core) as database:
        record = (await database.records.roster(made)).deleted_of({ada})
        assert record is not None
        assert await database.records.restore(made, record) is True
        assert await database.records.restore(made, record) is False
        assert await database.records.restore(str(uuid4()), record) is False
        roster = await database.records.roster(made)
    entries = {entry.user_id: (entry.workspace_member_id, entry.first_name) for entry in roster.members}
    assert entries == {ada: (record.id, "Ada"), bob: (None, "")}


async def test_a_missing_record_is_made_once(core: Core) -> None:
    ada = core.user("Ada@x.test")
    made = core.workspace("acme", ada)
    core.member_table(made)
    async with writing(core) as database:
        entry = (await database.records.roster(made)).members[0]
        await database.records.insert(made, entry, "Ada", "L")
        await database.records.insert(made, entry, "Ada", "L")
        roster = await database.records.roster(made)
    assert [(kept.user_id, kept.email, kept.first_name) for kept in roster.records] == [(ada, "ada@x.test", "Ada")]


async def test_only_a_membership_without_a_living_record_is_retired_and_counted(core: Core) -> None:
    ada, bob, cy = (core.user(f"{name}@x.test") for name in ("ada", "bob", "cy"))
    made = core.workspace("acme", ada, bob, cy)
    core.member_table(made)
    core.member(made, ada, "ada@x.test")
    core.member(made, bob, "bob@x.test", deleted=True)
    async with writing(core) as database:
        for user in (ada, bob, cy):
            await database.records.retire_membership(made, user)
            await database.records.retire_membership(made, user)
        assert [entry.user_id for entry in (await database.records.roster(made)).members] == [ada]
        assert [await database.records.retired_lately(made, user) for user in (ada, bob, cy)] == [0, 1, 1]
        core.sql('UPDATE core."userWorkspace" SET "createdAt" = now() - interval \'2 days\'')
        assert await database.records.retired_lately(made, bob) == 0


async def test_a_write_that_is_refused_names_person_workspace_and_grant(core: Core) -> None:
    ada = core.user("ada@x.test")
    made = core.workspace("acme", ada)
    core.member_table(made)
    record_id = core.member(made, ada, "ada@x.test", deleted=True)
    schema = schema_name(made)
    core.postgres.execute("postgres", "CREATE ROLE looks_only LOGIN PASSWORD 'c4nary' IN ROLE pg_read_all_data")
    try:
        url = f"postgresql://looks_only:c4nary@127.0.0.1:{core.postgres.port}/{core.name}"
        async with writing(core, url) as database:
            roster = await database.records.roster(made)
            record = roster.deleted_of({ada})
            assert record is not None
            attempts = {
                f'UPDATE ("deletedAt") ON "{schema}"."workspaceMember"': database.records.restore(made, record),
                f'INSERT ON "{schema}"."workspaceMember"': database.records.insert(made, roster.members[0], "", ""),
                'UPDATE ("deletedAt") ON core."userWorkspace"': database.records.retire_membership(made, ada),
            }
            for grant, attempt in attempts.items():
                with pytest.raises(Fault) as raised:
                    await attempt
                assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.HALF_MEMBER)
                assert f"Grant our user {grant}; the next run does." in raised.value.message
                assert ada in raised.value.message
                assert made in raised.value.message
    finally:
        core.postgres.execute("postgres", "DROP ROLE looks_only")
    assert core.sql(f'SELECT id::text FROM "{schema}"."workspaceMember" WHERE "deletedAt" IS NOT NULL') == [
        (record_id,)
    ]


async def test_the_default_role_is_the_workspaces_own(core: Core) -> None:
    ada = core.user("ada@x.test")
    made, other = core.workspace("acme", ada), core.workspace("other")
    core.role(made, "Guest", ada)
    role = str(core.sql("SELECT id::text FROM core.role WHERE label = 'Guest'")[0][0])
    core.sql('UPDATE core.workspace SET "defaultRoleId" = %s WHERE id = %s', role, made)
    async with core.read() as database:
        assert await database.default_role(made) == Role(role, "Guest")
        assert await database.default_role(other) is None
        assert await database.default_role(str(uuid4())) is None


@given(workspace=st.uuids())
@example(workspace=UUID(int=0))
@example(workspace=UUID(int=35))
@example(workspace=UUID(int=36**2))
@example(workspace=UUID(int=2**128 - 1))
def test_a_workspaces_schema_is_named_by_the_id_in_base_36_without_leading_zeros(workspace: UUID) -> None:
    prefix, _, number = schema_name(str(workspace)).partition("_")
    assert prefix == "workspace"
    assert int(number, 36) == workspace.int
    assert number == "0" or not number.startswith("0")
