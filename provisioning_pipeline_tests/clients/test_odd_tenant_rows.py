"""Whatever the rows of a tenant's database say, a look ends in a look, and costs no more than its limits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from provisioning_pipeline.clients.tenant_database import look
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.tenant import ANN, AT, Tenant

pytestmark = pytest.mark.anyio


def free(tenant: Tenant, *tables: str) -> None:
    """The owner drops all that keeps odd rows out of these tables."""
    for table in tables:
        tenant.sql(f'CREATE TABLE core.free AS TABLE core."{table}"')
        tenant.sql(f'DROP TABLE core."{table}" CASCADE')
        tenant.sql(f'ALTER TABLE core.free RENAME TO "{table}"')


async def test_odd_rows_are_left_out_and_the_others_stay(tenant: Tenant) -> None:
    acme = tenant.insert(ANN)
    flag = tenant.flag(hand_made.INVITE_TEAM, None, acme.id)
    free(tenant, "workspace", "user", "userWorkspace", "keyValuePair", "role", "roleTarget")
    tenant.sql('INSERT INTO core.workspace (id, "displayName") VALUES (NULL, %s)', "nameless")
    tenant.sql('INSERT INTO core."user" (id, email) VALUES (NULL, NULL)')
    tenant.sql('INSERT INTO core."userWorkspace" ("workspaceId", "userId") VALUES (%s, NULL), (NULL, NULL)', acme.id)
    tenant.sql("INSERT INTO core.role (id, label) VALUES (NULL, NULL)")
    tenant.sql('INSERT INTO core."roleTarget" ("roleId") VALUES (NULL)')
    tenant.sql(
        'INSERT INTO core."keyValuePair" (key, type, value)'
        ' SELECT key, type, value FROM core."keyValuePair" UNION ALL SELECT NULL, NULL, NULL'
    )
    tenant.sql('UPDATE core.workspace SET "deletedAt" = NULL')
    found = await tenant.look()
    assert found.reason is None
    assert found.flags == (flag,)
    (workspace,) = found.workspaces
    assert [(member.email, member.role) for member in workspace.members] == [("ann@acme.example", "Admin")]


VALUES = {
    "nested 1,500 deep": "(repeat('[', 1500) || repeat(']', 1500))::jsonb",
    "a number of 5,000 digits": "repeat('9', 5000)::jsonb",
    "a number that is too great": "'1e131071'::jsonb",
    "a word of a million letters": "to_jsonb(repeat('x', 1000000))",
    "null": "'null'::jsonb",
    "nothing": "NULL",
    "not true": "'[true]'::jsonb",
    "the word true": "'\"true\"'::jsonb",
}


@pytest.fixture(scope="module")
def odd(sandbox_postgres: SandboxPostgres, tenant_template: str) -> Iterator[Tenant]:
    sandbox_postgres.create_database("odd_values", template=tenant_template)
    yield Tenant(sandbox_postgres, "odd_values")
    sandbox_postgres.drop_database("odd_values")


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_no_odd_value_of_an_onboarding_row_is_taken_for_true(odd: Tenant, value: str) -> None:
    odd.sql('DELETE FROM core."keyValuePair"')
    odd.sql(
        f"""INSERT INTO core."keyValuePair" (key, value, "userId") VALUES ('{hand_made.INVITE_TEAM}', {value},"""
        ' (SELECT id FROM core."user" LIMIT 1))'
    )
    found = await odd.look()
    assert (found.reason, len(found.flags)) == (None, 1)
    assert found.flags[0].value is not True
    assert len(str(found.flags[0].value)) <= 100


async def test_names_are_cut_and_have_no_control_characters(tenant: Tenant) -> None:
    tenant.insert(ANN)
    tenant.sql("""UPDATE core.workspace SET "displayName" = E'A\\x1b]0;x\\x07\\nB' || repeat('x', 1000000)""")
    tenant.sql("""UPDATE core."user" SET "firstName" = E'\\x1b[2J', email = repeat('x', 300) || '@acme.example'""")
    (workspace,) = (await tenant.look()).workspaces
    assert workspace.display_name.startswith("A ]0;x  B")
    assert len(workspace.display_name) <= 200
    assert [(member.email, member.first_name) for member in workspace.members] == [("", "[2J")]


async def test_bytes_that_are_no_text_harm_their_own_row_alone(sandbox_postgres: SandboxPostgres) -> None:
    name = "no_encoding"
    sandbox_postgres.execute(
        "postgres", f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    tenant = Tenant(sandbox_postgres, name)
    try:
        tenant.sql('CREATE SCHEMA core; CREATE TABLE core.workspace (id text, "displayName" text)')
        tenant.sql(r"INSERT INTO core.workspace VALUES (E'\xff', 'gone'), ('1', E'Caf\xe9'), ('2', E'Caf\xc3\xa9')")
        found = await tenant.look()
    finally:
        sandbox_postgres.drop_database(name)
    names = {workspace.workspace_id: workspace.display_name for workspace in found.workspaces}
    assert names == {"1": "Caf\ufffd", "2": "Café"}


# --- too much -----------------------------------------------------------------------------------------------------


async def test_more_rows_than_the_limit_are_told_with_table_and_limit(tenant: Tenant) -> None:
    tenant.sql("""INSERT INTO core."user" (email) SELECT n || '@acme.example' FROM generate_series(1, 21) n""")
    assert (await tenant.look(most_rows=1_000)).reason is None
    found = await tenant.look(most_rows=20)
    assert found.reason is Reason.TENANT_DATABASE_TOO_LARGE
    assert 'core."user" has more than 20 rows' in found.message
    assert "PROVISIONING_TENANT_DATABASE_ROWS" in found.message


async def test_rows_that_matter_to_nobody_are_not_counted(tenant: Tenant) -> None:
    acme = tenant.insert(ANN)
    tenant.sql("INSERT INTO core.\"keyValuePair\" (key, value) SELECT n, '1' FROM generate_series(1, 50) n")
    tenant.sql(
        'INSERT INTO core."objectMetadata" ("workspaceId", "nameSingular") SELECT %s, n FROM generate_series(1, 50) n',
        acme.id,
    )
    found = await tenant.look(most_rows=40)
    assert found.reason is None
    assert found.workspaces[0].has_metadata


async def test_more_kinds_of_steps_than_any_twenty_has_are_told(tenant: Tenant) -> None:
    tenant.sql(
        "INSERT INTO core.\"keyValuePair\" (key, value) SELECT 'ONBOARDING_' || n || '_PENDING', 'true'"
        " FROM generate_series(1, 101) n"
    )
    found = await tenant.look()
    assert found.reason is Reason.TENANT_DATABASE_TOO_LARGE
    assert "100 kinds" in found.message


async def test_a_row_that_is_short_on_disk_and_long_as_text_is_never_held(tenant: Tenant) -> None:
    # 40 numbers of 131,072 digits each take no more than a few bytes there
    tenant.sql(
        'INSERT INTO core."keyValuePair" (key, value)'
        " SELECT 'x', to_jsonb(array_agg('1e131071'::numeric)) FROM generate_series(1, 40)"
    )
    found = await tenant.look(most_rows=1_000)
    assert found.reason is Reason.TENANT_DATABASE_TOO_LARGE
    assert 'with core."keyValuePair", more than 800,000 bytes came' in found.message


@pytest.mark.slow
async def test_neither_many_rows_nor_a_great_one_takes_memory(tenant: Tenant) -> None:
    free(tenant, "keyValuePair")
    tenant.sql(
        'INSERT INTO core."keyValuePair" (id, key, value, type, "userId")'
        f" SELECT gen_random_uuid(), '{hand_made.INVITE_TEAM}', 'true', 'USER_VARIABLE', gen_random_uuid()"
        " FROM generate_series(1, 400000)"
    )
    begun = _memory(most=False)
    found = await tenant.look()
    assert 'core."keyValuePair" has more than 10,000 rows' in found.message
    tenant.sql("INSERT INTO core.workspace (\"displayName\", subdomain) SELECT repeat('x', 150000000), 'x'")
    found = await tenant.look(statement_seconds=60, seconds=60)
    assert 'with core."workspace", more than 8,000,000 bytes came' in found.message
    assert _memory(most=True) - begun < 60_000_000


def _memory(*, most: bool) -> int:
    """Bytes that this process holds; or held at most since this was asked without `most`."""
    if not most:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


# --- a server that does not answer --------------------------------------------------------------------------------


@asynccontextmanager
async def silenced(postgres: SandboxPostgres, after: bytes | None) -> AsyncIterator[str]:
    """A way to the cluster on which nothing comes back once the client sent these bytes; for None, from the start."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, on = await asyncio.open_connection("127.0.0.1", postgres.port)
        silent = after is None

        async def back() -> None:
            while (data := await there.read(65_536)) and not silent:
                writer.write(data)

        passing = asyncio.ensure_future(back())
        while data := await reader.read(65_536):
            silent = silent or bool(after and after in data)
            on.write(data)
        passing.cancel()
        on.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield postgres.url().replace(f":{postgres.port}/", f":{port}/")
    server.close()


@pytest.mark.parametrize("after", [None, b"BEGIN", b'COPY "core"', b"ROLLBACK"])
async def test_a_server_that_falls_silent_ends_one_look(tenant: Tenant, after: bytes | None) -> None:
    tenant.insert(ANN)
    async with silenced(tenant.postgres, after) as url:
        found = await look(url, tenant.name, "", AT, seconds=0.3)
    assert (found.reason, found.vanished) == (Reason.DATABASE_UNREACHABLE, False)
    assert "it took longer than 0.3 s" in found.message
