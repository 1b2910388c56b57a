"""Clerk and Postgres go away and come back while members ask: nobody gets in where nobody can tell, and none waits."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.cluster import running_cluster
from provisioning_pipeline_tests.http.api import api_to
from provisioning_pipeline_tests.http.sessions import (
    NO_TWENTY,
    SESSION,
    SIGN_IN,
    VERIFY,
    Lobby,
    Route,
    Tenant,
    lobby_in,
    session_settings,
    town_in,
)

pytestmark = pytest.mark.slow

RECOVERY_SECONDS = 30
"""Far more than it takes: a test that waits so long has failed."""
Member = tuple[Tenant, str]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[SandboxPostgres]:
    """A cluster that may be stopped."""
    with running_cluster() as postgres:
        yield postgres


@pytest.fixture
def lobby(own_postgres: SandboxPostgres) -> Iterator[Lobby]:
    """Nothing is remembered: every request asks the ledger and Clerk."""
    with lobby_in(own_postgres) as made:
        yield made


@pytest.fixture
def remembering(own_postgres: SandboxPostgres) -> Iterator[Lobby]:
    """Workspaces are remembered for longer than a test takes."""
    with lobby_in(own_postgres, session_cache_seconds=300.0) as made:
        yield made


def members(lobby: Lobby) -> list[Member]:
    tenants = [lobby.tenant(name) for name in ("acme", "beta", "gamma")]
    return [(tenant, lobby.member(tenant)) for tenant in tenants]


class Crowd:
    """Members who ask one after the other, each in a thread, until told to stop."""

    def __init__(self, lobby: Lobby, everybody: list[Member]) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        """What nobody may be told, whatever is away."""
        self._lobby = lobby
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=one) for one in everybody for _ in range(2)]

    def _ask_on(self, tenant: Tenant, user: str) -> None:
        with httpx2.Client(base_url=self._lobby.api.url, timeout=30, verify=False) as http:
            while not self._stop.is_set():
                for method, path in (VERIFY, SESSION, SIGN_IN):
                    # a new one each time, so that none is known already
                    headers = {"Authorization": f"Bearer {self._lobby.token(tenant, user)}"}
                    answer = http.request(method, path, headers=headers)
                    self.statuses[answer.status_code] += 1
                    fault = fault_of(answer, tenant)
                    if fault:
                        self.wrong.append(fault)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """They ask; some have been let in before anything happens."""
        for thread in self._threads:
            thread.start()
        try:
            until(lambda: self.statuses[200] > 10)
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def hears(self, status: int, times: int) -> None:
        """Return once so many more of them were answered so."""
        before = self.statuses[status]
        until(lambda: self.statuses[status] > before + times)


def fault_of(answer: httpx2.Response, tenant: Tenant) -> str | None:
    """What is wrong with an answer to a member of this tenant; None: nothing, whatever is away."""
    if answer.status_code == 503:
        document = answer.json()
        good = int(answer.headers["retry-after"]) > 0 and document["request_id"] == answer.headers["x-request-id"]
        return None if good and "code" not in document else f"503: {answer.text}"
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text}"
    path = answer.request.url.path
    found = answer.headers.get("X-Twenty-Workspace-Id") if path == VERIFY[1] else answer.json()["workspace_id"]
    return None if found == tenant.workspace_id else f"another's workspace on {path}"


def until(is_so: Callable[[], bool]) -> None:
    """Return once it is so."""
    end = time.monotonic() + RECOVERY_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it did not recover"
        time.sleep(0.02)


def status(lobby: Lobby, route: Route, tenant: Tenant, user: str) -> int:
    return lobby.ask(route, lobby.token(tenant, user)).status_code


def passes_again(lobby: Lobby, everybody: list[Member]) -> None:
    """By itself, everybody gets their own workspace again, and to Twenty."""
    for tenant, user in everybody:
        until(lambda tenant=tenant, user=user: status(lobby, VERIFY, tenant, user) == 200)
        answer = lobby.ask(VERIFY, lobby.token(tenant, user))
        assert answer.headers["X-Twenty-Workspace-Id"] == tenant.workspace_id
        until(lambda tenant=tenant, user=user: NO_TWENTY in lobby.ask(SIGN_IN, lobby.token(tenant, user)).text)


# --- Postgres ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_postgres_goes_and_comes_back(lobby: Lobby, own_postgres: SandboxPostgres) -> None:
    everybody = members(lobby)
    crowd = Crowd(lobby, everybody)
    try:
        with crowd.asking():
            for _ in range(2):
                own_postgres.stop()
                crowd.hears(503, 20)
                own_postgres.start()
                crowd.hears(200, 20)
    finally:
        own_postgres.start()

    assert crowd.wrong == []
    assert set(crowd.statuses) == {200, 503}
    passes_again(lobby, everybody)


def test_connections_to_postgres_are_cut(lobby: Lobby) -> None:
    everybody = members(lobby)
    crowd = Crowd(lobby, everybody)
    with crowd.asking():
        for _ in range(5):
            lobby.fleet.shut()
            lobby.fleet.open()
            crowd.hears(200, 10)

    assert crowd.wrong == []
    passes_again(lobby, everybody)


def test_while_postgres_is_away_nobody_gets_in_whom_nobody_remembers(
    remembering: Lobby, own_postgres: SandboxPostgres
) -> None:
    acme, beta = remembering.tenant("acme"), remembering.tenant("beta")
    known, unknown = remembering.member(acme), remembering.member(beta)
    assert status(remembering, VERIFY, acme, known) == 200
    own_postgres.stop()
    try:
        # remembered for the seconds that the settings say
        assert status(remembering, VERIFY, acme, known) == 200
        assert status(remembering, VERIFY, beta, unknown) == 503
        # nobody is let in for another reason either
        refused = remembering.ask(VERIFY, remembering.token(acme, known, exp=1))
        assert (refused.status_code, refused.json()["code"]) == (401, "token_expired")
        wrong = remembering.ask(VERIFY, remembering.token(acme, known, twenty_workspace_id=beta.workspace_id))
        assert (wrong.status_code, wrong.json()["code"]) == (403, "workspace_claim_wrong")
        # a sign-in is always asked about
        assert status(remembering, SIGN_IN, acme, known) == 503
    finally:
        own_postgres.start()

    passes_again(remembering, [(acme, known), (beta, unknown)])


@pytest.mark.slow
def test_a_door_that_opens_before_its_ledger(own_postgres: SandboxPostgres) -> None:
    with town_in(own_postgres) as (fleet, clerk, other_clerk):
        own_postgres.stop()
        try:
            with api_to(session_settings(fleet, clerk, other_clerk)) as api:
                lobby = Lobby(fleet, clerk, other_clerk, api)
                user, organization = clerk.add_user("ann@acme.test").id, clerk.add_organization("Acme").id
                clerk.add_membership(organization, user)
                for route in (VERIFY, SESSION, SIGN_IN):
                    answer = lobby.ask(route, clerk.session_token(user, organization))
                    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
                own_postgres.start()
                everybody = members(lobby)
                passes_again(lobby, everybody)
        finally:
            own_postgres.start()


@pytest.mark.parametrize("timeout", ["0", "20ms"])
def test_connections_that_the_server_closes_are_no_outage(
    lobby: Lobby, own_postgres: SandboxPostgres, timeout: str
) -> None:
    acme = lobby.tenant("acme")
    user = lobby.member(acme)
    name = lobby.fleet.name
    lobby.fleet.sql(f"ALTER DATABASE \"{name}\" SET idle_session_timeout = '{timeout}'")
    lobby.fleet.leave()
    there = "datname = %s AND application_name = 'provisioning_pipeline'"
    for number in range(6):
        assert status(lobby, VERIFY, acme, user) == 200
        # those from before know no timeout
        if timeout == "0" or number == 0:
            own_postgres.execute(
                "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {there}", [name]
            )
        while own_postgres.execute("postgres", f"SELECT count(*) FROM pg_stat_activity WHERE {there}", [name])[0][0]:
            pass


def test_a_registry_table_that_is_gone_lets_nobody_in(lobby: Lobby) -> None:
    acme = lobby.tenant("acme", status="suspended")
    user = lobby.member(acme)
    assert status(lobby, VERIFY, acme, user) == 403

    lobby.fleet.sql("ALTER TABLE tenant_registry RENAME TO away")
    while_away = status(lobby, VERIFY, acme, user)
    lobby.fleet.sql("ALTER TABLE away RENAME TO tenant_registry")

    # who set a tenant aside said so in that table: without it nobody can tell
    assert while_away == 503
    assert status(lobby, VERIFY, acme, user) == 403


# --- Clerk ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_clerk_goes_and_comes_back(lobby: Lobby) -> None:
    everybody = members(lobby)
    crowd = Crowd(lobby, everybody)
    with crowd.asking():
        for _ in range(2):
            lobby.clerk.stop()
            # sessions still verify with the keys at hand; a sign-in needs Clerk's own word
            crowd.hears(200, 10)
            lobby.clerk.start()
            crowd.hears(200, 10)

    assert crowd.wrong == []
    assert set(crowd.statuses) == {200, 503}
    passes_again(lobby, everybody)


@pytest.mark.slow
def test_while_clerk_is_away_the_token_stands_for_who_is_linked_and_for_nobody_else(lobby: Lobby) -> None:
    acme = lobby.tenant("acme")
    linked, unlinked = lobby.member(acme), lobby.member(acme, linked=False)
    # somebody else, so that the keys are known and nothing of these two is remembered
    assert status(lobby, SESSION, acme, lobby.member(acme, linked=False)) == 200
    lobby.clerk.stop()
    try:
        assert status(lobby, VERIFY, acme, linked) == 200
        answers = [
            lobby.ask(SIGN_IN, lobby.token(acme, linked)),
            *(lobby.ask(route, lobby.token(acme, unlinked)) for route in (VERIFY, SESSION, SIGN_IN)),
        ]
    finally:
        lobby.clerk.start()

    assert [answer.status_code for answer in answers] == [503] * 4
    assert not [answer.text for answer in answers if NO_TWENTY in answer.text]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    until(lambda: status(lobby, SESSION, acme, unlinked) == 200)
    passes_again(lobby, [(acme, linked)])


def test_a_door_that_opens_before_clerk_knows_no_keys(lobby: Lobby) -> None:
    acme = lobby.tenant("acme")
    user = lobby.member(acme)
    # nobody has asked yet, so no key is known
    lobby.clerk.stop()
    try:
        answers = [lobby.ask(route, lobby.token(acme, user)) for route in (VERIFY, SESSION, SIGN_IN)]
        evil = lobby.ask(VERIFY, lobby.token(acme, user, iss="https://evil.example"))
    finally:
        lobby.clerk.start()

    assert [answer.status_code for answer in answers] == [503] * 3
    assert all("keys" in answer.json()["detail"] for answer in answers)
    assert evil.status_code == 401
    passes_again(lobby, [(acme, user)])


@pytest.mark.parametrize("keep_kid", [True, False])
def test_clerk_rotates_its_key_while_members_ask(lobby: Lobby, keep_kid: bool) -> None:
    everybody = members(lobby)
    for tenant, user in everybody:
        assert status(lobby, VERIFY, tenant, user) == 200
    old = [lobby.token(tenant, user) for tenant, user in everybody]
    for (tenant, user), token in zip(everybody, old, strict=True):
        assert lobby.ask(VERIFY, token).headers["X-Twenty-Workspace-Id"] == tenant.workspace_id, user

    lobby.clerk.rotate_signing_key(keep_kid=keep_kid)

    for tenant, user in everybody:
        assert status(lobby, VERIFY, tenant, user) == 200
    # a key that Clerk took back is worth nothing, also for what was verified with it
    assert [lobby.ask(VERIFY, token).status_code for token in old] == [401] * len(old)


@pytest.mark.slow
def test_clerk_answers_with_errors_and_cuts_connections(lobby: Lobby) -> None:
    everybody = members(lobby)
    crowd = Crowd(lobby, everybody)
    with crowd.asking():
        lobby.clerk.faults.error_rate = lobby.clerk.faults.drop_rate = 0.4
        crowd.hears(200, 20)
        lobby.clerk.faults.error_rate = lobby.clerk.faults.drop_rate = 0.0

    assert crowd.wrong == []
    passes_again(lobby, everybody)
