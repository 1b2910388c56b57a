"""How a user comes into a workspace and goes out of it, statement by statement as the real server does.

Joining is not one transaction there, so it is not here: a failure in the middle leaves what came before.
"""

from uuid import UUID

import psycopg.errors
from psycopg.sql import SQL

from provisioning_pipeline.sandbox.twenty import onboarding
from provisioning_pipeline.sandbox.twenty.callers import member_of, membership
from provisioning_pipeline.sandbox.twenty.errors import TwentyError, forbidden, internal, no_role
from provisioning_pipeline.sandbox.twenty.invitation_tokens import delete_invitation
from provisioning_pipeline.sandbox.twenty.runtime import Runtime
from provisioning_pipeline.sandbox.twenty.store import Row, Session, members_table

ADMIN_ROLE = UUID("20202020-02c2-43f2-b94d-cab1f2b532eb")
"""`universalIdentifier` of every workspace's Admin role (recorded on 2.21.0)."""


async def create_tie(db: Session, user_id: UUID, workspace_id: UUID) -> Row:
    """The row of `userWorkspace`."""
    query = 'INSERT INTO core."userWorkspace" ("userId", "workspaceId") VALUES (%s, %s) RETURNING *'
    return await db.the(query, user_id, workspace_id)


async def create_member(db: Session, user: Row, workspace: Row) -> None:
    """The person's record inside the workspace, unless it is there."""
    if await member_of(db, workspace, user["id"]) is not None:
        return
    try:
        await db.run(
            SQL(
                'INSERT INTO {} ("userId", "userEmail", "nameFirstName", "nameLastName", locale)'
                " VALUES (%s, %s, %s, %s, %s)"
            ).format(members_table(workspace["databaseSchema"])),
            user["id"],
            user["email"],
            user["firstName"],
            user["lastName"],
            user["locale"],
        )
    except psycopg.errors.UniqueViolation:
        # Another record has the e-mail, a soft-deleted one of the same person too, and the membership that was made
        # before this stays (recorded on 2.21.0).
        raise internal(
            "A duplicate entry was detected", "This record already exists. Please check your data and try again."
        ) from None


async def assign_role(db: Session, workspace_id: UUID, user_workspace_id: UUID, role_id: UUID) -> None:
    """Give a member a role in place of the one it has."""
    await db.run('DELETE FROM core."roleTarget" WHERE "userWorkspaceId" = %s', user_workspace_id)
    await db.run(
        'INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId") VALUES (%s, %s, %s)',
        workspace_id,
        role_id,
        user_workspace_id,
    )


async def check_assignable_to_users(db: Session, role_id: UUID, workspace_id: UUID) -> None:
    """An invitation may name a role only if people may have it (source only)."""
    role = await db.one('SELECT * FROM core."role" WHERE id = %s AND "workspaceId" = %s', role_id, workspace_id)
    if role is None:
        raise TwentyError("Role not found", "NOT_FOUND", "ROLE_NOT_FOUND", "Role not found.")
    if not role["canBeAssignedToUsers"]:
        message = "Role cannot be assigned to users"
        raise TwentyError(message, "BAD_USER_INPUT", "ROLE_CANNOT_BE_ASSIGNED_TO_USERS", message)


async def add_to_workspace(runtime: Runtime, user: Row, workspace: Row, role_id: UUID | None = None) -> None:
    """Make an account a member, if it is none."""
    db = runtime.db
    if await membership(db, user["id"], workspace["id"]) is not None:
        return
    if role_id is not None:
        await check_assignable_to_users(db, role_id, workspace["id"])
    role_id = role_id or workspace["defaultRoleId"]
    if role_id is None:
        raise internal("Default role not found", "Default role not found.")
    tie = await create_tie(db, user["id"], workspace["id"])
    await create_member(db, user, workspace)
    await assign_role(db, workspace["id"], tie["id"], role_id)
    await delete_invitation(db, workspace["id"], user["email"])
    await onboarding.begin_for_joiner(db, runtime.options, user["id"], workspace["id"])


async def check_not_last_admin(db: Session, tie: Row, workspace: Row, refusal: TwentyError) -> None:
    """Refuse to leave a workspace without an Admin who has a member record (source only)."""
    holders = await db.all(
        SQL(
            'SELECT t."userWorkspaceId" FROM core."roleTarget" t JOIN core."role" r ON r.id = t."roleId"'
            ' JOIN core."userWorkspace" uw ON uw.id = t."userWorkspaceId" AND uw."deletedAt" IS NULL'
            ' JOIN {} m ON m."userId" = uw."userId" AND m."deletedAt" IS NULL'
            ' WHERE r."workspaceId" = %s AND r."universalIdentifier" = %s'
        ).format(members_table(workspace["databaseSchema"])),
        tie["workspaceId"],
        ADMIN_ROLE,
    )
    if [holder["userWorkspaceId"] for holder in holders] == [tie["id"]]:
        raise refusal


async def remove_from_workspace(db: Session, tie: Row, workspace: Row) -> None:
    """Take a member out; an account without a workspace is soft-deleted (recorded on 2.21.0).

    The last member takes the workspace along (source only).
    """
    table = members_table(workspace["databaseSchema"])
    members = await db.the(SQL('SELECT count(*) AS n FROM {} WHERE "deletedAt" IS NULL').format(table))
    others = await db.the(
        'SELECT count(*) AS n FROM core."userWorkspace" WHERE "userId" = %s AND id <> %s AND "deletedAt" IS NULL',
        tie["userId"],
        tie["id"],
    )
    if members["n"] == 1:
        await soft_delete_workspace(db, workspace["id"])
        return
    role = await db.one('SELECT 1 AS found FROM core."roleTarget" WHERE "userWorkspaceId" = %s', tie["id"])
    if role is None:
        raise no_role()
    await check_not_last_admin(
        db,
        tie,
        workspace,
        forbidden(
            "Cannot delete account: user is the unique admin of a workspace",
            "Cannot delete account: you are the only admin. Assign another admin or delete the workspace(s) first.",
            "CANNOT_DELETE_LAST_ADMIN_USER",
        ),
    )
    await db.run(SQL('DELETE FROM {} WHERE "userId" = %s').format(table), tie["userId"])
    await db.run('DELETE FROM core."roleTarget" WHERE "userWorkspaceId" = %s', tie["id"])
    await db.run('DELETE FROM core."userWorkspace" WHERE id = %s', tie["id"])
    if others["n"] == 0:
        await db.run('UPDATE core."user" SET "deletedAt" = now() WHERE id = %s', tie["userId"])


async def soft_delete_workspace(db: Session, workspace_id: UUID) -> None:
    """Memberships first, and with them the accounts that have no other; then the workspace."""
    await db.run(
        'UPDATE core."user" u SET "deletedAt" = now() FROM core."userWorkspace" uw'
        ' WHERE uw."workspaceId" = %s AND uw."userId" = u.id AND uw."deletedAt" IS NULL AND NOT EXISTS ('
        'SELECT 1 FROM core."userWorkspace" o'
        ' WHERE o."userId" = u.id AND o.id <> uw.id AND o."deletedAt" IS NULL)',
        workspace_id,
    )
    await db.run(
        'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "workspaceId" = %s AND "deletedAt" IS NULL',
        workspace_id,
    )
    await db.run(
        'UPDATE core."workspace" SET "activationStatus" = \'SUSPENDED\', "suspendedAt" = now(),'
        ' "deletedAt" = now(), "updatedAt" = now() WHERE id = %s',
        workspace_id,
    )
