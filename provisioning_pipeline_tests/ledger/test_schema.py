"""A ledger that this version cannot work on is refused by name, everywhere; a server goes on beside a later version."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.ledger import revisions, schema
from provisioning_pipeline.ledger.api_keys import ApiKeys
from provisioning_pipeline.ledger.fleet import known_and_due
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.revisions import OtherLedger
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.api_key import EVERY_SCOPE, EVERY_TENANT
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline_tests.ledger.conftest import ask_ledger
from provisioning_pipeline_tests.settings.complete import COMPLETE

LATER = "0999"
SPOILED = {
    "later": (f"UPDATE provisioning.alembic_version SET version_num = '{LATER}'", "by a later version"),
    "foreign": ("UPDATE provisioning.alembic_version SET version_num = 'a1b2c3'", "not made by this program"),
    "two heads": (f"INSERT INTO provisioning.alembic_version VALUES ('{LATER}')", "at several revisions"),
    "empty": ("DELETE FROM provisioning.alembic_version", "has no revision"),
}
"""What happened to a ledger → how, and the words for it."""
NUMBERS = count(1)


@pytest.fixture
def url_of(sandbox_postgres: SandboxPostgres, migrated: str) -> Iterator[Callable[[str], str]]:
    """A ledger to which this has happened."""
    made: list[str] = []

    def spoil(what: str) -> str:
        made.append(f"schema_{next(NUMBERS)}")
        url = sandbox_postgres.create_database(made[-1], template=migrated)
        sandbox_postgres.execute(made[-1], SPOILED[what][0])
        return url

    yield spoil
    for name in made:
        sandbox_postgres.drop_database(name)


@pytest.fixture(scope="module")
def later(sandbox_postgres: SandboxPostgres, migrated: str) -> str:
    """The ledger of a later version, for tests that only look at it."""
    url = sandbox_postgres.create_database("schema_later", template=migrated)
    sandbox_postgres.execute("schema_later", SPOILED["later"][0])
    return url


def read(url: str, work: Callable[[Ledger], Any]) -> Any:
    return ask_ledger(url, lambda database: work(Ledger(database)), read_only=True)


@pytest.mark.parametrize("what", SPOILED)
def test_every_way_into_the_ledger_refuses_it_and_changes_nothing(
    url_of: Callable[[str], str], sandbox_postgres: SandboxPostgres, what: str
) -> None:
    url, words = url_of(what), SPOILED[what][1]
    ways: list[Callable[[], Any]] = [
        lambda: read(url, lambda ledger: ledger.links()),
        lambda: read(url, lambda ledger: known_and_due(ledger.database)),
        lambda: read(url, lambda ledger: revisions.revision(ledger.database)),
        lambda: schema.migrate(url),
    ]
    for way in ways:
        with pytest.raises(OtherLedger, match=words) as refused:
            way()
        assert len(str(refused.value).splitlines()) == 1
    name = url.rpartition("/")[2].partition("?")[0]
    rows = sandbox_postgres.execute(name, "SELECT version_num FROM provisioning.alembic_version ORDER BY 1")
    assert [row[0] for row in rows] == {
        "later": [LATER],
        "foreign": ["a1b2c3"],
        "two heads": [revisions.HEAD, LATER],
        "empty": [],
    }[what]


@pytest.mark.parametrize(
    "command",
    [
        ["migrate"],
        ["plan"],
        pytest.param(["plan", "--json"], marks=pytest.mark.slow),
        ["apply"],
        pytest.param(["apply", "acme"], marks=pytest.mark.slow),
        pytest.param(["verify"], marks=pytest.mark.slow),
        ["status"],
        pytest.param(["status", "acme"], marks=pytest.mark.slow),
        pytest.param(["preflight"], marks=pytest.mark.slow),
        pytest.param(["undo", "0123456789", "--yes"], marks=pytest.mark.slow),
        pytest.param(["restart", "acme", "--yes"], marks=pytest.mark.slow),
        pytest.param(["keys", "list"], marks=pytest.mark.slow),
        pytest.param(["keys", "create", "manager"], marks=pytest.mark.slow),
        pytest.param(["vouch", "a@b.test", "--why", "x"], marks=pytest.mark.slow),
        ["serve", "--port", "0"],
    ],
)
def test_every_command_ends_with_one_sentence_and_2(
    later: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    from provisioning_pipeline.cli.main import app

    url = later
    for name, value in (COMPLETE | {"REGISTRY_URL": url, "TENANT_CLUSTER_URL": url}).items():
        monkeypatch.setenv(PREFIX + name, value)
    # nobody listens there
    for name in ("TWENTY_BASE_URL", "CLERK_BASE_URL"):
        monkeypatch.setenv(PREFIX + name, "http://127.0.0.1:9")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert [line for line in result.stderr.splitlines() if "by a later version of this program" in line]


def test_a_ledger_that_was_taken_down_to_nothing_is_made_anew(sandbox_postgres: SandboxPostgres, migrated: str) -> None:
    url = sandbox_postgres.create_database("schema_nothing")
    sandbox_postgres.execute(
        "schema_nothing", "CREATE SCHEMA provisioning; CREATE TABLE provisioning.alembic_version (version_num text)"
    )
    assert read(url, lambda ledger: revisions.revision(ledger.database)) is None
    schema.migrate(url)
    assert read(url, lambda ledger: revisions.revision(ledger.database)) == revisions.HEAD
    sandbox_postgres.drop_database("schema_nothing")


def test_a_server_goes_on_with_a_ledger_that_a_later_version_updates_meanwhile(
    url_of: Callable[[str], str], sandbox_postgres: SandboxPostgres
) -> None:
    """The rule of migrations is that they only add; so what an older server asks for is still there."""
    url = url_of("later")
    name = url.rpartition("/")[2].partition("?")[0]
    sandbox_postgres.execute(name, "ALTER TABLE provisioning.tenant_link ADD COLUMN of_later text DEFAULT 'x'")
    settings = Settings.model_validate({"registry_url": url, **_rest()})

    async def ask() -> Any:
        async with LedgerAccess(settings.registry_url.get_secret_value()) as ledger:
            found = await ledger.ask(lambda database: Ledger(database).tenant_rows())
            return found, await ledger.ask(revisions.revision)

    assert asyncio.run(ask()) == ([], LATER)


def test_a_server_counts_a_ledger_that_was_restored_in_part_as_away(url_of: Callable[[str], str]) -> None:
    settings = Settings.model_validate({"registry_url": url_of("empty"), **_rest()})

    async def ask() -> None:
        async with LedgerAccess(settings.registry_url.get_secret_value()) as ledger:
            await ledger.ask(lambda database: Ledger(database).tenant_rows())

    with pytest.raises(LedgerAway):
        asyncio.run(ask())


def test_an_earlier_ledger_is_to_be_migrated(sandbox_postgres: SandboxPostgres) -> None:
    from alembic import command

    url = sandbox_postgres.create_database("schema_earlier")
    command.upgrade(schema.alembic_config(url), "0004")
    with pytest.raises(Fault, match="Run `provisioning migrate`"):
        read(url, lambda ledger: ledger.links())
    schema.migrate(url)
    assert read(url, lambda ledger: revisions.revision(ledger.database)) == revisions.HEAD
    sandbox_postgres.drop_database("schema_earlier")


def test_a_ledger_of_0007_keeps_its_keys_and_tenants(sandbox_postgres: SandboxPostgres) -> None:
    """Its keys may do all as before; a tenant whose organization an earlier version erased gets none by a key."""
    from alembic import command

    url = sandbox_postgres.create_database("schema_0007")
    command.upgrade(schema.alembic_config(url), "0007")
    sandbox_postgres.execute(
        "schema_0007",
        """
        INSERT INTO provisioning.api_key (id, name, hash) VALUES ('0123456789ab', 'tenant-manager', 'x');
        INSERT INTO provisioning.tenant_link (database_name, slug, clerk_org_id) VALUES
            ('d1', 'has', 'org_1'), ('d2', 'erased', NULL), ('d3', 'emptied', NULL), ('d4', 'never', NULL);
        INSERT INTO provisioning.member_link
            (database_name, clerk_user_id, twenty_user_id, email, first_name, last_name, run_id)
        SELECT d, 'user_' || d, gen_random_uuid(), 'a@acme.test', 'A', 'B', 'r1' FROM unnest('{d1,d2}'::text[]) d;
        INSERT INTO provisioning.known_at_clerk (database_name, email) VALUES ('d3', 'a@acme.test');
        """,
    )

    schema.migrate(url)

    (key,) = read(url, lambda ledger: ApiKeys(ledger.database).all())
    assert (key.name, key.scopes, key.reach) == ("tenant-manager", EVERY_SCOPE, EVERY_TENANT)
    assert sandbox_postgres.execute(
        "schema_0007",
        "SELECT slug, clerk_org_id, organization_moved_at IS NOT NULL, registered_by_key FROM provisioning.tenant_link"
        " ORDER BY database_name",
    ) == [
        ("has", "org_1", False, None),
        ("erased", None, True, None),
        ("emptied", None, True, None),
        ("never", None, False, None),
    ]
    command.downgrade(schema.alembic_config(url), "0007")
    schema.migrate(url)
    sandbox_postgres.drop_database("schema_0007")


def _rest() -> dict[str, str]:
    return {name.lower(): value for name, value in COMPLETE.items() if name != "REGISTRY_URL"}
