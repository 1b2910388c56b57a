"""What schema core must have: the list of columns is all that is read, and what lacks is told by name."""

from uuid import uuid4

import psycopg
import pytest

from provisioning_pipeline.clients.twenty.contract import COLUMNS, KNOWN
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import core_sql
from provisioning_pipeline_tests.clients.core import opened

pytestmark = pytest.mark.anyio
SOMEBODY = "somebody@acme.test"


@pytest.fixture
def url(sandbox_postgres: SandboxPostgres) -> str:
    made = sandbox_postgres.create_database(f"catalogue_{uuid4().hex[:12]}")
    run(made, core_sql())
    return made


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def test_what_was_measured_is_found(url: str) -> None:
    async with opened(url) as database:
        found = await database.catalogue()
    assert found.columns == KNOWN["2.21"].columns
    assert found.activation_statuses == KNOWN["2.21"].activation_statuses


async def test_a_status_that_is_plain_text_has_no_values(url: str) -> None:
    run(url, 'ALTER TABLE core.workspace ALTER COLUMN "activationStatus" DROP DEFAULT')
    run(url, 'ALTER TABLE core.workspace ALTER COLUMN "activationStatus" TYPE text')
    async with opened(url) as database:
        found = await database.catalogue()
    assert (found.columns, found.activation_statuses) == (KNOWN["2.21"].columns, frozenset())


async def test_every_read_needs_no_other_column_than_those_that_are_listed(url: str) -> None:
    columns = run(url, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'core'")
    others = [(table, column) for table, column in columns if f"{table}.{column}" not in COLUMNS]
    assert others
    for table, column in others:
        run(url, f'ALTER TABLE core."{table}" DROP COLUMN "{column}" CASCADE')
    workspace = str(uuid4())
    async with opened(url) as database:
        now = await database.now()
        await database.has_any_user()
        await database.is_server_admin(SOMEBODY)
        await database.user_ids(SOMEBODY)
        await database.workspace_count()
        await database.unreadable_schemas()
        await database.places_taken(["acme"])
        await database.workspaces()
        await database.onboarding_rows()
        await database.members()
        await database.users()
        await database.users([SOMEBODY], [workspace])
        await database.records.roster(workspace)
        await database.has_invitation(workspace, SOMEBODY)
        await database.invitations()
        await database.workspace_state(workspace)
        await database.flags(workspace)
        await database.member_state(workspace, SOMEBODY)
        await database.workspace_left_behind("acme", SOMEBODY, now)
        await database.a_workspace_of(SOMEBODY)


async def test_all_that_lacks_is_told_and_not_only_what_was_met_first(url: str) -> None:
    run(url, 'ALTER TABLE core."roleTarget" RENAME TO "userWorkspaceRole"')
    run(url, "ALTER TABLE core.workspace RENAME COLUMN subdomain TO hostname")
    async with opened(url) as database:
        with pytest.raises(Fault) as raised:
            await database.workspaces()
    assert raised.value.reason is Reason.UNSUPPORTED_TWENTY
    for name in ("core.roleTarget.roleId", "core.roleTarget.userWorkspaceId", "core.workspace.subdomain"):
        assert name in raised.value.message
    assert "core.user" not in raised.value.message
    assert "Nothing was written" in raised.value.message


async def test_a_workspace_of_an_account_is_active_and_the_oldest(url: str) -> None:
    (user,) = run(url, f"INSERT INTO core.\"user\" (email) VALUES ('{SOMEBODY}') RETURNING id")[0]
    made = {}
    for name, status, age in (("new", "ACTIVE", 1), ("old", "ACTIVE", 2), ("waiting", "PENDING_CREATION", 3)):
        made[name] = run(
            url,
            f"""INSERT INTO core.workspace (subdomain, "activationStatus", "createdAt")
                VALUES ('{name}', '{status}', now() - interval '{age} days') RETURNING id""",
        )[0][0]
        run(url, f'INSERT INTO core."userWorkspace" ("userId", "workspaceId") VALUES (\'{user}\', \'{made[name]}\')')
    async with opened(url) as database:
        assert await database.a_workspace_of(SOMEBODY.upper()) == str(made["old"])
        assert await database.a_workspace_of("nobody@acme.test") is None
