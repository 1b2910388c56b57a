"""The stand-in Twenty as a server of another version: newer, older, and upgraded in place."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import FurtherStep, StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.sandbox.twenty_fixtures import (
    ACTIVATE,
    INSTALL,
    INVITE,
    JOIN,
    LOGIN,
    SETTINGS,
    SKIP_SYNC,
    Client,
    name_of,
    new_database,
    sql,
)

IMPORT_DATA = FurtherStep("ONBOARDING_IMPORT_DATA_PENDING", "IMPORT_DATA")
PICK_PLAN = FurtherStep("ONBOARDING_PICK_PLAN_PENDING", "PICK_PLAN", for_joiners=False)
TAKE_TOUR = FurtherStep("ONBOARDING_TAKE_TOUR_PENDING", "TAKE_TOUR", for_creator=False)

VALUES = "query($name: String!) { __type(name: $name) { enumValues(includeDeprecated: true) { name } } }"
FIELDS = "query($name: String!) { __type(name: $name) { fields { name args { name } } } }"

SIGN_UP = """mutation($e: String!, $p: String!) { signUp(email: $e, password: $p) {
  tokens { accessOrWorkspaceAgnosticToken { token } } } }"""
EXCHANGE = """mutation($l: String!, $o: String!) { getAuthTokensFromLoginToken(loginToken: $l, origin: $o) {
  tokens { accessOrWorkspaceAgnosticToken { token } } } }"""


def options(**more: Any) -> TwentyOptions:
    return TwentyOptions(creation_limited_to_admins=False, activation_seconds=0, **more)


@pytest.fixture
def database(sandbox_postgres: SandboxPostgres) -> str:
    return new_database(sandbox_postgres)


@pytest.fixture(scope="module")
def older(sandbox_postgres: SandboxPostgres) -> Iterator[StandInTwenty]:
    """A server of 1.x."""
    with StandInTwenty(new_database(sandbox_postgres), options(version="1.x")) as server:
        yield server


def pending(database: str, email: str) -> set[tuple[str, bool]]:
    """The keys of the rows that this user meets, each with whether it is the user's own."""
    rows = sql(
        database,
        'SELECT k.key, k."userId" IS NOT NULL FROM core."user" u'
        ' JOIN core."userWorkspace" uw ON uw."userId" = u.id'
        ' JOIN core."keyValuePair" k ON k."workspaceId" = uw."workspaceId"'
        ' AND (k."userId" = u.id OR k."userId" IS NULL) WHERE u.email = %s AND k.value = \'true\'',
        email,
    )
    return {(key.removeprefix("ONBOARDING_").removesuffix("_PENDING"), own) for key, own in rows}


def values_of(client: Client, token: str, enum: str) -> list[str]:
    return [value["name"] for value in client.get(VALUES, token, name=enum)["enumValues"]]


def fields_of(client: Client, token: str, path: str) -> dict[str, set[str]]:
    """Root fields of an endpoint with the names of their arguments."""
    fields = [field for kind in ("Query", "Mutation") for field in client.get(FIELDS, token, path, name=kind)["fields"]]
    return {field["name"]: {argument["name"] for argument in field["args"]} for field in fields}


def clear_what_is_known(client: Client, token: str) -> None:
    """Every step that 2.21.0 has, through its own mutation."""
    member = client.me(token)["workspaceMember"]["id"]
    for query, variables in ((SKIP_SYNC, {}), (INSTALL, {}), (INVITE, {"e": []})):
        client.ask(query, token, **variables)  # a plain member may not invite
    client.get(SETTINGS, token, i=name_of(member, "Ada", ""))


def test_further_steps_come_after_the_known_ones_and_stay(database: str) -> None:
    with StandInTwenty(database, options(further_steps=(IMPORT_DATA, PICK_PLAN, TAKE_TOUR))) as server:
        client = Client(server.base_url)
        owner = client.found("owner@newer.test", "newer")
        member = client.join("member@newer.test", owner, "newer")
        assert client.status(owner) == "SYNC_EMAIL"
        assert client.status(member) == "APPS_INSTALLATION"
        for token in (owner, member):
            clear_what_is_known(client, token)
        assert client.status(owner) == "IMPORT_DATA"
        assert client.status(member) == "IMPORT_DATA"
        clear_what_is_known(client, owner)
        assert pending(database, "owner@newer.test") == {("IMPORT_DATA", True), ("PICK_PLAN", True)}
        assert pending(database, "member@newer.test") == {("IMPORT_DATA", True), ("TAKE_TOUR", True)}
        sql(database, 'DELETE FROM core."keyValuePair" WHERE key = %s', IMPORT_DATA.key)
        assert client.status(owner) == "PICK_PLAN"
        assert client.status(member) == "TAKE_TOUR"
        statuses = values_of(client, owner, "OnboardingStatus")
        assert statuses[-3:] == ["IMPORT_DATA", "PICK_PLAN", "TAKE_TOUR"]


def test_an_account_that_joins_a_second_workspace_gets_the_further_step_there_too(database: str) -> None:
    with StandInTwenty(database, options(further_steps=(IMPORT_DATA,))) as server:
        client = Client(server.base_url)
        first, second = client.found("one@two.test", "first"), client.found("two@two.test", "second")
        joined = client.join("one@two.test", second, "second")
        clear_what_is_known(client, second)
        clear_what_is_known(client, joined)
        assert client.status(joined) == "IMPORT_DATA"
        assert client.status(first) == "SYNC_EMAIL"


def test_a_server_that_lacks_a_mutation_sets_its_step_all_the_same(database: str) -> None:
    lacking = frozenset({"triggerInstallAppsOnboardingStep"})
    with StandInTwenty(database, options(lacking=lacking)) as server:
        client = Client(server.base_url)
        owner = client.found("owner@lacking.test", "lacking")
        member = client.join("member@lacking.test", owner, "lacking")
        message = client.error(INSTALL, owner)["message"]
        assert message.startswith('Cannot query field "triggerInstallAppsOnboardingStep" on type "Mutation".')
        client.get(SKIP_SYNC, owner)
        assert client.status(owner) == client.status(member) == "APPS_INSTALLATION"
        assert ("INSTALL_APPS", True) in pending(database, "member@lacking.test")


def test_the_enums_are_those_of_2_21(database: str) -> None:
    with StandInTwenty(database, options()) as server:
        client = Client(server.base_url)
        owner = client.found("owner@enums.test", "enums")
        told = {name: values_of(client, owner, name) for name in ("OnboardingStatus", "WorkspaceActivationStatus")}
        refused = client.ask(VALUES, name="OnboardingStatus")["errors"]
        assert all(entry["message"].startswith("GraphQL introspection has been disabled") for entry in refused)
    stored = sql(
        database,
        "SELECT e.enumlabel FROM pg_attribute a JOIN pg_enum e ON e.enumtypid = a.atttypid"
        " WHERE a.attrelid = 'core.workspace'::regclass AND a.attname = 'activationStatus'"
        " AND a.atttypid = 'core.\"workspace_activationStatus_enum\"'::regtype ORDER BY e.enumsortorder",
    )
    assert told["OnboardingStatus"] == [
        "PLAN_REQUIRED",
        "WORKSPACE_ACTIVATION",
        "PROFILE_CREATION",
        "SYNC_EMAIL",
        "APPS_INSTALLATION",
        "INVITE_TEAM",
        "COMPLETED",
    ]
    assert told["WorkspaceActivationStatus"] == [
        "ONGOING_CREATION",
        "PENDING_CREATION",
        "ACTIVE",
        "INACTIVE",
        "SUSPENDED",
    ]
    assert [value for (value,) in stored] == told["WorkspaceActivationStatus"]


def test_an_older_server_signs_nobody_in_where_2_x_does(older: StandInTwenty) -> None:
    client = Client(older.base_url)
    credentials = {"e": "new@shape.test", "p": "Passw0rd!"}
    for query, field, variables in (
        (SIGN_UP, "signUp", credentials),
        (LOGIN, "getLoginTokenFromCredentials", credentials | {"o": "http://shape.localhost/"}),
        (EXCHANGE, "getAuthTokensFromLoginToken", {"l": "x", "o": "http://shape.localhost/"}),
        (JOIN, "signUpInWorkspace", credentials),
        (INSTALL, "triggerInstallAppsOnboardingStep", {}),
    ):
        error = client.error(query, **variables)
        assert error["message"].startswith(f'Cannot query field "{field}" on type "Mutation".')
    assert client.get(SIGN_UP, None, "/graphql", **credentials)["tokens"]


def test_an_older_server_has_the_same_paths(older: StandInTwenty) -> None:
    assert httpx2.get(f"{older.base_url}/healthz").json()["status"] == "ok"
    settings = httpx2.get(f"{older.base_url}/client-config").json()
    assert settings["authProviders"]["password"] is True
    assert settings["appVersion"] is None


@pytest.mark.slow
def test_a_server_is_upgraded_over_its_own_data(database: str) -> None:
    with StandInTwenty(database, options()) as server:
        before = Client(server.base_url)
        owner = before.found("ada@upgrade.test", "upgrade")
        before.join("ben@upgrade.test", owner, "upgrade")
        clear_what_is_known(before, owner)
        assert before.status(owner) == "COMPLETED"
    with StandInTwenty(database, options(further_steps=(IMPORT_DATA,))) as server:
        after = Client(server.base_url)
        assert after.status(owner) == "COMPLETED"
        assert after.status(after.login("ben@upgrade.test", "upgrade")) == "APPS_INSTALLATION"
        dan = after.join("dan@upgrade.test", owner, "upgrade")
        clear_what_is_known(after, dan)
        assert after.status(dan) == "IMPORT_DATA"


@pytest.mark.slow
def test_an_upgraded_server_may_run_beside_the_old_one(database: str) -> None:
    with (
        StandInTwenty(database, options()) as old,
        StandInTwenty(database, options(further_steps=(IMPORT_DATA,))) as new,
    ):
        before, after = Client(old.base_url), Client(new.base_url)
        owner = before.found("ada@beside.test", "beside")
        member = after.join("ben@beside.test", owner, "beside")
        for token in (owner, member):
            clear_what_is_known(before, token)
        assert (before.status(owner), after.status(owner)) == ("COMPLETED", "COMPLETED")
        assert (before.status(member), after.status(member)) == ("COMPLETED", "IMPORT_DATA")
        assert before.get(ACTIVATE, owner) == after.get(ACTIVATE, owner)
