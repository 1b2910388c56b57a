"""Cookie sessions, single-use login tokens and the wizard of newer servers, as the stand-in has them."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline.sandbox.twenty.sessions import COOKIE
from provisioning_pipeline.sandbox.twenty.versions import Version
from provisioning_pipeline_tests.sandbox.twenty_fixtures import (
    ACTIVATE,
    EXCHANGE,
    INSTALL,
    INVITE,
    LOGIN,
    SETTINGS,
    SKIP_SYNC,
    Client,
    name_of,
    new_database,
    sql,
)

SIGN_IN = """mutation($e: String!) { signIn(email: $e, password: "Passw0rd!") {
  tokens { refreshToken { token } } } }"""
SIGN_UP = 'mutation($e: String!) { signUp(email: $e, password: "Passw0rd!") { __typename } }'
SIGN_OUT = "mutation($r: String) { signOut(refreshToken: $r) }"
RENEW = "mutation($r: String!) { renewToken(appToken: $r) { tokens { refreshToken { token } } } }"
BACK = "mutation { goBackToPreviousOnboardingStep { onboardingStatus previousOnboardingStatus } }"
STATUSES = "{ currentUser { onboardingStatus previousOnboardingStatus } }"
PROVED = {"authorization": "Bearer garbage"}


def options(version: Version = "2.38", **more: Any) -> TwentyOptions:
    return TwentyOptions(version=version, creation_limited_to_admins=False, activation_seconds=0, **more)


@pytest.fixture(scope="module")
def newer(sandbox_postgres: SandboxPostgres) -> Iterator[StandInTwenty]:
    """A 2.38 for the tests that mind only their own people."""
    with StandInTwenty(new_database(sandbox_postgres), options()) as server:
        yield server


class Forgetful(Client):
    """A client that keeps no cookies."""

    def ask(self, query: str, token: str | None = None, path: str = "/metadata", **variables: Any) -> dict[str, Any]:
        self.http.cookies.clear()
        return super().ask(query, token, path, **variables)


def browser(server: StandInTwenty, email: str) -> httpx2.Client:
    """Somebody who signed up and kept the cookie."""
    http = httpx2.Client(base_url=server.base_url, verify=False)
    answer = http.post("/metadata", json={"query": SIGN_UP, "variables": {"e": email}})
    assert COOKIE in answer.cookies
    return http


def post(http: httpx2.Client, query: str, headers: dict[str, str] | None = None, **variables: Any) -> httpx2.Response:
    return http.post("/metadata", json={"query": query, "variables": variables}, headers=headers or {})


def test_a_kept_cookie_refuses_every_call_without_a_token(newer: StandInTwenty) -> None:
    http = browser(newer, "kept@cookie.test")
    for query in (SIGN_IN, "{ __typename }"):
        refused = post(http, query, e="kept@cookie.test")
        assert refused.status_code == 403
        assert refused.json() == {
            "statusCode": 403,
            "messages": ["Request origin is not allowed for cookie-authenticated requests"],
            "error": "CSRF_ORIGIN_MISMATCH",
        }
    elsewhere = post(http, "{ __typename }", {"origin": "https://evil.example"})
    assert elsewhere.status_code == 403
    # a bearer token wins over the cookie, a wrong one too
    assert post(http, "{ __typename }", PROVED).json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    # from the server's own pages it works, and runs as whoever signed in
    own = {"origin": "http://somewhere.localhost"}
    assert post(http, "{ currentUser { email } }", own).json() == {
        "data": {"currentUser": {"email": "kept@cookie.test"}}
    }
    http.cookies.clear()
    assert post(http, "{ __typename }").json() == {"data": {"__typename": "Query"}}


def test_every_login_leaves_a_row_and_signing_out_ends_it(newer: StandInTwenty) -> None:
    http = browser(newer, "rows@cookie.test")
    http.cookies.clear()
    refresh = post(http, SIGN_IN, e="rows@cookie.test").json()["data"]["signIn"]["tokens"]["refreshToken"]["token"]
    rows = (
        'SELECT s."revokedAt" IS NULL, s."workspaceId", s."isImpersonating" FROM core."userSession" s'
        ' JOIN core."user" u ON u.id = s."userId" WHERE u.email = %s ORDER BY s."createdAt"'
    )
    assert sql(newer.database_url, rows, "rows@cookie.test") == [(True, None, False), (True, None, False)]
    own = {"origin": newer.base_url}
    assert post(http, SIGN_OUT, own, r=refresh).json() == {"data": {"signOut": True}}
    assert [alive for alive, _, _ in sql(newer.database_url, rows, "rows@cookie.test")] == [True, False]
    dead = post(http, "{ __typename }", own).json()["errors"][0]
    assert dead["message"] == "Session is invalid or has expired."
    http.cookies.clear()
    revoked = post(http, RENEW, r=refresh).json()["errors"][0]
    assert revoked["message"] == "This refresh token has been revoked."


def test_a_cookie_is_not_handed_to_a_foreign_page(newer: StandInTwenty) -> None:
    http = browser(newer, "foreign@cookie.test")
    http.cookies.clear()
    refused = post(http, SIGN_IN, {"origin": "https://evil.example"}, e="foreign@cookie.test")
    assert refused.json()["errors"][0]["message"] == "Request origin is not allowed to receive a session cookie"
    assert COOKIE not in refused.cookies


def test_a_2_21_sets_no_cookie(database: str) -> None:
    with StandInTwenty(database, options("2.21")) as server, httpx2.Client(base_url=server.base_url) as http:
        assert not post(http, SIGN_UP, e="none@cookie.test").cookies
        assert "isCookieSessionEnabled" not in http.get("/client-config").json()


@pytest.mark.parametrize(("version", "once"), [("2.21", False), ("2.38", True), ("2.47", True)])
def test_a_login_token_is_taken_as_often_as_the_version_has_it(version: Version, once: bool, database: str) -> None:
    with StandInTwenty(database, options(version)) as server:
        client = Forgetful(server.base_url)
        client.found("ada@once.test", "once")
        where = "http://once.localhost/"
        login = client.get(LOGIN, e="ada@once.test", p="Passw0rd!", o=where)["loginToken"]["token"]
        client.get(EXCHANGE, l=login, o=where)
        again = client.ask(EXCHANGE, l=login, o=where)
        if once:
            assert again["errors"][0]["message"] == "Login token has already been used"
            assert again["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        else:
            assert "errors" not in again


def test_a_new_member_is_asked_for_a_mailbox_and_no_apps(newer: StandInTwenty) -> None:
    client = Forgetful(newer.base_url)
    owner = client.found("ada@steps.test", "steps")
    ben = client.join("ben@steps.test", owner, "steps")
    seen = [client.status(ben)]
    client.get(SKIP_SYNC, ben)
    seen.append(client.status(ben))
    client.get(SETTINGS, ben, i=name_of(client.me(ben)["workspaceMember"]["id"], "Ben", ""))
    seen.append(client.status(ben))
    client.get(INVITE, owner, e=[])
    seen.append(client.status(ben))
    assert seen == ["SYNC_EMAIL", "PROFILE_CREATION", "INVITE_TEAM", "COMPLETED"]


def test_what_a_person_skips_can_be_gone_back_to_and_what_a_program_skips_cannot(newer: StandInTwenty) -> None:
    client = Forgetful(newer.base_url)
    owner = client.found("ada@back.test", "back")
    client.get("mutation { skipSyncEmailOnboardingStep(isAutoSkipped: true) { success } }", owner)
    assert client.get(STATUSES, owner) == {"onboardingStatus": "APPS_INSTALLATION", "previousOnboardingStatus": None}
    client.get(INSTALL, owner)
    assert client.get(STATUSES, owner)["previousOnboardingStatus"] == "APPS_INSTALLATION"
    client.get(INSTALL, owner)  # nothing to clear, nothing to remember
    assert client.get(BACK, owner) == {"onboardingStatus": "APPS_INSTALLATION", "previousOnboardingStatus": None}
    assert client.get(BACK, owner)["onboardingStatus"] == "APPS_INSTALLATION"


def test_going_back_to_the_team_is_the_persons_own(newer: StandInTwenty) -> None:
    client = Forgetful(newer.base_url)
    owner = client.found("ada@team.test", "team")
    client.get(INVITE, owner, e=[])
    client.get(BACK, owner)
    rows = 'SELECT "userId" IS NOT NULL FROM core."keyValuePair" WHERE key = \'ONBOARDING_INVITE_TEAM_PENDING\''
    workspace = client.me(owner)["currentWorkspace"]["id"]
    assert sql(newer.database_url, rows + ' AND "workspaceId" = %s', workspace) == [(True,)]
    client.get(INVITE, owner, e=[])  # clears the workspace's own row only
    assert sql(newer.database_url, rows + ' AND "workspaceId" = %s', workspace) == [(True,)]


def test_a_server_that_sells_answers_created_and_asks_for_a_plan(database: str) -> None:
    with StandInTwenty(database, options(billing=True)) as server:
        client = Forgetful(server.base_url)
        early = client.create(client.sign_up("ada@paid.test"), "paid")
        assert client.get(ACTIVATE, early)["activationStatus"] == "CREATED"
        owner = client.login("ada@paid.test", "paid")
        assert client.get(ACTIVATE, owner)["activationStatus"] == "CREATED"
        for query in (SKIP_SYNC, INSTALL):
            client.get(query, owner)
        client.get(SETTINGS, owner, i=name_of(client.me(owner)["workspaceMember"]["id"], "Ada", ""))
        client.get(INVITE, owner, e=[])
        assert client.status(owner) == "BOOK_CALL"
        client.get("mutation { completeBookCallOnboardingStep(isAutoSkipped: true) { success } }", owner)
        assert client.status(owner) == "PLAN_REQUIRED"
        client.join("ben@paid.test", owner, "paid")


def test_an_account_needs_somewhere_to_go(database: str) -> None:
    limited = TwentyOptions(version="2.38", activation_seconds=0)
    with StandInTwenty(database, limited) as server:
        client = Forgetful(server.base_url)
        owner = client.found("ada@closed.test", "closed")
        refused = client.error(SIGN_UP, e="late@closed.test")
        assert (refused["message"], refused["subCode"]) == ("New workspace setup is disabled", "SIGNUP_DISABLED")
        client.get(INVITE, owner, e=["late@closed.test"])
        assert "errors" not in client.ask(SIGN_UP, e="late@closed.test")
        client.join("ben@closed.test", owner, "closed")


def test_a_2_47_has_no_step_for_apps(database: str) -> None:
    with StandInTwenty(database, options("2.47")) as server:
        client = Forgetful(server.base_url)
        owner = client.found("ada@newest.test", "newest")
        assert 'Cannot query field "triggerInstallAppsOnboardingStep"' in client.error(INSTALL, owner)["message"]
        keys = sql(database, 'SELECT key FROM core."keyValuePair" ORDER BY 1')
        assert [key for (key,) in keys] == [
            "ONBOARDING_CONNECT_ACCOUNT_PENDING",
            "ONBOARDING_CREATE_PROFILE_PENDING",
            "ONBOARDING_INVITE_TEAM_PENDING",
        ]


def test_a_2_21_is_upgraded_in_place(database: str) -> None:
    with StandInTwenty(database, options("2.21")) as server:
        before = Client(server.base_url)
        owner = before.found("ada@upgraded.test", "upgraded")
        before.join("ben@upgraded.test", owner, "upgraded")
    with StandInTwenty(database, options()) as server:
        after = Forgetful(server.base_url)
        assert httpx2.get(f"{server.base_url}/client-config").json()["appVersion"] == "2.38.0"
        assert after.status(after.login("ben@upgraded.test", "upgraded")) == "APPS_INSTALLATION"
        assert after.status(after.join("cyd@upgraded.test", owner, "upgraded")) == "SYNC_EMAIL"
        # the extension is not everywhere; where it lacks, addresses stay as they were, as on the real server
        (kind,) = sql(
            database,
            "SELECT udt_name FROM information_schema.columns WHERE table_schema = 'core' AND table_name = 'user'"
            " AND column_name = 'email'",
        )[0]
        there = sql(database, "SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'")[0][0]
        assert kind == ("citext" if there else "varchar")
        index = "SELECT count(*) FROM pg_indexes WHERE tablename = 'keyValuePair' AND indexdef LIKE '%%applicationId%%'"
        assert sql(database, index) == [(3,)]
    with StandInTwenty(database, options("2.47")):
        pass  # and again, with nothing left to add
