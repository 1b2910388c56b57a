"""Tenant databases that no Twenty server serves: hand-made workspaces, onboarding rows, and what goes wrong there."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.hand_made import HandMadeWorkspace
from provisioning_pipeline.sandbox.registry import REGISTRY_DATABASE, SeededMember
from provisioning_pipeline_tests.steps.test_provisioning import sign_up
from provisioning_pipeline_tests.world import World

KEYS = (hand_made.CREATE_PROFILE, hand_made.CONNECT_ACCOUNT)
FULL: dict[str, Any] = {"twenty_capacity": 0}
"""No server takes a new tenant: all that it has is its own database."""


@pytest.fixture
def world(shared_world: World) -> World:
    return shared_world


def connect(world: World, database: str) -> psycopg.Connection[tuple[Any, ...]]:
    return world.sandbox.postgres.connect(database)


def old_tenant(world: World, slug: str, members: int = 3, **options: Any) -> tuple[str, HandMadeWorkspace]:
    """A tenant in whose database somebody inserted a workspace with the people whom Clerk has, too."""
    database = world.sandbox.add_tenant(slug, members=members).database_name
    state = world.sandbox.clerk.state
    people = [
        SeededMember(str(user.primary_email), user.first_name or "", user.last_name or "", user.id, member.role)
        for member in state.members_of(world.organization(slug))
        if (user := state.user(member.user_id))
    ]
    with connect(world, database) as connection:
        hand_made.create_core(connection)
        made = hand_made.insert_workspace(connection, slug, f"{slug.title()} of old", people, **options)
        for user in made.users:
            for key in KEYS:
                hand_made.insert_onboarding(connection, key, value=True, user_id=user, workspace_id=made.id)
        hand_made.insert_onboarding(connection, hand_made.INVITE_TEAM, value=True, user_id=None, workspace_id=made.id)
    return database, made


def onboarding_rows(world: World, database: str) -> list[tuple[str, str | None, str | None]]:
    with connect(world, database) as connection:
        return list(
            connection.execute(
                'SELECT key, "userId"::text, "workspaceId"::text FROM core."keyValuePair" ORDER BY 1, 2'
            ).fetchall()
        )


def old_rows(world: World, database: str) -> list[Any]:
    """Everything of the hand-made workspace but its onboarding rows."""
    tables = ("workspace", "user", "userWorkspace", "role")
    with connect(world, database) as connection:
        return [
            connection.execute(
                sql.SQL("SELECT to_jsonb(t) FROM {} t ORDER BY id").format(sql.Identifier("core", table))
            ).fetchall()
            for table in tables
        ]


def told(world: World, slug: str) -> tuple[str, str, str]:
    """Status, reason and message of the condition TenantDatabase."""
    rows = world.registry(
        "SELECT c.status, c.reason, c.message FROM provisioning.condition c JOIN provisioning.tenant_link l "
        "USING (database_name) WHERE l.slug = %s AND c.type = 'TenantDatabase'",
        slug,
    )
    return tuple(rows[0])


# --- hand-made workspaces -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hand_made_workspace_is_explained_and_its_tenant_gets_a_proper_one_under_its_name(world: World) -> None:
    database, made = old_tenant(world, "by-hand")
    before = old_rows(world, database)

    world.apply("by-hand")

    link = world.link("by-hand")
    assert link["workspace_id"] != made.id
    name = world.twenty('SELECT "displayName" FROM core.workspace WHERE id = %s', link["workspace_id"])[0][0]
    assert name == "By-Hand of old"
    status, reason, message = told(world, "by-hand")
    assert (status, reason) == ("True", "HandMadeWorkspace")
    for check in ("no object metadata", "no schema of its own", "people without a member record", made.id):
        assert check in message
    kept = world.registry(
        "SELECT workspace_id::text, failed_checks FROM provisioning.hand_made_workspace WHERE database_name = %s",
        database,
    )
    assert kept == [(made.id, ["no object metadata", "no schema of its own", "people without a member record"])]
    assert world.conditions("by-hand")["Ready"] == ("True", "AllTrue")
    assert old_rows(world, database) == before, "the old rows are left in place"
    assert onboarding_rows(world, database) == []


@pytest.mark.slow
def test_people_of_old_whom_clerk_does_not_know_come_over_once(world: World) -> None:
    database, _ = old_tenant(world, "over")
    add_person(world, database, "old.hand@over.example", "Old", "Hand", "Admin")

    world.apply("over")

    members = world.members("over")
    assert members["old.hand@over.example"] == ("Member", "Old Hand"), "who is admin is Clerk's word"
    assert len(members) == 4
    assert world.sees_as("over", "old.hand@over.example")["status"] == "COMPLETED"
    assert world.sandbox.twenty[0].mails == []
    world.sandbox.reset_counters()
    assert (world.apply("over").summary.actions, world.mutating_calls()) == (0, 0)

    remove_from_workspace(world, "over", "old.hand@over.example")
    world.apply("over")
    assert world.conditions("over")["Ready"] == ("True", "AllTrue"), "nobody is asked to log in who is no member"
    add_person(world, database, "written.later@over.example", "", "", "Member")
    world.apply("over", take_over_members=False)
    assert "written.later@over.example" not in world.members("over")
    world.apply("over")
    assert sorted(set(world.members("over")) & {"written.later@over.example", "old.hand@over.example"}) == [
        "written.later@over.example"
    ], "whoever was removed in Twenty does not come back by old rows"


@pytest.mark.slow
def test_rows_of_many_people_make_no_accounts_until_an_operator_approves_them(world: World) -> None:
    """The owner of one tenant database wrote 125 people there, a banker among them."""
    database, _ = old_tenant(world, "crowd")
    for number in range(12):
        add_person(world, database, f"crowd{number}@crowd.example", "", "", "Admin")
    add_person(world, database, "ceo@bigbank.example", "The", "Banker", "Admin")
    add_person(world, database, "no address@crowd.example", "", "", "Member")
    before = world.twenty('SELECT count(*) FROM core."user"')

    world.apply("crowd")

    # three of Clerk, and our account
    assert len(world.members("crowd")) == 3
    assert world.twenty('SELECT count(*) FROM core."user"')[0][0] - before[0][0] <= 4
    assert world.conditions("crowd")["Ready"] == ("True", "AllTrue"), "their rows make no tenant unwell"
    _, _, message = told(world, "crowd")
    for words in ("ceo@bigbank.example", "PROVISIONING_TAKE_OVER_DOMAINS", "no address@crowd.example", "--approve"):
        assert words in message
    approve = message.partition("--approve ")[2][:12]
    assert any(f"--approve {approve}" in note for note in world.plan("crowd").notes)

    world.apply_approved(approve, "crowd")

    members = world.members("crowd")
    assert len(members) == 3 + 12
    assert {members[f"crowd{number}@crowd.example"][0] for number in range(12)} == {"Member"}
    assert "ceo@bigbank.example" not in members


@pytest.mark.slow
def test_whoever_left_at_clerk_does_not_come_back_by_old_rows(world: World) -> None:
    database, _ = old_tenant(world, "left")
    gone = add_person(world, database, "gone@left.example", "Gone", "Away", "Admin")
    world.sandbox.clerk.add_user(gone, first_name="Gone", last_name="Away")

    world.apply("left")

    assert gone not in world.members("left")


@pytest.mark.slow
def test_a_full_run_takes_nobody_over_whom_clerk_knows_beside_somebody_whom_it_does_not(world: World) -> None:
    database, _ = old_tenant(world, "mixed")
    known = add_person(world, database, "known@mixed.example", "Known", "One", "Member")
    world.sandbox.clerk.add_user(known, first_name="Known", last_name="One")
    unknown = add_person(world, database, "unknown@mixed.example", "Unknown", "One", "Member")

    world.apply()

    assert {known, unknown} & set(world.members("mixed")) == {unknown}


@pytest.mark.slow
def test_whoever_was_deleted_at_clerk_and_removed_does_not_come_back_by_old_rows(world: World) -> None:
    old_tenant(world, "deleted-person")
    world.apply("deleted-person")
    leaver = sorted(set(world.members("deleted-person")) - {world.link("deleted-person")["admin_email"]})[0]
    world.sandbox.clerk.delete_user(world.clerk_user(leaver))
    world.apply("deleted-person", members_gone="remove")
    assert leaver not in world.members("deleted-person")

    world.apply("deleted-person", members_gone="remove")
    world.apply()

    assert leaver not in world.members("deleted-person")


@pytest.mark.slow
def test_a_person_who_cannot_be_taken_over_is_told_and_makes_no_tenant_unwell(world: World) -> None:
    database, _ = old_tenant(world, "flapping")
    email = add_person(world, database, "own.password@flapping.example", "Own", "Password", "Member")
    server = world.sandbox.twenty[0]
    sign_up(server, email, "a-password-of-her-own-1")
    world.apply("flapping")
    assert world.conditions("flapping")["MembersSynced"] == ("True", "AccountUnproven")
    assert world.conditions("flapping")["Ready"] == ("True", "AllTrue"), "any address may stand in these rows"
    assert email not in world.members("flapping")


@pytest.mark.slow
def test_old_people_wait_while_clerk_cannot_say_whether_it_knows_them(world: World) -> None:
    database, _ = old_tenant(world, "patient")
    add_person(world, database, "old.one@patient.example", "Patient", "One", "Member")
    world.sandbox.clerk.faults.scripted = [ScriptedFault("GET /users", "error", times=40)]
    world.apply("patient")
    world.sandbox.clerk.faults.scripted = []
    assert world.twenty('SELECT 1 FROM core."user" WHERE email = %s', "old.one@patient.example") == []
    world.apply("patient")
    assert "old.one@patient.example" in world.members("patient")


@pytest.mark.slow
def test_a_workspace_left_pending_is_offered_and_mended_only_by_policy(world: World) -> None:
    database, made = old_tenant(world, "pending")
    with connect(world, database) as connection:
        make_whole(connection, made)
        connection.execute("UPDATE core.workspace SET \"activationStatus\" = 'PENDING_CREATION'")
    world.apply("pending")
    assert "PROVISIONING_MEND_HAND_MADE" in told(world, "pending")[2]
    assert statuses(world, database) == ["PENDING_CREATION"]

    applied = world.apply("pending", mend_hand_made=True)

    assert statuses(world, database) == ["ACTIVE"]
    assert [line.detail for line in applied.summary.outcomes] == [
        "1 workspaces set from PENDING_CREATION to ACTIVE in the tenant's database"
    ]


def statuses(world: World, database: str) -> list[str]:
    with connect(world, database) as connection:
        return [row[0] for row in connection.execute('SELECT "activationStatus"::text FROM core.workspace').fetchall()]


def make_whole(connection: psycopg.Connection[tuple[Any, ...]], made: HandMadeWorkspace) -> None:
    """Give a hand-made workspace what it lacks."""
    hand_made.create_empty_schema(connection, "workspace_whole")
    connection.execute("UPDATE core.workspace SET \"databaseSchema\" = 'workspace_whole'")
    connection.execute(
        'INSERT INTO core."objectMetadata" ("workspaceId", "nameSingular") VALUES (%s, \'workspaceMember\')', [made.id]
    )
    connection.execute(
        'INSERT INTO workspace_whole."workspaceMember" (id, "userId") SELECT gen_random_uuid(), id FROM core."user"'
    )


def add_person(world: World, database: str, email: str, first: str, last: str, role: str) -> str:
    """One more person of the hand-made workspace, whom nobody told Clerk about."""
    with connect(world, database) as connection:
        user = connection.execute(
            'INSERT INTO core."user" (email, "firstName", "lastName") VALUES (%s, %s, %s) RETURNING id',
            [email, first, last],
        ).fetchone()
        assert user
        member = connection.execute(
            'INSERT INTO core."userWorkspace" ("userId", "workspaceId") SELECT %s, id FROM core.workspace RETURNING id',
            user,
        ).fetchone()
        assert member
        connection.execute(
            'INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId") '
            'SELECT "workspaceId", id, %s FROM core.role WHERE label = %s',
            [member[0], role],
        )
    return email


def remove_from_workspace(world: World, slug: str, email: str) -> None:
    link = world.link(slug)
    world.twenty(
        'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "workspaceId" = %s AND "userId" = '
        '(SELECT id FROM core."user" WHERE email = %s) RETURNING id',
        link["workspace_id"],
        email,
    )
    schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', link["workspace_id"])[0][0]
    world.twenty(f'DELETE FROM "{schema}"."workspaceMember" WHERE "userEmail" = %s RETURNING id', email)


# --- onboarding rows ----------------------------------------------------------------------------------------------


def test_rows_of_our_people_are_removed_where_there_is_no_server_and_strangers_keep_theirs(world: World) -> None:
    database, made = old_tenant(world, "alone")
    stranger = add_person(world, database, "stranger@nowhere.example", "", "", "Member")
    with connect(world, database) as connection:
        row = connection.execute('SELECT id::text FROM core."user" WHERE email = %s', [stranger]).fetchone()
        assert row
        for key in KEYS:
            hand_made.insert_onboarding(connection, key, value=True, user_id=row[0], workspace_id=made.id)

    applied = world.apply("alone", **FULL)

    assert world.link("alone")["workspace_id"] is None
    assert {user for _, user, _ in onboarding_rows(world, database)} == {row[0]}
    assert [line.change for line in applied.summary.outcomes if line.done] == ["remove onboarding rows"]
    world.apply("alone", onboarding_people="everyone", **FULL)
    assert onboarding_rows(world, database) == []


def test_rows_are_only_told_where_the_policy_says_so(world: World) -> None:
    database, _ = old_tenant(world, "told")
    before = onboarding_rows(world, database)

    applied = world.apply("told", tenant_databases="report", **FULL)

    assert onboarding_rows(world, database) == before
    assert applied.summary.actions == 0
    status, reason, message = told(world, "told")
    assert (status, reason) == ("False", "RowsReported")
    assert "PROVISIONING_TENANT_DATABASES=repair" in message


@pytest.mark.slow
def test_the_rows_that_were_removed_are_kept_whole(world: World) -> None:
    database, _ = old_tenant(world, "kept")
    before = onboarding_rows(world, database)
    applied = world.apply("kept", **FULL)
    rows = world.registry(
        "SELECT row->>'key', row->>'userId', row->>'workspaceId', server, status FROM provisioning.removed_row "
        "WHERE run_id = %s ORDER BY 1, 2",
        applied.summary.run_id,
    )
    assert [tuple(row[:3]) for row in rows] == before
    assert {tuple(row[3:]) for row in rows} == {(None, "removed")}


# --- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.fixture
def cutting(world: World) -> Iterator[str]:
    """A tenant whose database loses our connection once the rows are written down and before they are deleted."""
    database, _ = old_tenant(world, "cut")
    schema.migrate(world.sandbox.registry_url)
    with connect(world, REGISTRY_DATABASE) as ledger:
        ledger.execute(
            """
            CREATE FUNCTION provisioning.cut() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = NEW.database_name;
                RETURN NEW;
            END $$
            """
        )
        ledger.execute(
            "CREATE TRIGGER cut AFTER INSERT ON provisioning.removed_row FOR EACH ROW "
            f"WHEN (NEW.database_name = '{database}') EXECUTE FUNCTION provisioning.cut()"
        )
    yield database
    with connect(world, REGISTRY_DATABASE) as ledger:
        ledger.execute("DROP FUNCTION IF EXISTS provisioning.cut CASCADE")


def test_a_connection_cut_in_the_middle_leaves_nothing_half_done_and_the_next_run_heals(
    world: World, cutting: str
) -> None:
    other, _ = old_tenant(world, "beside-the-cut")
    before = onboarding_rows(world, cutting)

    first = world.apply("cut", "beside-the-cut", **FULL)

    assert onboarding_rows(world, cutting) == before
    assert onboarding_rows(world, other) == []
    assert not first.totals.defects
    assert told(world, "cut")[0] != "True"
    written = world.registry("SELECT DISTINCT status FROM provisioning.removed_row WHERE database_name = %s", cutting)
    assert written == [("removing",)], "whether a deletion took place whose connection broke, only a look can tell"
    with connect(world, REGISTRY_DATABASE) as ledger:
        ledger.execute("DROP FUNCTION provisioning.cut CASCADE")
    world.apply("cut", **FULL)
    assert onboarding_rows(world, cutting) == []


@pytest.mark.slow
def test_a_database_dropped_meanwhile_stops_nobody(world: World) -> None:
    dropped, _ = old_tenant(world, "dropped")
    other, _ = old_tenant(world, "beside-the-drop")
    with connect(world, "postgres") as connection:
        connection.autocommit = True
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(dropped)))
        first = world.apply("dropped", "beside-the-drop", **FULL)
        assert world.conditions("dropped")["Detected"] == ("False", "DatabaseClosed")
        assert onboarding_rows(world, other) == []
        assert not first.totals.defects
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(dropped)))
    second = world.apply("dropped", "beside-the-drop", **FULL)
    assert not second.totals.defects
    assert world.conditions("dropped")["Detected"] == ("False", "DatabaseMissing")


@pytest.mark.slow
def test_rows_behind_a_trigger_stay_and_are_told_once_and_their_tenant_is_ready(world: World) -> None:
    database, _ = old_tenant(world, "trapped")
    with connect(world, database) as connection:
        connection.execute(
            "CREATE FUNCTION core.trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''ran''; END'"
        )
        connection.execute(
            'CREATE TRIGGER trap BEFORE DELETE ON core."keyValuePair" FOR EACH ROW EXECUTE FUNCTION core.trap()'
        )
    before = onboarding_rows(world, database)

    applied = world.apply("trapped")

    assert world.conditions("trapped")["Ready"] == ("True", "AllTrue")
    assert told(world, "trapped")[1] == "TenantDatabaseUnsafe"
    assert "has a trigger ('trap')" in told(world, "trapped")[2]
    refused = [line for line in applied.summary.outcomes if line.change == "remove onboarding rows"]
    assert [(line.done, "'trap'" in line.detail) for line in refused] == [(False, True)]
    assert onboarding_rows(world, database) == before


@pytest.mark.slow
def test_a_plan_tells_of_a_superuser_once_and_of_the_documented_role_nothing(world: World) -> None:
    told_of = [
        note for note in world.plan_with(tenant_cluster_url=world.sandbox.postgres.url()).notes if "user" in note
    ]
    assert len(told_of) == 1
    assert "Our user postgres opens tenant databases, whose owners we do not know, and is a superuser" in told_of[0]
    assert [note for note in world.plan().notes if "opens tenant databases" in note] == []


def test_a_lost_right_is_named_and_stops_nobody(world: World) -> None:
    database, _ = old_tenant(world, "forbidden")
    before = onboarding_rows(world, database)
    with connect(world, database) as connection:
        connection.execute("CREATE ROLE looker LOGIN PASSWORD 'looks-only'")
        connection.execute("GRANT USAGE ON SCHEMA core TO looker")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA core TO looker")
    try:
        parts = psycopg.conninfo.conninfo_to_dict(world.sandbox.tenant_cluster_url)
        url = f"postgresql://looker:looks-only@{parts['host']}:{parts['port']}/postgres"
        applied = world.apply("forbidden", tenant_cluster_url=url, **FULL)
        assert told(world, "forbidden")[:2] == ("Unknown", "DatabaseRefused")
        assert "PROVISIONING_TENANT_DATABASES=report" in told(world, "forbidden")[2]
        assert not applied.totals.defects
        assert onboarding_rows(world, database) == before
    finally:
        with connect(world, database) as connection:
            connection.execute("DROP OWNED BY looker")
            connection.execute("DROP ROLE looker")
