"""The stand-ins that tests share, and the shared Postgres without what earlier tests left in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.sandbox.twenty_fixtures import Client, new_database


@pytest.fixture
def empty_cluster(sandbox_postgres: SandboxPostgres) -> Iterator[SandboxPostgres]:
    """The same cluster without any database of earlier tests that a fleet would collide with."""
    yield sandbox_postgres
    for name in sandbox_postgres.databases():
        if name.startswith(("twenty_tenant_", "tenant_manager")):
            sandbox_postgres.drop_database(name)


@pytest.fixture(scope="session")
def served_clerk() -> Iterator[StandInClerk]:
    """One server for many tests: starting and stopping one takes a fifth of a second."""
    with StandInClerk() as stand_in:
        yield stand_in


@pytest.fixture
def clerk(served_clerk: StandInClerk) -> StandInClerk:
    """A running stand-in, empty, without faults or limits."""
    served_clerk.clear()
    return served_clerk


class Backend:
    """Calls the Backend API as a client would."""

    def __init__(self, clerk: StandInClerk) -> None:
        # Plain HTTP: reading the machine's certificates for each test would take longer than the test.
        self.http = httpx2.Client(
            base_url=clerk.base_url,
            headers={"Authorization": f"Bearer {clerk.secret_key}"},
            timeout=10,
            verify=False,
        )

    def __call__(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The JSON of an answer that must have this status."""
        answer = self.http.request(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def code(self, method: str, path: str, status: int, **options: Any) -> str:
        """The error code of an answer that must have this status."""
        body = self(method, path, status, **options)
        assert body["clerk_trace_id"]
        (error,) = body["errors"]
        assert error["message"]
        assert error["long_message"]
        return str(error["code"])


@pytest.fixture
def backend(clerk: StandInClerk) -> Iterator[Backend]:
    """A client of `clerk`."""
    client = Backend(clerk)
    yield client
    client.http.close()


@pytest.fixture
def database(sandbox_postgres: SandboxPostgres) -> str:
    """The URL of an empty database, for a stand-in Twenty of the test's own."""
    return new_database(sandbox_postgres)


@pytest.fixture(scope="session")
def twenty(sandbox_postgres: SandboxPostgres) -> Iterator[StandInTwenty]:
    """One server for the tests that mind only their own workspace; its first account is the admin."""
    options = TwentyOptions(creation_limited_to_admins=False, activation_seconds=0)
    with StandInTwenty(new_database(sandbox_postgres), options) as server:
        Client(server.base_url).sign_up("root@first.test")
        yield server


@pytest.fixture
def client(twenty: StandInTwenty) -> Client:
    """A client of `twenty`."""
    return Client(twenty.base_url)


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """A folder for a sandbox that keeps its data."""
    return tmp_path / "kept"
