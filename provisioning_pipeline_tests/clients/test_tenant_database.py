"""What a look into a tenant database finds, whatever is there."""

from typing import Any
from uuid import uuid4

import pytest

from provisioning_pipeline.clients import tenant_database
from provisioning_pipeline.clients.postgres import Connection
from provisioning_pipeline.clients.tenant_database import look
from provisioning_pipeline.clients.twenty.members import schema_name
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant_database import FoundMember, FoundWorkspace, Inspection
from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.postgres import SandboxPostgres, free_port
from provisioning_pipeline_tests.clients.tenant import ANN, AT, BOB, Tenant

pytestmark = pytest.mark.anyio


# --- what a look finds ----------------------------------------------------------------------------------------------


async def test_a_hand_made_workspace_is_found_with_its_people_and_what_it_lacks(tenant: Tenant) -> None:
    acme = tenant.insert(ANN, BOB, database_schema="workspace_acme", role_workspace_id=str(uuid4()))
    ann, bob = acme.users
    assert await tenant.look() == Inspection(
        tenant.name,
        "evidence",
        AT,
        workspaces=(
            FoundWorkspace(
                acme.id,
                "Acme",
                "ACTIVE",
                has_metadata=False,
                has_schema=False,
                has_own_roles=False,
                members=tuple(
                    sorted(
                        (
                            FoundMember(ann, "ann@acme.example", "Ann", "Lee", "Admin", has_record=False),
                            FoundMember(bob, "bob@acme.example", "Bob", "Ray", "Member", has_record=False),
                        ),
                        key=lambda member: member.user_id,
                    )
                ),
            ),
        ),
    )


@pytest.mark.parametrize("named", [True, False], ids=["a schema that it names", "the schema that Twenty makes"])
async def test_a_whole_workspace_has_everything(tenant: Tenant, named: bool) -> None:
    acme = tenant.insert(ANN, BOB, database_schema="workspace_acme" if named else None)
    ann, bob = acme.users
    schema = "workspace_acme" if named else schema_name(acme.id)
    with tenant.postgres.connect(tenant.name) as connection:
        hand_made.create_empty_schema(connection, schema)
    tenant.record(schema, ann, "Anna", "Leigh")
    tenant.record(schema, bob)
    tenant.sql('INSERT INTO core."objectMetadata" ("workspaceId", "nameSingular") VALUES (%s, %s)', acme.id, "person")

    (workspace,) = (await tenant.look()).workspaces
    assert (workspace.has_metadata, workspace.has_schema, workspace.has_own_roles) == (True, True, True)
    assert set(workspace.members) == {
        FoundMember(ann, "ann@acme.example", "Anna", "Leigh", "Admin", has_record=True),
        FoundMember(bob, "bob@acme.example", "Bob", "Ray", "Member", has_record=True),
    }


async def test_a_record_that_is_deleted_or_somebody_elses_is_none(tenant: Tenant) -> None:
    acme = tenant.insert(ANN, database_schema="workspace_acme")
    with tenant.postgres.connect(tenant.name) as connection:
        hand_made.create_empty_schema(connection, "workspace_acme")
    tenant.record("workspace_acme", str(uuid4()))
    tenant.record("workspace_acme", acme.users[0])
    tenant.sql('ALTER TABLE workspace_acme."workspaceMember" ADD COLUMN "deletedAt" timestamptz DEFAULT now()')
    (workspace,) = (await tenant.look()).workspaces
    assert [member.has_record for member in workspace.members] == [False]
    assert workspace.has_schema


async def test_each_workspace_has_its_own_people_and_records(tenant: Tenant) -> None:
    acme, zenith = tenant.insert(ANN), tenant.insert(BOB, slug="zenith")
    with tenant.postgres.connect(tenant.name) as connection:
        for made in (acme, zenith):
            hand_made.create_empty_schema(connection, schema_name(made.id))
    tenant.record(schema_name(zenith.id), zenith.users[0])
    tenant.record(schema_name(acme.id), zenith.users[0])
    found = {workspace.workspace_id: workspace for workspace in (await tenant.look()).workspaces}
    assert [member.email for member in found[acme.id].members] == ["ann@acme.example"]
    assert [member.has_record for member in found[acme.id].members] == [False]
    assert [member.has_record for member in found[zenith.id].members] == [True]


async def test_an_onboarding_row_counts_whatever_its_deleted_at_says(tenant: Tenant) -> None:
    acme = tenant.insert(ANN)
    tenant.flag(hand_made.INSTALL_APPS, acme.users[0], acme.id)
    tenant.sql('UPDATE core."keyValuePair" SET "deletedAt" = now()')
    assert [flag.key for flag in (await tenant.look()).flags] == [hand_made.INSTALL_APPS]


async def test_what_is_deleted_is_not_there(tenant: Tenant) -> None:
    acme, zenith = tenant.insert(ANN, BOB), tenant.insert(slug="zenith")
    tenant.sql('UPDATE core.workspace SET "deletedAt" = now() WHERE id = %s', zenith.id)
    tenant.sql('UPDATE core."user" SET "deletedAt" = now() WHERE id = %s', acme.users[0])
    found = await tenant.look()
    assert [workspace.workspace_id for workspace in found.workspaces] == [acme.id]
    assert [member.email for member in found.workspaces[0].members] == ["bob@acme.example"]
    tenant.sql('UPDATE core."userWorkspace" SET "deletedAt" = now()')
    assert (await tenant.look()).workspaces[0].members == ()


async def test_onboarding_rows_are_found_at_every_level_with_their_ids_whatever_their_value(tenant: Tenant) -> None:
    acme = tenant.insert(ANN)
    ann = acme.users[0]
    flags = {
        tenant.flag(hand_made.INSTALL_APPS, ann, acme.id),
        tenant.flag(hand_made.CREATE_PROFILE, ann, None, value=False),
        tenant.flag(hand_made.INVITE_TEAM, None, acme.id, value="true"),
        tenant.flag("ONBOARDING_SOMETHING_NEW_PENDING", ann, acme.id, value=1),
    }
    tenant.flag("SOMETHING_ELSE", ann, acme.id)
    tenant.flag(hand_made.CONNECT_ACCOUNT, ann, acme.id)
    tenant.sql(
        'UPDATE core."keyValuePair" SET type = %s WHERE key = %s', *("CONFIG_VARIABLE", hand_made.CONNECT_ACCOUNT)
    )
    found = await tenant.look()
    assert set(found.flags) == flags
    assert {flag.key: repr(flag.value) for flag in found.flags}["ONBOARDING_SOMETHING_NEW_PENDING"] == "1"


async def test_of_several_roles_the_one_that_may_do_everything_counts(tenant: Tenant) -> None:
    acme = tenant.insert(BOB)
    tenant.sql(
        'INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId")'
        ' SELECT r."workspaceId", r.id, uw.id FROM core.role r, core."userWorkspace" uw WHERE r.label = %s',
        "Admin",
    )
    (member,) = (await tenant.look()).workspaces[0].members
    assert member == FoundMember(acme.users[0], BOB.email, "Bob", "Ray", "Admin", has_record=False)


async def test_a_member_without_a_role_has_none_and_none_of_anothers(tenant: Tenant) -> None:
    tenant.insert(BOB)
    tenant.sql('DELETE FROM core."roleTarget"')
    (workspace,) = (await tenant.look()).workspaces
    assert [member.role for member in workspace.members] == [None]
    assert workspace.has_own_roles


async def test_a_membership_that_is_there_twice_is_one_member(tenant: Tenant) -> None:
    tenant.insert(BOB)
    tenant.sql('DROP INDEX core."IDX_USER_WORKSPACE_USER_ID_WORKSPACE_ID_UNIQUE"')
    tenant.sql(
        'INSERT INTO core."userWorkspace" ("userId", "workspaceId")'
        ' SELECT "userId", "workspaceId" FROM core."userWorkspace"'
    )
    (workspace,) = (await tenant.look()).workspaces
    assert [(member.email, member.role) for member in workspace.members] == [("bob@acme.example", "Member")]


async def test_a_default_role_that_is_gone_is_not_its_own(tenant: Tenant) -> None:
    tenant.insert()
    tenant.sql('UPDATE core.workspace SET "defaultRoleId" = gen_random_uuid()')
    (workspace,) = (await tenant.look()).workspaces
    assert not workspace.has_own_roles


async def test_a_members_role_that_is_gone_is_not_its_own(tenant: Tenant) -> None:
    tenant.insert(BOB)
    tenant.sql('ALTER TABLE core."roleTarget" DROP CONSTRAINT "roleTarget_roleId_fkey"')
    tenant.sql('UPDATE core."roleTarget" SET "roleId" = gen_random_uuid()')
    (workspace,) = (await tenant.look()).workspaces
    assert [member.role for member in workspace.members] == [None]
    assert not workspace.has_own_roles


# --- parts of a schema, older schemas, none ---------------------------------------------------------------------------


async def test_a_database_without_a_schema_has_none_yet(bare: Tenant) -> None:
    found = await bare.look()
    assert (found.reason, found.vanished, found.workspaces, found.flags) == (Reason.NO_SCHEMA_YET, False, (), ())
    assert "core" in found.message


async def test_an_empty_schema_lacks_everything(bare: Tenant) -> None:
    bare.sql("CREATE SCHEMA core")
    found = await bare.look()
    assert (found.reason, found.workspaces, found.flags) == (Reason.OLDER_SCHEMA, (), ())
    for table in ("workspace", "user", "userWorkspace", "keyValuePair", "role", "roleTarget"):
        assert f'"{table}"' in found.message


async def test_of_a_partial_copy_is_read_what_is_there(bare: Tenant) -> None:
    with bare.postgres.connect(bare.name) as connection:
        hand_made.create_partial_core(connection)
    workspace_id = str(uuid4())
    bare.sql('INSERT INTO core.workspace (id, "displayName") VALUES (%s, %s)', workspace_id, "Acme")
    found = await bare.look()
    assert found.reason is Reason.OLDER_SCHEMA
    assert '"keyValuePair"' in found.message
    assert '"workspace"."activationStatus"' in found.message
    assert '"user"' not in found.message
    assert found.workspaces == (
        FoundWorkspace(workspace_id, "Acme", "", has_metadata=False, has_schema=False, has_own_roles=True),
    )


@pytest.mark.parametrize(
    ("statement", "missing", "left"),
    [
        ('DROP TABLE core."keyValuePair"', '"keyValuePair"', (1, 1, 0)),
        ('ALTER TABLE core."keyValuePair" DROP COLUMN type', '"keyValuePair"."type"', (1, 1, 0)),
        ('DROP TABLE core."userWorkspace"', '"userWorkspace"', (1, 0, 1)),
        ('DROP TABLE core."user" CASCADE', '"user"', (1, 0, 1)),
        ("DROP TABLE core.workspace CASCADE", '"workspace"', (0, 0, 1)),
        ("DROP TABLE core.role CASCADE", '"role"', (1, 1, 1)),
        ('DROP TABLE core."roleTarget"', '"roleTarget"', (1, 1, 1)),
        ('ALTER TABLE core.workspace DROP COLUMN "activationStatus"', '"workspace"."activationStatus"', (1, 1, 1)),
    ],
)
async def test_what_is_missing_is_named_and_the_rest_is_read(
    tenant: Tenant, statement: str, missing: str, left: tuple[int, int, int]
) -> None:
    acme = tenant.insert(ANN)
    tenant.flag(hand_made.INVITE_TEAM, None, acme.id)
    tenant.sql(statement)
    found = await tenant.look()
    assert found.reason is Reason.OLDER_SCHEMA
    assert f"has no {missing}:" in found.message
    members = [member for workspace in found.workspaces for member in workspace.members]
    assert (len(found.workspaces), len(members), len(found.flags)) == left


@pytest.mark.parametrize(
    "statements",
    [
        'DROP TABLE core."objectMetadata"',
        'ALTER TABLE core."roleTarget" RENAME TO "userWorkspaceRole"',
        'ALTER TABLE core."keyValuePair" DROP COLUMN "deletedAt"',
        'ALTER TABLE core.workspace DROP COLUMN "databaseSchema", DROP COLUMN "defaultRoleId"',
        'ALTER TABLE core."user" DROP COLUMN "firstName", DROP COLUMN "deletedAt" CASCADE',
    ],
)
async def test_what_other_versions_do_without_is_no_reason(tenant: Tenant, statements: str) -> None:
    acme = tenant.insert(ANN)
    flag = tenant.flag(hand_made.INVITE_TEAM, None, acme.id)
    tenant.sql(statements)
    found = await tenant.look()
    assert (found.reason, found.message, found.flags) == (None, "", (flag,))
    (workspace,) = found.workspaces
    assert [(member.email, member.role) for member in workspace.members] == [("ann@acme.example", "Admin")]
    assert not workspace.has_metadata


async def test_ids_that_are_no_uuids_are_read_too(bare: Tenant) -> None:
    bare.sql('CREATE SCHEMA core; CREATE TABLE core.workspace (id int, "displayName" text)')
    bare.sql("INSERT INTO core.workspace VALUES (1, 'Acme')")
    assert [workspace.workspace_id for workspace in (await bare.look()).workspaces] == ["1"]


# --- a database that cannot be read -----------------------------------------------------------------------------------


async def test_a_database_that_is_gone_has_vanished(sandbox_postgres: SandboxPostgres) -> None:
    found = await Tenant(sandbox_postgres, "no_such_tenant").look()
    assert (found.vanished, found.reason) == (True, Reason.DATABASE_VANISHED)


async def test_a_role_that_does_not_exist_has_not_lost_the_database(tenant: Tenant) -> None:
    url = f"postgresql://nobody_here:c4nary@127.0.0.1:{tenant.postgres.port}/postgres"
    found = await look(url, tenant.name, "", AT)
    assert (found.vanished, found.reason) == (False, Reason.DATABASE_UNREACHABLE)
    assert "c4nary" not in found.message


async def test_a_cluster_that_is_away_has_lost_nothing_and_shows_no_password() -> None:
    found = await look(f"postgresql://u:c4nary@127.0.0.1:{free_port()}/postgres", "acme", "", AT)
    assert (found.vanished, found.reason, found.workspaces) == (False, Reason.DATABASE_UNREACHABLE, ())
    assert "c4nary" not in found.message
    assert "refused" in found.message


async def test_what_our_user_may_not_read_is_told_with_the_grant(tenant: Tenant) -> None:
    tenant.postgres.execute("postgres", "CREATE ROLE blind LOGIN PASSWORD 'c4nary'")
    try:
        found = await look(f"postgresql://blind:c4nary@127.0.0.1:{tenant.postgres.port}/postgres", tenant.name, "", AT)
    finally:
        tenant.postgres.execute("postgres", "DROP ROLE blind")
    assert (found.vanished, found.reason) == (False, Reason.DATABASE_UNREACHABLE)
    assert "permission denied" in found.message
    assert "Grant our user" in found.message


async def test_a_table_that_somebody_holds_is_not_waited_for(tenant: Tenant) -> None:
    with tenant.postgres.connect(tenant.name) as connection, connection.transaction():
        connection.execute("LOCK TABLE core.workspace")
        found = await tenant.look(statement_seconds=1)
    assert (found.vanished, found.reason) == (False, Reason.DATABASE_UNREACHABLE)
    assert "lock timeout" in found.message
    assert "pg_locks" in found.message
    assert (await tenant.look()).reason is None


async def test_a_database_dropped_while_it_is_looked_into_has_vanished(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = tenant_database.begin

    async def dropped_first(connection: Connection, *rest: Any, **named: Any) -> Any:
        tenant.postgres.drop_database(tenant.name)
        return await begin(connection, *rest, **named)

    monkeypatch.setattr(tenant_database, "begin", dropped_first)
    found = await tenant.look()
    assert (found.vanished, found.reason) == (True, Reason.DATABASE_VANISHED)


async def test_a_connection_that_is_cut_is_opened_once_more(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant.insert(ANN)
    begin, cuts = tenant_database.begin, iter([True, False])

    async def cut_first(connection: Connection, *rest: Any, **named: Any) -> Any:
        if next(cuts):
            tenant.sql("SELECT pg_terminate_backend(%s, 5000)", connection.info.backend_pid)
        return await begin(connection, *rest, **named)

    monkeypatch.setattr(tenant_database, "begin", cut_first)
    found = await tenant.look()
    assert (found.reason, len(found.workspaces)) == (None, 1)
