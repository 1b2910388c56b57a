"""Making a workspace: the record (`signUpInNewWorkspace`) and what is behind it (`activateWorkspace`)."""

import asyncio
from uuid import UUID, uuid4

import psycopg.errors
from ariadne import MutationType
from graphql import GraphQLResolveInfo
from psycopg.sql import SQL, Identifier

from provisioning_pipeline.sandbox.twenty import onboarding, subdomains
from provisioning_pipeline.sandbox.twenty.callers import (
    require_user,
    require_workspace,
    user_by_id,
    workspace_by_id,
)
from provisioning_pipeline.sandbox.twenty.errors import (
    bad_input,
    forbidden,
    internal,
    rejected_argument,
    workspace_not_found,
)
from provisioning_pipeline.sandbox.twenty.memberships import (
    ADMIN_ROLE,
    assign_role,
    create_member,
    create_tie,
)
from provisioning_pipeline.sandbox.twenty.options import TwentyOptions
from provisioning_pipeline.sandbox.twenty.runtime import Runtime, call_of
from provisioning_pipeline.sandbox.twenty.store import Row, Session, members_table, schema_name

mutation = MutationType()

# 28 objects, as counted in a fresh workspace of 2.21.0.
_OBJECTS = """
attachment blocklist calendarChannelEventAssociation calendarEvent calendarEventParticipant callRecording
company dashboard message messageCampaign messageChannelMessageAssociation
messageChannelMessageAssociationMessageFolder messageList messageListMember messageParticipant
messageThread note noteTarget opportunity person task taskTarget timelineActivity workflow
workflowAutomatedTrigger workflowRun workflowVersion workspaceMember
"""
STANDARD_OBJECTS = _OBJECTS.split()

LONGEST_NAME = 100


@mutation.field("signUpInNewWorkspace")
async def sign_up_in_new_workspace(_: None, info: GraphQLResolveInfo, input: Row | None = None) -> Row:
    call = call_of(info)
    caller = require_user(call)
    user = await user_by_id(call.db, caller["id"])
    assert user is not None
    wanted = input or {}
    workspace = await create_workspace(call.runtime, user, wanted.get("displayName"), wanted.get("subdomain"))
    return {
        "loginToken": call.tokens.login(user["email"], workspace["id"], call.caller.provider),
        "workspace": {"id": workspace["id"], "workspaceUrls": call.runtime.workspace_urls(workspace)},
    }


async def create_workspace(runtime: Runtime, user: Row, display_name: str | None, subdomain: str | None) -> Row:
    """A workspace that waits for its activation. Not idempotent: every call makes one."""
    if len(display_name or "") > LONGEST_NAME:
        raise rejected_argument(f"displayName must be shorter than or equal to {LONGEST_NAME} characters")
    await _check_allowed(runtime, user)
    name = (display_name or "").strip()
    if not name:
        raise bad_input("Workspace name is required")
    if subdomain is not None:
        await subdomains.check(runtime.db, subdomain)
    try:
        async with runtime.db.transaction() as db:
            chosen = subdomain or (await subdomains.suggest(db, subdomains.from_email(user["email"])))[0]
            workspace = await db.the(
                'INSERT INTO core."workspace"'
                ' (id, subdomain, "displayName", "inviteHash", "activationStatus")'
                " VALUES (%s, %s, %s, %s, 'PENDING_CREATION') RETURNING *",
                uuid4(),
                chosen,
                name,
                str(uuid4()),
            )
            await create_tie(db, user["id"], workspace["id"])
            await onboarding.begin_for_creator(db, runtime.options, user["id"], workspace["id"])
    except psycopg.errors.UniqueViolation:
        # Two calls with one subdomain passed the check together; the second meets the unique index.
        if subdomain is not None:
            raise subdomains.taken() from None
        raise
    return workspace


async def _check_allowed(runtime: Runtime, user: Row) -> None:
    options = runtime.options
    row = await runtime.db.the('SELECT count(*) AS n FROM core."workspace" WHERE "deletedAt" IS NULL')
    if row["n"] == 0:
        return
    if options.workspace_limit is not None and row["n"] >= options.workspace_limit:
        raise forbidden(
            f"Cannot create more than {options.workspace_limit} workspaces without a valid enterprise key",
            "Workspace limit reached. A valid enterprise key is required to create more workspaces.",
        )
    if options.creation_limited_to_admins and not user.get("canAccessFullAdminPanel"):
        message = "Workspace creation is restricted to admins"
        raise forbidden(message, message)


@mutation.field("activateWorkspace")
async def activate_workspace(_: None, info: GraphQLResolveInfo, **_data: Row) -> Row:
    # the name in its data is ignored (recorded on 2.21.0)
    call = call_of(info)
    user, workspace = require_user(call), require_workspace(call)
    db = call.db
    if not await _take_lock(db, workspace["id"]):
        return await _made_already(db, workspace["id"])
    try:
        await asyncio.sleep(call.runtime.options.activation_seconds)
        async with db.transaction() as transaction:
            await _build(transaction, call.runtime.options, workspace, user)
    except BaseException:
        await db.run(_SET_STATUS, "PENDING_CREATION", workspace["id"])
        raise
    active = await workspace_by_id(db, workspace["id"])
    if active is None:
        raise workspace_not_found()
    return active


async def _made_already(db: Session, workspace_id: UUID) -> Row:
    """What a second activation answers: the active workspace."""
    found = await workspace_by_id(db, workspace_id)
    if found is None or found["activationStatus"] not in ("ACTIVE", "CREATED"):
        raise internal("Workspace is already being created")
    return found


_SET_STATUS = 'UPDATE core."workspace" SET "activationStatus" = %s, "updatedAt" = now() WHERE id = %s'


async def _take_lock(db: Session, workspace_id: UUID) -> bool:
    """PENDING becomes ONGOING; an ONGOING of more than 5 minutes is taken over (source only)."""
    taken = await db.run(
        'UPDATE core."workspace" SET "activationStatus" = \'ONGOING_CREATION\', "updatedAt" = now()'
        ' WHERE id = %s AND ("activationStatus" = \'PENDING_CREATION\' OR ("activationStatus" ='
        " 'ONGOING_CREATION' AND \"updatedAt\" < now() - interval '5 minutes'))",
        workspace_id,
    )
    return taken == 1


async def _build(db: Session, options: TwentyOptions, workspace: Row, user: Row) -> None:
    schema = schema_name(workspace["id"])
    await db.run(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
    await db.run(
        SQL(
            "CREATE TABLE IF NOT EXISTS {} ("
            ' id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "userId" uuid NOT NULL, "userEmail" text,'
            " \"nameFirstName\" text NOT NULL DEFAULT '', \"nameLastName\" text NOT NULL DEFAULT '',"
            " \"colorScheme\" text NOT NULL DEFAULT 'System', locale text NOT NULL DEFAULT 'en',"
            ' "avatarUrl" text, "timeZone" text NOT NULL DEFAULT \'system\','
            ' "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now(),'
            ' "deletedAt" timestamptz)'
        ).format(members_table(schema))
    )
    # Of all records, soft-deleted ones too (source only).
    await db.run(
        SQL('CREATE UNIQUE INDEX IF NOT EXISTS "IDX_UNIQUE_WORKSPACE_MEMBER_USER_EMAIL" ON {} ("userEmail")').format(
            members_table(schema)
        )
    )
    await db.run(
        'INSERT INTO core."objectMetadata" ("workspaceId", "nameSingular") SELECT %s, unnest(%s::text[])'
        " ON CONFLICT DO NOTHING",
        workspace["id"],
        STANDARD_OBJECTS,
    )
    # In this order, in which `getRoles` shows them (recorded on 2.21.0).
    member = await _standard_role(db, workspace["id"], "Member", uuid4(), all_settings=False)
    admin = await _standard_role(db, workspace["id"], "Admin", ADMIN_ROLE, all_settings=True)
    await db.run(
        'UPDATE core."workspace" SET "activationStatus" = %s, "databaseSchema" = %s,'
        ' "defaultRoleId" = %s, "updatedAt" = now() WHERE id = %s',
        # Made but not paid for (source only, from 2.23 on).
        "CREATED" if options.billing and options.traits.reversible else "ACTIVE",
        schema,
        member,
        workspace["id"],
    )
    ties = await db.all(
        'SELECT id FROM core."userWorkspace" WHERE "userId" = %s AND "workspaceId" = %s AND "deletedAt" IS NULL',
        user["id"],
        workspace["id"],
    )
    for tie in ties:
        await assign_role(db, workspace["id"], tie["id"], admin)
    active = await workspace_by_id(db, workspace["id"])
    assert active is not None
    await create_member(db, user, active)


async def _standard_role(db: Session, workspace_id: UUID, label: str, identifier: UUID, *, all_settings: bool) -> UUID:
    role = await db.the(
        'INSERT INTO core."role" ("workspaceId", label, "universalIdentifier", "isEditable",'
        ' "canUpdateAllSettings", "canAccessAllTools", "canReadAllObjectRecords",'
        ' "canUpdateAllObjectRecords", "canSoftDeleteAllObjectRecords", "canDestroyAllObjectRecords",'
        ' "canBeAssignedToUsers", "canBeAssignedToApiKeys", "canBeAssignedToAgents", "createdAt")'
        " VALUES (%s, %s, %s, %s, %s, true, true, true, true, true, true, %s, false, clock_timestamp())"
        ' ON CONFLICT (label, "workspaceId") DO UPDATE SET "updatedAt" = now() RETURNING id',
        workspace_id,
        label,
        identifier,
        not all_settings,
        all_settings,
        all_settings,
    )
    role_id = role["id"]
    assert isinstance(role_id, UUID)
    return role_id
