"""Reads of a Twenty server's own database."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, LiteralString
from uuid import uuid4

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.twenty.database import MemberState, TwentyDatabase, WorkspaceState
from provisioning_pipeline.clients.twenty.members import Roster, RosterEntry
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import Flag
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.core import NOW, Core, opened
from provisioning_pipeline_tests.planting import planted

pytestmark = pytest.mark.anyio
US, THEM = "provisioner@platform.test", "somebody@else.test"


# --- what a lost answer left behind -------------------------------------------------------------------------------


async def test_only_our_own_young_living_workspace_is_taken_for_one_left_behind(core: Core) -> None:
    ours, theirs = core.user("Provisioner@platform.test"), core.user(THEM)
    pending: dict[str, Any] = {"status": "PENDING_CREATION"}
    mine = core.workspace("mine", ours, theirs, **pending)
    core.workspace("joined-later", theirs, ours, **pending)
    core.workspace("not-ours", theirs, **pending)
    core.workspace("nobodys", **pending)
    core.workspace("deleted", ours, deleted=True, **pending)
    core.workspace("old", ours, age=timedelta(minutes=2), **pending)
    core.workspace("somebody-activated-it", ours)
    found = {}
    async with core.read() as database:
        for (subdomain,) in core.sql("SELECT subdomain FROM core.workspace"):
            found[subdomain] = await database.workspace_left_behind(subdomain, US.upper(), NOW)
        assert await database.workspace_left_behind("never-made", US, NOW) is None
    assert {subdomain: id_ for subdomain, id_ in found.items() if id_} == {"mine": mine}


async def test_a_workspace_made_before_the_intent_is_somebody_elses_story(core: Core) -> None:
    core.workspace("acme", core.user(US), status="PENDING_CREATION")
    async with core.read() as database:
        assert await database.workspace_left_behind("acme", US, NOW + timedelta(minutes=1)) is None
        assert await database.workspace_left_behind("acme", US, NOW - timedelta(minutes=1)) is not None


async def test_the_clock_is_the_databases_own(core: Core) -> None:
    async with core.read() as database:
        before = core.sql("SELECT clock_timestamp()")[0][0]
        assert before <= await database.now() <= core.sql("SELECT clock_timestamp()")[0][0]


async def test_places_count_what_is_there_and_what_is_on_its_way(core: Core) -> None:
    core.workspace("there")
    core.workspace("gone", deleted=True)
    async with core.read() as database:
        assert await database.places_taken([]) == 1
        assert await database.places_taken(["there"]) == 1
        assert await database.places_taken(["there", "coming", "coming-too"]) == 3


# --- bulk reads ---------------------------------------------------------------------------------------------------


async def test_workspaces_are_read_all_or_by_id(core: Core) -> None:
    whole, bare = core.workspace("whole"), core.workspace("bare", whole=False)
    gone = core.workspace("gone", deleted=True)
    async with core.read() as database:
        everything = {row["workspace_id"]: row for row in await database.workspaces()}
        some = await database.workspaces([bare, str(uuid4())])
        assert await database.workspaces([]) == []
        assert await database.workspace_count() == 2
    assert set(everything) == {whole, bare, gone}
    assert [everything[each]["has_metadata"] for each in (whole, bare, gone)] == [True, False, True]
    assert [everything[each]["deleted"] for each in (whole, bare, gone)] == [False, False, True]
    assert some == [
        {
            "workspace_id": bare,
            "subdomain": "bare",
            "activation_status": "ACTIVE",
            "deleted": False,
            "has_metadata": False,
            "created_at": None,
            "free_at": None,
            "free_in": None,
        }
    ]


async def test_onboarding_rows_are_those_of_the_workspaces_asked_for_and_those_of_no_workspace(core: Core) -> None:
    user = core.user(US)
    one, two = core.workspace("one", user), core.workspace("two")
    core.flag("ONBOARDING_A_PENDING", user, one)
    core.flag("ONBOARDING_A_PENDING", None, two, "false")
    core.flag("ONBOARDING_A_PENDING", user, None, '"true"')
    core.flag("ONBOARDING_A_DONE", user, one)
    core.flag("ONBOARDING_B_PENDING", user, one, type_="FEATURE_FLAG")
    core.sql('UPDATE core."keyValuePair" SET "deletedAt" = now() WHERE "workspaceId" = %s', two)

    def shape(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
        return {(row["key"], row["user_id"], row["workspace_id"], row["value"]) for row in rows}

    stranger = core.user("stranger@elsewhere.test")
    core.flag("ONBOARDING_A_PENDING", stranger, None)
    wide = ("ONBOARDING_A_PENDING", user, None, "true")
    async with core.read() as database:
        everything, of_one = await database.onboarding_rows(), await database.onboarding_rows([one])
        flags = await database.flags(one)
    mine = ("ONBOARDING_A_PENDING", user, one, True)
    theirs = ("ONBOARDING_A_PENDING", stranger, None, True)
    assert shape(everything) == {mine, ("ONBOARDING_A_PENDING", None, two, False), wide, theirs}
    assert shape(of_one) == {mine, wide}
    assert {replace(flag, row_id=None) for flag in flags} == {Flag(*mine), Flag(*wide)}
    assert all(flag.row_id for flag in flags)


async def test_a_workspace_is_told_or_is_not_there(core: Core) -> None:
    made = core.workspace("acme", deleted=True)
    async with core.read() as database:
        state = await database.workspace_state(made)
        assert await database.workspace_state(str(uuid4())) is None
    assert state == WorkspaceState("acme", "ACTIVE", deleted=True)


# --- people -------------------------------------------------------------------------------------------------------


async def test_accounts_are_found_by_address_in_any_case_and_deleted_ones_are_not(core: Core) -> None:
    async with core.read() as database:
        assert await database.has_any_user() is False
        admin = core.user(US, admin=True)
        core.user("gone@x.test", admin=True, deleted=True)
        core.user(THEM)
        assert await database.has_any_user() is True
        assert await database.user_ids("PROVISIONER@platform.test") == [admin]
        assert await database.user_ids("gone@x.test") == []
        found = {email: await database.is_server_admin(email) for email in (US.title(), THEM, "gone@x.test", "no@x")}
    assert found == {US.title(): True, THEM: False, "gone@x.test": False, "no@x": False}


async def test_a_membership_carries_the_role_of_its_own_workspace(core: Core) -> None:
    user = core.user(US)
    one, two, left = core.workspace("one", user), core.workspace("two", user), core.workspace("left", user)
    core.sql('UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "workspaceId" = %s', left)
    role = core.sql("INSERT INTO core.role (label, \"workspaceId\") VALUES ('Admin', %s) RETURNING id", one)[0][0]
    core.sql(
        'INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId")'
        ' SELECT %s, %s, id FROM core."userWorkspace" WHERE "workspaceId" IN (%s, %s)',
        one,
        role,
        one,
        two,
    )
    async with core.read() as database:
        assert await database.member_state(one, US.upper()) == MemberState(user, "Admin")
        assert await database.member_state(two, US) == MemberState(user, None)
        assert await database.member_state(left, US) is None
        assert await database.member_state(one, THEM) is None


async def test_every_membership_comes_once_with_the_role_of_its_own_workspace(core: Core) -> None:
    ada, bob, gone = core.user("Ada@x.test"), core.user("bob@x.test"), core.user("gone@x.test", deleted=True)
    one, two = core.workspace("one", ada, bob, gone), core.workspace("two", ada, bob)
    core.sql('UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "userId" = %s AND "workspaceId" = %s', bob, two)
    core.role(one, "Admin", ada, all_settings=True)
    core.role(one, "Aardvark", ada)
    core.role(one, "Member", bob)
    core.role(two, "Guest", bob)
    core.role(two, "Foreign", ada, of=one)
    async with core.read() as database:
        everything, of_two = await database.members(), await database.members([two, str(uuid4())])
        assert await database.members([]) == []
    assert sorted(everything) == sorted([(one, ada, "Admin"), (one, bob, "Member"), (two, ada, None)])
    assert of_two == [(two, ada, None)]


async def test_accounts_are_read_all_or_by_e_mail_in_any_case_or_by_id(core: Core) -> None:
    ada, bob, old = core.user("ada@x.test"), core.user("Bob@X.test"), core.user("cy@x.test")
    core.user("ada@y.test", deleted=True)
    async with core.read() as database:
        everything = await database.users()
        assert await database.users([" ADA@x.test", "ada@y.test", "no@x.test"]) == [(ada, "ada@x.test")]
        assert await database.users(["bob@x.test"]) == [(bob, "bob@x.test")]
        assert sorted(await database.users(["bob@x.test"], [old, bob, str(uuid4())])) == sorted(
            [(bob, "bob@x.test"), (old, "cy@x.test")]
        )
        assert await database.users([]) == []
    assert sorted(everything) == sorted([(ada, "ada@x.test"), (bob, "bob@x.test"), (old, "cy@x.test")])


async def test_a_roster_tells_whole_members_and_both_kinds_of_half_ones(core: Core) -> None:
    whole, bare, left, gone = (core.user(f"{name}@x.test") for name in ("Whole", "bare", "left", "gone"))
    made = core.workspace("acme", whole, bare, gone)
    core.role(made, "Admin", whole)
    core.sql('UPDATE core."user" SET "deletedAt" = now() WHERE id = %s', gone)
    core.member_table(made)
    record = core.member(made, whole, "Whole@x.test", "Ada", "Lovelace")
    deleted = core.member(made, bare, "bare@x.test", deleted=True)
    others = {core.member(made, left, "Left@x.test"): left, core.member(made, gone, "gone@x.test"): gone}
    async with core.read() as database:
        roster = await database.records.roster(made)
        assert await database.records.roster(str(uuid4())) == Roster((), ())
    assert set(roster.members) == {
        RosterEntry(whole, "whole@x.test", "Admin", record, "Ada", "Lovelace"),
        RosterEntry(bare, "bare@x.test", None, None, "", ""),
    }
    assert {kept.id: kept.user_id for kept in roster.records} == others | {record: whole, deleted: bare}
    assert [kept.id for kept in roster.records if kept.deleted] == [deleted] == [roster.records[-1].id]
    assert roster.deleted_of({bare}) == roster.records[-1]
    assert [roster.deleted_of(people) for people in ({whole}, {left}, {whole, bare}, set())] == [None] * 4
    ways = [roster.in_the_way(" LEFT@x.test", accounts) for accounts in ({whole}, {left}, set())]
    assert [way.user_id if way else None for way in ways] == [left, None, left]
    assert roster.in_the_way("bare@x.test", {whole}) == roster.records[-1]
    found = [roster.of(whole, "bare@x.test"), roster.of(None, " BARE@x.test"), roster.of(left, "whole@x.test")]
    assert [entry.user_id if entry else None for entry in found] == [whole, bare, None]


async def test_a_roster_is_read_from_whatever_schema_there_is(core: Core) -> None:
    """Twenty's own name where none is stored, a hand-made table with fewer columns, and none at all."""
    ada = core.user("ada@x.test")
    named, unnamed, nowhere = (core.workspace(name, ada) for name in ("named", "unnamed", "nowhere"))
    core.sql('UPDATE core.workspace SET "databaseSchema" = %s WHERE id = %s', 'workspace_"odd"', named)
    core.sql('CREATE SCHEMA "workspace_""odd"""')
    core.sql('CREATE TABLE "workspace_""odd"""."workspaceMember" (id uuid PRIMARY KEY, "userId" uuid)')
    record = str(uuid4())
    core.sql('INSERT INTO "workspace_""odd"""."workspaceMember" VALUES (%s, %s)', record, ada)
    core.member_table(unnamed)
    other = core.member(unnamed, ada, "ada@x.test")
    async with core.read() as database:
        rosters = [await database.records.roster(each) for each in (named, unnamed, nowhere)]
    entries = [entry for roster in rosters for entry in roster.members]
    assert [entry.workspace_member_id for entry in entries] == [record, other, None]
    assert [[kept.id for kept in roster.records] for roster in rosters] == [[record], [other], []]


async def test_a_schema_that_may_not_be_read_is_no_empty_roster(core: Core) -> None:
    made = core.workspace("acme", core.user("ada@x.test"))
    core.member_table(made)
    grants = "GRANT USAGE ON SCHEMA core TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA core TO {role}"
    async with core.reader(grants) as database:
        assert len(await database.members([made])) == 1
        with pytest.raises(Fault, match="on those of the workspaces") as raised:
            await database.records.roster(made)
    assert raised.value.reason is Reason.SERVER_DATABASE_UNREACHABLE


async def test_an_invitation_counts_while_it_is_good(core: Core) -> None:
    one, two = core.workspace("one"), core.workspace("two")
    rows = [
        (one, "ada@x.test", "INVITATION_TOKEN", NOW + timedelta(days=1)),
        (one, "bob@x.test", "ONBOARDING_INVITATION_TOKEN", NOW + timedelta(days=1)),
        (one, "old@x.test", "INVITATION_TOKEN", NOW - timedelta(days=1)),
        (one, "other@x.test", "PASSWORD_RESET_TOKEN", NOW + timedelta(days=1)),
    ]
    for workspace, email, type_, end in rows:
        core.sql(
            'INSERT INTO core."appToken" ("workspaceId", context, type, "expiresAt")'
            " VALUES (%s, jsonb_build_object('email', %s::text), %s, %s)",
            workspace,
            email,
            type_,
            end,
        )
    async with core.read() as database:
        found = {email: await database.has_invitation(one, email) for _, email, _, _ in rows}
        assert await database.has_invitation(one, " ADA@x.test")
        assert not await database.has_invitation(two, "ada@x.test")
        listed = [(row["workspace_id"], row["email"], row["role"]) for row in await database.invitations()]
        assert await database.invitations([two]) == []
    assert found == {"ada@x.test": True, "bob@x.test": True, "old@x.test": False, "other@x.test": False}
    assert sorted(listed) == [(one, "ada@x.test", None), (one, "bob@x.test", None)]


# --- what is no Twenty database -----------------------------------------------------------------------------------


async def test_a_database_that_is_not_twentys_is_told_so(sandbox_postgres: SandboxPostgres) -> None:
    async with opened(sandbox_postgres.url()) as database:
        with pytest.raises(Fault, match="not the database of a known Twenty") as raised:
            await database.workspaces()
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.UNSUPPORTED_TWENTY)


async def test_missing_rights_are_told_with_what_to_grant(core: Core) -> None:
    async with core.reader() as database:
        with pytest.raises(Fault, match="Grant our user USAGE") as raised:
            await database.workspaces()
    assert raised.value.reason is Reason.SERVER_DATABASE_UNREACHABLE
    assert "c4nary" not in raised.value.message


async def test_rows_that_are_hidden_from_us_make_no_empty_server(core: Core) -> None:
    core.sql(
        "GRANT USAGE ON SCHEMA core TO PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA core TO PUBLIC;"
        'ALTER TABLE core."userWorkspace" ENABLE ROW LEVEL SECURITY'
    )
    async with core.reader() as database:
        with pytest.raises(Fault, match=r'hides rows of core\."userWorkspace" from our user') as raised:
            await database.workspace_count()
    assert raised.value.reason is Reason.SERVER_DATABASE_UNREACHABLE


async def test_our_accounts_standing_is_read_with_its_roles_and_its_invitations(core: Core) -> None:
    us = core.user(US)
    managed, lowered, bare, invited = (core.workspace(name) for name in ("managed", "lowered", "bare", "invited"))
    for workspace, label, manages in ((managed, "Admin", True), (lowered, "Member", False), (bare, None, False)):
        core.sql('INSERT INTO core."userWorkspace" ("userId", "workspaceId") VALUES (%s, %s)', us, workspace)
        if label:
            core.sql(
                'WITH r AS (INSERT INTO core.role (label, "workspaceId", "canUpdateAllSettings") VALUES (%s, %s, %s)'
                ' RETURNING id) INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId")'
                ' SELECT %s, r.id, uw.id FROM r, core."userWorkspace" uw WHERE uw."workspaceId" = %s',
                *(label, workspace, manages, workspace, workspace),
            )
    for workspace, email, until in (
        (invited, US.title(), NOW + timedelta(days=1)),
        (bare, "else@x.test", NOW + timedelta(days=1)),
        (lowered, US, NOW - timedelta(days=1)),
    ):
        core.sql(
            'INSERT INTO core."appToken" (value, type, "workspaceId", context, "expiresAt")'
            " VALUES (gen_random_uuid()::text, 'INVITATION_TOKEN', %s, jsonb_build_object('email', %s::text), %s)",
            *(workspace, email, until),
        )
    async with core.read() as database:
        rows = {row.pop("workspace_id"): row for row in await database.service_access([us], US)}
        some = await database.service_access([us], US, [invited])
        nobody = await database.service_access([], US)
    assert rows == {
        managed: {"member": True, "manages": True, "role": "Admin", "invited": False, "kept_out": None},
        lowered: {"member": True, "manages": False, "role": "Member", "invited": False, "kept_out": None},
        bare: {"member": True, "manages": False, "role": None, "invited": False, "kept_out": None},
        invited: {"member": False, "manages": False, "role": None, "invited": True, "kept_out": None},
    }
    assert [row["workspace_id"] for row in some] == [row["workspace_id"] for row in nobody] == [invited]


async def test_an_account_is_lost_only_when_every_one_with_its_e_mail_is_deleted(core: Core) -> None:
    async with core.read() as database:
        assert not await database.was_deleted(US)
        core.user(US, deleted=True)
        assert await database.was_deleted(US.upper())
        core.user(US)
        assert not await database.was_deleted(US)


async def test_memberships_of_a_workspace_that_was_deleted_by_sql_are_found_and_ended(core: Core) -> None:
    us, ada, gone = core.user(US), core.user("ada@x.test"), core.user("gone@x.test", deleted=True)
    standing, deleted = core.workspace("standing", us, ada), core.workspace("deleted", us, ada, gone, deleted=True)
    core.workspace("foreign", ada, deleted=True)
    core.workspace("proper", deleted=True)
    url = core.postgres.url(core.name)
    repairs = Database(url, system="x", unreachable=Reason.SERVER_DATABASE_UNREACHABLE, read_only=False)
    async with core.read() as database, repairs:
        found = {row["subdomain"]: (row["members"], row["service"]) for row in await database.deleted_in_use([us])}
        assert found == {"deleted": (2, True), "foreign": (1, False)}
        mending = TwentyDatabase(database._database, repairs)
        assert await mending.retire_memberships(standing) == 0
        assert await mending.retire_memberships(deleted) == 3
        assert await mending.retire_memberships(deleted) == 0
        assert {row["subdomain"] for row in await database.deleted_in_use([us])} == {"foreign"}
        assert len(await database.members([standing])) == 2


async def test_without_the_right_to_end_memberships_the_grant_is_named(core: Core) -> None:
    deleted = core.workspace("deleted", core.user(US), deleted=True)
    grants = "GRANT USAGE ON SCHEMA core TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA core TO {role}"
    async with core.reader(grants) as database:
        url = database._database._url
        repairs = Database(url, system="x", unreachable=Reason.SERVER_DATABASE_UNREACHABLE, read_only=False)
        async with repairs:
            with pytest.raises(Fault, match=r'Grant our user UPDATE on core."userWorkspace"') as raised:
                await TwentyDatabase(database._database, repairs).retire_memberships(deleted)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.DELETED_WORKSPACE_IN_USE)


async def test_an_activation_that_never_ended_is_told_with_the_time_at_which_twenty_takes_it_again(core: Core) -> None:
    made = core.workspace("begun", status="ONGOING_CREATION")
    core.sql("UPDATE core.workspace SET \"updatedAt\" = now() - interval '4 minutes' WHERE id = %s RETURNING 1", made)
    old = core.workspace("old", status="ONGOING_CREATION")
    core.sql("UPDATE core.workspace SET \"updatedAt\" = now() - interval '1 hour' WHERE id = %s RETURNING 1", old)
    async with core.read() as database:
        rows = {row["subdomain"]: row for row in await database.workspaces()}
        states = [await database.workspace_state(each) for each in (made, old)]
    assert 50 < rows["begun"]["free_in"] <= 65
    assert rows["begun"]["free_at"] > NOW
    assert rows["old"]["free_in"] < 0
    waits = [state.free_in for state in states if state]
    assert waits[0]
    assert waits[1] == 0


@pytest.mark.parametrize("at", ["infinity", "-infinity", "15000-01-01", "2100-01-01"])
async def test_one_workspace_of_an_odd_time_keeps_none_of_the_others_from_being_read(core: Core, at: str) -> None:
    odd = core.workspace("odd", status="ONGOING_CREATION")
    core.workspace("other", status="PENDING_CREATION")
    core.sql('UPDATE core.workspace SET "createdAt" = %s, "updatedAt" = %s WHERE id = %s RETURNING 1', at, at, odd)
    async with core.read() as database:
        rows = {row["subdomain"]: row for row in await database.workspaces()}
        state = await database.workspace_state(odd)
    assert {"odd", "other"} <= rows.keys()
    assert rows["odd"]["free_in"] <= 310
    assert state
    assert 0 <= (state.free_in or 0) <= 310


async def test_odd_values_of_one_row_hide_no_other(core: Core) -> None:
    ada = core.user("ada@x.test")
    long = core.user("b" * 50_000 + "@x.test")
    here = core.workspace("here", ada, long)
    odd = core.workspace("odd", ada)
    for number, value in enumerate(["1e5000", "9" * 5000, "[" * 1500 + "]" * 1500, '{"a": "' + "x" * 1_000_000 + '"}']):
        core.flag(f"ONBOARDING_{number}_PENDING", ada, here, value)
    core.flag("ONBOARDING_" + "X" * 50_000 + "_PENDING", None, here)
    core.flag("ONBOARDING_PLAIN_PENDING", ada, here)
    core.member_table(here)
    core.sql('UPDATE core.workspace SET "databaseSchema" = %s WHERE id = %s', "odd%s%", odd)
    core.sql('CREATE SCHEMA "odd%s%"; CREATE TABLE "odd%s%"."workspaceMember" (id uuid, "userId" uuid)')
    async with core.read() as database:
        flags = await database.flags(here)
        half = await database.records.half_members([here, odd])
        roster = await database.records.roster(odd)
        users = await database.users()

    assert {flag.key for flag in flags if flag.value is True and len(flag.key) < 100} == {"ONBOARDING_PLAIN_PENDING"}
    assert all(len(flag.key) <= 200 for flag in flags)
    assert {user for workspace, user, _, _ in half.rows if workspace == here} == {ada, long}
    assert [entry.workspace_member_id for entry in roster.members] == [None]
    assert max(len(email) for _, email in users) == 400


async def test_what_others_plant_in_its_database_never_runs(core: Core) -> None:
    ada = core.user("Ada@x.test")
    here = core.workspace("here", ada)
    core.flag("ONBOARDING_A_PENDING", ada, here)
    core.member_table(here)
    types: list[LiteralString] = ["text", "varchar"]
    for type_ in types:
        core.sql(f"CREATE SCHEMA ahead_{type_}; GRANT USAGE ON SCHEMA ahead_{type_} TO PUBLIC")
        core.sql(planted(f"ahead_{type_}", type_))
    core.sql(f"ALTER DATABASE {core.name} SET search_path = ahead_varchar, ahead_text, pg_catalog, public")
    reads = """
        GRANT USAGE ON SCHEMA core TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA core TO {role};
        GRANT pg_read_all_data TO {role}
    """
    async with core.reader(reads) as database:
        assert await database.user_ids("ada@x.test") == [ada]
        assert await database.users() == [(ada, "ada@x.test")]
        assert await database.users(["ada@x.test"]) == [(ada, "ada@x.test")]
        assert [row["workspace_id"] for row in await database.workspaces()] == [here]
        assert [member[:2] for member in await database.members()] == [(here, ada)]
        assert len(await database.flags(here)) == 1
        assert await database.workspace_count() == 1
        assert (await database.records.half_members([here])).rows == [(here, ada, "ada@x.test", "missing")]
        await database.records.roster(here)
        await database.service_access([ada], "ada@x.test")
        await database.invitations()

    assert core.sql("SELECT what FROM ahead_text.ran UNION ALL SELECT what FROM ahead_varchar.ran") == []
