"""The stand-in Twenty as a server: restarts, faults, documents, and who watches and steers it."""

from collections.abc import Callable

import httpx2
import psycopg
import pytest

from provisioning_pipeline.sandbox.faults import Faults, ScriptedFault
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions, core_sql
from provisioning_pipeline_tests.sandbox.twenty_fixtures import (
    CREATE,
    INSTALL,
    JOIN,
    SETTINGS,
    SIGN_UP,
    Client,
    name_of,
    sql,
)


def test_state_and_tokens_outlive_a_restart(database: str) -> None:
    server = StandInTwenty(database)
    with server:
        client = Client(server.base_url)
        owner = client.found("owner@x.test", "acme")
        url = server.base_url
        server.restart()
        assert server.base_url == url
        assert Client(url).status(owner) == "SYNC_EMAIL"
    with StandInTwenty(database) as another:
        assert Client(another.base_url).status(owner) == "SYNC_EMAIL"


def test_a_lost_answer_has_had_its_effect(database: str) -> None:
    faults = Faults(scripted=[ScriptedFault("signUpInNewWorkspace", "drop")])
    with StandInTwenty(database, faults=faults) as server:
        client = Client(server.base_url)
        token = client.sign_up("owner@x.test")
        wanted = {"displayName": "Acme", "subdomain": "acme"}
        with pytest.raises(httpx2.RemoteProtocolError):
            client.ask(CREATE, token, i=wanted)
        assert client.error(CREATE, token, i=wanted)["subCode"] == "SUBDOMAIN_ALREADY_TAKEN"
        assert sql(database, "SELECT count(*) FROM core.workspace") == [(1,)]


def test_a_server_without_its_redis_answers_some_and_does_late_what_it_hangs_on(database: str) -> None:
    faults = Faults()
    with StandInTwenty(database, faults=faults) as server:
        client = Client(server.base_url)
        owner = client.found("owner@x.test", "acme")
        link = client.invite_hash(owner)
        name = name_of(client.me(owner)["workspaceMember"]["id"], "Late", "")
        hurried = Client(server.base_url)
        faults.hanging = True
        assert httpx2.get(f"{server.base_url}/healthz").json()["status"] == "ok"
        assert client.get("{ __typename }") == "Query"
        client.get(SIGN_UP, e="somebody@x.test")
        hurried.http.timeout = httpx2.Timeout(0.2)
        for query, token, variables in (
            ("{ __typename }", owner, {}),
            (SETTINGS, owner, {"i": name}),
            (JOIN, None, {"e": "joins@x.test", "p": "Passw0rd!", "h": link}),
        ):
            with pytest.raises(httpx2.ReadTimeout):
                hurried.ask(query, token, "/metadata", **variables)
        members = f'SELECT "userEmail", "nameFirstName" FROM "{schema_of(database)}"."workspaceMember" ORDER BY 1'
        until(lambda: sql(database, members) == [("joins@x.test", ""), ("owner@x.test", "")])
        faults.hanging = False
        client.me(owner)
        until(lambda: sql(database, members) == [("joins@x.test", ""), ("owner@x.test", "Late")])


def until(true: Callable[[], bool]) -> None:
    """Ask again until it is so; whoever waits in vain is stopped by the suite's own limit."""
    while not true():
        pass


def schema_of(database: str) -> str:
    """The schema of the one workspace."""
    return str(sql(database, 'SELECT "databaseSchema" FROM core.workspace')[0][0])


def test_an_error_and_a_refusal_come_before_any_effect(database: str) -> None:
    faults = Faults(scripted=[ScriptedFault("signUp", "error"), ScriptedFault("signUp", "refuse")])
    with StandInTwenty(database, faults=faults) as server:
        body = {"query": SIGN_UP, "variables": {"e": "a@x.test"}}
        answers = [httpx2.post(f"{server.base_url}/metadata", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [500, 429, 200]
        assert answers[1].headers["retry-after"] == "1"
        assert answers[2].json() == {"data": {"signUp": {"__typename": "AvailableWorkspacesAndAccessTokens"}}}
        assert (server.calls["signUp"], server.mutating_calls) == (3, 1)


def test_documents_are_checked_without_a_token(client: Client) -> None:
    token = client.sign_up("reader@documents.test")
    unknown = client.ask("{ nothingOfTheKind }")
    assert unknown["errors"][0]["message"] == 'Cannot query field "nothingOfTheKind" on type "Query".'
    assert "data" not in unknown
    introspection = "{ __schema { queryType { name } } }"
    for anyone in (None, token):
        assert "introspection has been disabled" in client.ask(introspection, anyone)["errors"][0]["message"]
    inside = client.create(token, "documents")
    assert client.get(introspection, inside) == {"queryType": {"name": "Query"}}
    twice = "{ a: currentUser { id } b: currentUser { id } }"
    assert client.error(twice, token)["message"] == 'Duplicate root resolver: "currentUser"'
    missing = client.http.post(
        "/metadata", json={"query": "query($o: String!) { checkUserExists(email: $o) { exists } }"}
    )
    assert missing.status_code == 400
    (refusal,) = missing.json()["errors"]
    assert refusal["message"] == 'Variable "$o" of required type "String!" was not provided.'
    assert refusal["extensions"]["code"] == "BAD_USER_INPUT"


def test_a_server_that_lacks_a_call_or_answers_anyone(database: str) -> None:
    lacking = frozenset({"triggerInstallAppsOnboardingStep"})
    options = TwentyOptions(lacking=lacking, introspection_for_anonymous=True)
    with StandInTwenty(database, options) as server:
        client = Client(server.base_url)
        fields = client.get("{ __schema { mutationType { fields { name } } } }")["mutationType"]["fields"]
        assert {"name": "skipSyncEmailOnboardingStep"} in fields
        assert {"name": "triggerInstallAppsOnboardingStep"} not in fields
        assert client.error(INSTALL)["message"].startswith("Cannot query field")


def test_another_process_can_watch_and_steer(database: str) -> None:
    with StandInTwenty(database) as server:
        client = Client(server.base_url)
        wanted = {"scripted": [{"operation": "signUp", "kind": "refuse"}], "latency_seconds": 0.001}
        assert client.http.post("/sandbox/faults", json=wanted).status_code == 200
        body = {"query": SIGN_UP, "variables": {"e": "a@x.test"}}
        assert client.http.post("/metadata", json=body).status_code == 429
        state = client.http.get("/sandbox/state").json()
        assert state["calls"] == {"signUp": 1}
        assert state["mutating_calls"] == 0
        assert state["faults"] == {"refuse": 1}
        assert state["mails"] == []
        client.http.post("/sandbox/reset")
        assert client.http.get("/sandbox/state").json()["calls"] == {}
        assert server.calls == {}
        assert client.http.get("/healthz").json()["status"] == "ok"


def test_the_core_schema_can_be_made_twice_and_elsewhere(database: str) -> None:
    for _ in range(2):
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(core_sql().encode())
    tables = sql(database, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'core'")
    expected = {"workspace", "user", "userWorkspace", "keyValuePair", "role", "roleTarget"}
    expected |= {"objectMetadata", "appToken", "apiKey"}
    assert {name for (name,) in tables} == expected
