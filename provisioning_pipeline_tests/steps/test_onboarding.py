"""Onboarding: whatever rows stand wherever, nobody of ours sees the wizard, and nobody else's rows are touched.

Every case has its twin: a hand-written `DELETE … WHERE "userId" = …` in its place leaves a wizard, or takes a row that
was not in the way, such as her own step in a workspace that is nobody's here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.sandbox.twenty import StandInTwenty
from provisioning_pipeline_tests.world import World, real_login

OWN, USER, WORKSPACE, ELSEWHERE = "own", "user", "workspace", "elsewhere"
INVITE_TEAM = "ONBOARDING_INVITE_TEAM_PENDING"
PROFILE = "ONBOARDING_CREATE_PROFILE_PENDING"
EMAIL = "ONBOARDING_CONNECT_ACCOUNT_PENDING"
APPS = "ONBOARDING_INSTALL_APPS_PENDING"
UNKNOWN = "ONBOARDING_IMPORT_DATA_PENDING"


@dataclass(frozen=True)
class Row:
    """An onboarding row of the person (or of the workspace) that a case is about."""

    key: str
    level: str
    value: Any = True
    type: str = "USER_VARIABLE"
    deleted: bool = False


THEIRS = Row(PROFILE, ELSEWHERE)
"""Her own step in a workspace that is not ours: there in every case, and never in the way."""


@dataclass(frozen=True)
class Case:
    """Rows that are there, which of them must stay, and whether Twenty shows the wizard because of them."""

    name: str
    rows: tuple[Row, ...]
    stay: tuple[Row, ...] = ()
    shows: bool = True


CASES = [
    Case("her own steps", (Row(PROFILE, OWN), Row(EMAIL, OWN), Row(APPS, OWN))),
    Case("a row of hers for all workspaces", (Row(EMAIL, USER),)),
    Case("a row of the whole workspace", (Row(PROFILE, WORKSPACE),)),
    Case("the team step, which is nobody's own", (Row(INVITE_TEAM, WORKSPACE),)),
    Case("all levels at once", (Row(PROFILE, OWN), Row(PROFILE, USER), Row(PROFILE, WORKSPACE))),
    Case("a key that no version has yet", (Row(UNKNOWN, OWN), Row(UNKNOWN, WORKSPACE)), shows=False),
    Case(
        "a false hides what is wider",
        (Row(EMAIL, OWN, value=False), Row(EMAIL, USER)),
        (Row(EMAIL, OWN, False), Row(EMAIL, USER)),
        shows=False,
    ),
    Case(
        "a true above a false", (Row(EMAIL, USER), Row(EMAIL, WORKSPACE, value=False)), (Row(EMAIL, WORKSPACE, False),)
    ),
    Case("false", (Row(PROFILE, OWN, value=False), Row(INVITE_TEAM, WORKSPACE)), (Row(PROFILE, OWN, False),)),
    Case("the text true", (Row(PROFILE, OWN, value="true"), Row(INVITE_TEAM, WORKSPACE)), (Row(PROFILE, OWN, "true"),)),
    Case("null", (Row(PROFILE, OWN, value=None), Row(INVITE_TEAM, WORKSPACE)), (Row(PROFILE, OWN, None),)),
    Case(
        "rows marked as deleted, which Twenty reads all the same",
        (Row(PROFILE, OWN, deleted=True), Row(INVITE_TEAM, WORKSPACE, deleted=True)),
    ),
    Case(
        "another type",
        (Row(PROFILE, OWN, type="FEATURE_FLAG"), Row(INVITE_TEAM, WORKSPACE)),
        (Row(PROFILE, OWN, type="FEATURE_FLAG"),),
    ),
    Case("another key", (Row("THEME", OWN), Row(INVITE_TEAM, WORKSPACE)), (Row("THEME", OWN),)),
]
_QUICK = 4
SHOWN = [case if number < _QUICK else pytest.param(case, marks=pytest.mark.slow) for number, case in enumerate(CASES)]
"""The first few with every run of the tests, the others with the slow ones."""


@pytest.fixture(scope="module")
def town(shared_world: World) -> World:
    """A ready tenant whose rows each test makes anew, and a workspace without people of ours."""
    shared_world.sandbox.add_tenant("wizards", members=2)
    shared_world.apply("wizards")
    shared_world.twenty(
        "INSERT INTO core.workspace (subdomain, \"activationStatus\") VALUES ('elsewhere', 'ACTIVE') RETURNING id"
    )
    return shared_world


def insert(world: World, rows: Sequence[Row], user: str, workspace: str) -> None:
    world.twenty('DELETE FROM core."keyValuePair" RETURNING id')
    for row in (*rows, THEIRS):
        world.twenty(
            'INSERT INTO core."keyValuePair" (key, value, type, "userId", "workspaceId", "deletedAt") '
            "VALUES (%s, %s, %s, %s, %s, CASE WHEN %s THEN now() END) RETURNING id",
            row.key,
            Jsonb(row.value),
            row.type,
            user if row.level != WORKSPACE else None,
            {OWN: workspace, WORKSPACE: workspace, ELSEWHERE: elsewhere(world)}.get(row.level),
            row.deleted,
        )


def left(world: World, user: str) -> list[Row]:
    rows = world.twenty(
        """
        SELECT key, CASE WHEN "userId" IS NULL THEN 'workspace' WHEN "workspaceId" IS NULL THEN 'user'
                         WHEN "workspaceId" = %s THEN 'elsewhere' ELSE 'own' END,
               value, type::text, "deletedAt" IS NOT NULL
        FROM core."keyValuePair" WHERE "userId" IS NULL OR "userId" = %s
        """,
        elsewhere(world),
        user,
    )
    return [Row(*row) for row in rows]


def elsewhere(world: World) -> str:
    return str(world.twenty("SELECT id::text FROM core.workspace WHERE subdomain = 'elsewhere'")[0][0])


def same(rows: Sequence[Row]) -> list[str]:
    return sorted(map(repr, rows))


@pytest.mark.parametrize("case", SHOWN, ids=lambda case: case.name)
def test_exactly_the_rows_in_the_way_are_gone(town: World, case: Case) -> None:
    link = town.link("wizards")
    admin, workspace = link["admin_user_id"], link["workspace_id"]
    insert(town, case.rows, admin, workspace)
    assert (town.sees("wizards")["status"] != "COMPLETED") is case.shows

    town.apply("wizards")

    assert same(left(town, admin)) == same([*case.stay, THEIRS])
    assert town.sees("wizards")["status"] == "COMPLETED"
    assert town.conditions("wizards")["Ready"] == ("True", "AllTrue")


@pytest.mark.parametrize("case", SHOWN, ids=lambda case: case.name)
def test_a_delete_by_user_would_not_have_done(town: World, case: Case) -> None:
    link = town.link("wizards")
    admin, workspace = link["admin_user_id"], link["workspace_id"]
    insert(town, case.rows, admin, workspace)
    town.twenty('DELETE FROM core."keyValuePair" WHERE "userId" = %s RETURNING id', admin)
    assert same(left(town, admin)) != same([*case.stay, THEIRS])


@pytest.mark.slow
def test_rows_of_people_who_are_not_ours_stay_and_so_does_their_wizard(town: World) -> None:
    """Somebody who came by the invite link on their own."""
    link = town.link("wizards")
    server = town.sandbox.twenty[0]
    stranger = join_alone(town, server, "wizards", "stranger@elsewhere.example", "chosen-by-herself-1")
    admin, workspace = link["admin_user_id"], link["workspace_id"]
    insert(town, [Row(PROFILE, OWN), Row(EMAIL, USER)], stranger, workspace)
    for key in (PROFILE, APPS):
        insert_for(town, admin, workspace, key)

    town.apply("wizards")

    assert town.sees("wizards")["status"] == "COMPLETED"
    assert same(left(town, stranger)) == same([Row(PROFILE, OWN), Row(EMAIL, USER), THEIRS])
    seen = real_login(server, "stranger@elsewhere.example", "chosen-by-herself-1", link["workspace_url"])
    assert seen["status"] == "SYNC_EMAIL"

    town.apply("wizards", onboarding_people="everyone")

    seen = real_login(server, "stranger@elsewhere.example", "chosen-by-herself-1", link["workspace_url"])
    assert seen["status"] == "COMPLETED"


def join_alone(world: World, server: StandInTwenty, slug: str, email: str, password: str) -> str:
    """Join by the invite link, as anybody can who has it; their Twenty user id."""
    import httpx2

    workspace = world.link(slug)["workspace_id"]
    invite_hash = world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', workspace)[0][0]
    document = (
        "mutation($e:String!,$p:String!,$h:String!,$w:UUID!){signUpInWorkspace(email:$e,password:$p,"
        "workspaceInviteHash:$h,workspaceId:$w){loginToken{token}}}"
    )
    variables = {"e": email, "p": password, "h": invite_hash, "w": workspace}
    answer = httpx2.post(f"{server.base_url}/metadata", json={"query": document, "variables": variables}).json()
    assert "errors" not in answer, answer
    return str(world.twenty('SELECT id::text FROM core."user" WHERE email = %s', email)[0][0])


@pytest.mark.slow
def test_rows_that_may_not_be_removed_are_named_with_the_right_that_is_missing(town: World) -> None:
    link = town.link("wizards")
    insert(town, [Row(UNKNOWN, OWN)], link["admin_user_id"], link["workspace_id"])
    server = town.settings.servers[0]
    reader = "reader_of_onboarding"
    with psycopg.connect(server.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 'reads-only'")
        connection.execute(f"GRANT USAGE ON SCHEMA core TO {reader}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA core TO {reader}")
    try:
        url = server.database_url.get_secret_value()
        parts = psycopg.conninfo.conninfo_to_dict(url)
        limited = f"postgresql://{reader}:reads-only@{parts['host']}:{parts['port']}/{parts['dbname']}"
        town.apply("wizards", twenty_database_url=limited)
        assert town.conditions("wizards")["OnboardingComplete"] == ("False", "StepsPending")
        told = town.registry("SELECT message FROM provisioning.condition WHERE reason = 'StepsPending'")[0][0]
        assert UNKNOWN in told
        assert "Grant" in told
        assert same(left(town, link["admin_user_id"])) == same([Row(UNKNOWN, OWN), THEIRS])
    finally:
        with psycopg.connect(server.database_url.get_secret_value(), autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {reader}")
            connection.execute(f"DROP ROLE {reader}")
    town.apply("wizards")
    assert town.conditions("wizards")["Ready"] == ("True", "AllTrue")


def test_what_was_removed_by_sql_is_written_down(town: World) -> None:
    link = town.link("wizards")
    insert(town, [Row(UNKNOWN, OWN), Row(PROFILE, OWN)], link["admin_user_id"], link["workspace_id"])
    applied = town.apply("wizards")
    rows = town.registry(
        "SELECT server, row->>'key', row->>'userId', status FROM provisioning.removed_row WHERE run_id = %s",
        applied.summary.run_id,
    )
    town.sandbox.reset_counters()
    assert (town.apply("wizards").summary.actions, town.mutating_calls()) == (0, 0)
    # what Twenty's own call clears needs no such record
    assert rows == [(link["server"], UNKNOWN, link["admin_user_id"], "removed")]
    told = [line.detail for line in applied.summary.outcomes if line.change == "remove onboarding rows"]
    assert told == [f"{UNKNOWN} (user and workspace level)"]
    assert derived_password(town.settings.member_password_key, link["admin_email"]).get_secret_value() not in str(told)


def test_one_person_whom_no_call_can_help_keeps_nobody_else_waiting(town: World) -> None:
    """Half a member, whom nobody can act as: her rows go by SQL, and the others' by Twenty's calls."""
    link = town.link("wizards")
    insert(town, [Row(PROFILE, OWN)], link["admin_user_id"], link["workspace_id"])
    half = str(town.twenty("INSERT INTO core.\"user\" (email) VALUES ('half@x.example') RETURNING id::text")[0][0])
    town.twenty(
        'INSERT INTO core."userWorkspace" ("userId", "workspaceId") VALUES (%s, %s) RETURNING id',
        half,
        link["workspace_id"],
    )
    insert_for(town, half, link["workspace_id"], EMAIL)

    town.apply("wizards", onboarding_people="everyone")

    assert town.sees("wizards")["status"] == "COMPLETED"
    assert same(left(town, half)) == []
    assert town.conditions("wizards")["Ready"] == ("True", "AllTrue")
    town.twenty('DELETE FROM core."userWorkspace" WHERE "userId" = %s RETURNING id', half)


def insert_for(world: World, user: str, workspace: str, key: str) -> None:
    world.twenty(
        'INSERT INTO core."keyValuePair" (key, value, type, "userId", "workspaceId") '
        "VALUES (%s, 'true', 'USER_VARIABLE', %s, %s) RETURNING id",
        key,
        user,
        workspace,
    )
