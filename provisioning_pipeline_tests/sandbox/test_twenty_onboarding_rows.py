"""Onboarding rows of every kind, written by SQL: what the stand-in shows is what the model says it shows."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from provisioning_pipeline.model.onboarding import (
    COMPLETED,
    CONNECT_ACCOUNT,
    CREATE_PROFILE,
    INSTALL_APPS,
    INVITE_TEAM,
    UNKNOWN_STEP,
    Flag,
    Level,
    rows_in_the_way,
    seen_by,
)
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.sandbox.twenty_fixtures import Client, new_database

CASES = 40
KEYS = (
    CONNECT_ACCOUNT,
    INSTALL_APPS,
    CREATE_PROFILE,
    INVITE_TEAM,
    "ONBOARDING_LATER_PENDING",
    "ONBOARDING_REVERSIBLE_STEP_HISTORY",
)
VALUES: tuple[Any, ...] = (True, True, True, False, None, "true", 1, [True], {"value": True})
TYPES = ("USER_VARIABLE", "USER_VARIABLE", "USER_VARIABLE", "FEATURE_FLAG", "CONFIG_VARIABLE")
READ = (
    'SELECT key, "userId"::text, "workspaceId"::text, value, type::text, id::text FROM core."keyValuePair" ORDER BY id'
)
WRITE = 'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) VALUES (%s, %s, %s, %s, %s)'


@dataclass(frozen=True)
class Office:
    """Two workspaces of one owner; one other member in the first, nobody else in the second.

    Args:
        users: user ids, the owner's first; the last belongs to somebody who is in neither workspace.
        workspaces: workspace ids, the first being the one that the tokens are for.
        tokens: user id → access token in the first workspace.
    """

    database: psycopg.Connection[Any]
    client: Client
    users: tuple[str, ...]
    workspaces: tuple[str, str]
    tokens: dict[str, str]

    def write(self, rows: list[tuple[Any, ...]]) -> tuple[Flag, ...]:
        """These rows and no others; as they are in the table then."""
        self.database.execute('DELETE FROM core."keyValuePair"')
        for key, user_id, workspace_id, value, type_ in rows:
            self.database.execute(WRITE, [key, user_id, workspace_id, Jsonb(value), type_])
        return self.rows()

    def rows(self) -> tuple[Flag, ...]:
        """The whole table."""
        return tuple(Flag(*row) for row in self.database.execute(READ).fetchall())

    def activation(self, status: str) -> None:
        """Put the first workspace into this state."""
        self.database.execute(
            'UPDATE core.workspace SET "activationStatus" = %s::text::core."workspace_activationStatus_enum"'
            " WHERE id = %s",
            [status, self.workspaces[0]],
        )

    def shown(self) -> dict[str, str]:
        """User id → what the server answers."""
        return {
            user_id: self.client.get("{ currentUser { onboardingStatus } }", token, "/metadata")["onboardingStatus"]
            for user_id, token in self.tokens.items()
        }


@pytest.fixture(scope="module")
def office(sandbox_postgres: SandboxPostgres) -> Iterator[Office]:
    url = new_database(sandbox_postgres)
    options = TwentyOptions(creation_limited_to_admins=False, activation_seconds=0)
    with (
        StandInTwenty(url, options) as server,
        psycopg.connect(url, autocommit=True) as database,
    ):
        client = Client(server.base_url)
        owner = client.found("owner@rows.test", "rows")
        member = client.join("member@rows.test", owner, "rows")
        stranger = client.found("stranger@elsewhere.test", "elsewhere")
        me, them, outside = client.me(owner), client.me(member), client.me(stranger)
        yield Office(
            database,
            client,
            (me["id"], them["id"], outside["id"]),
            (me["currentWorkspace"]["id"], outside["currentWorkspace"]["id"]),
            {me["id"]: owner, them["id"]: member},
        )


def some_rows(office: Office, chance: random.Random) -> list[tuple[Any, ...]]:
    """Rows at every level, of everybody, of every type; each key at most once in a place, as the table insists."""
    places = [
        (user_id, workspace_id) for user_id in (None, *office.users) for workspace_id in (None, *office.workspaces)
    ]
    all_places = [(key, *place) for key in KEYS for place in places]
    return [
        (*place, chance.choice(VALUES), chance.choice(TYPES))
        for place in chance.sample(all_places, chance.randint(0, len(all_places) // 2))
    ]


def expected(office: Office, flags: tuple[Flag, ...], activation_status: str = "ACTIVE") -> dict[str, str]:
    statuses = {
        user_id: seen_by(user_id, office.workspaces[0], activation_status, flags).status for user_id in office.tokens
    }
    # a server shows nothing for a step that it does not know either
    return {user_id: COMPLETED if status == UNKNOWN_STEP else status for user_id, status in statuses.items()}


def test_what_is_shown_is_what_the_rows_say(office: Office) -> None:
    chance = random.Random(20)
    met: set[str] = set()
    for case in range(CASES):
        flags = office.write(some_rows(office, chance))
        shown = office.shown()
        assert shown == expected(office, flags), f"case {case}: {flags}"
        met |= set(shown.values())
    assert met == {"SYNC_EMAIL", "APPS_INSTALLATION", "PROFILE_CREATION", "INVITE_TEAM", COMPLETED}


def test_without_the_rows_in_the_way_everybody_is_through_and_every_other_row_is_there(office: Office) -> None:
    chance = random.Random(21)
    repaired: set[Level | None] = set()
    for case in range(CASES):
        flags = office.write(some_rows(office, chance))
        users = list(office.tokens)[: chance.randint(1, 2)]
        gone = rows_in_the_way(users, office.workspaces[0], flags)
        ids = [flag.row_id for flag in gone]
        office.database.execute('DELETE FROM core."keyValuePair" WHERE id = ANY(%s::uuid[])', [ids])
        shown = office.shown()
        assert {shown[user_id] for user_id in users} == {COMPLETED}, f"case {case}: {flags}"
        assert office.rows() == tuple(flag for flag in flags if flag.row_id not in ids)
        repaired |= {flag.level for flag in gone}
    assert repaired == set(Level)


@pytest.mark.parametrize("status", ["PENDING_CREATION", "ONGOING_CREATION", "ACTIVE"])
def test_an_unfinished_workspace_is_shown_before_any_row(office: Office, status: str) -> None:
    flags = office.write([(INVITE_TEAM, None, office.workspaces[0], True, "USER_VARIABLE")])
    office.activation(status)
    try:
        assert office.shown() == expected(office, flags, status)
    finally:
        office.activation("ACTIVE")
