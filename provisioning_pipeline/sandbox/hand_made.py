"""Workspaces as a tenant manager writes them into its databases with SQL, past Twenty's own services."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from provisioning_pipeline.sandbox.registry import NAMESPACE, SeededMember
from provisioning_pipeline.sandbox.roles import grant

Connection = psycopg.Connection[tuple[Any, ...]]

INSTALL_APPS = "ONBOARDING_INSTALL_APPS_PENDING"
CONNECT_ACCOUNT = "ONBOARDING_CONNECT_ACCOUNT_PENDING"
CREATE_PROFILE = "ONBOARDING_CREATE_PROFILE_PENDING"
INVITE_TEAM = "ONBOARDING_INVITE_TEAM_PENDING"


@dataclass(frozen=True)
class HandMadeWorkspace:
    """Ids of what was inserted; `users` in the order of the members."""

    id: str
    users: tuple[str, ...]


def insert_workspace(
    connection: Connection,
    slug: str,
    name: str,
    members: Sequence[SeededMember],
    *,
    database_schema: str | None = None,
    role_workspace_id: str | None = None,
) -> HandMadeWorkspace:
    """A workspace row that claims to be ACTIVE, with users and roles, but nothing that Twenty needs.

    Args:
        database_schema: what its `databaseSchema` says.
        role_workspace_id: the workspace that its role rows name; None for the right one.
    """
    workspace_id = str(uuid.uuid5(NAMESPACE, f"workspace {slug}"))
    role_ids = {"Admin": str(uuid.uuid4()), "Member": str(uuid.uuid4())}
    users: list[str] = []
    with connection.transaction():
        connection.execute(
            'INSERT INTO core.workspace (id, "displayName", subdomain, "inviteHash", "activationStatus",'
            ' "databaseSchema", "defaultRoleId") VALUES (%s, %s, %s, %s, %s, %s, %s)',
            (
                workspace_id,
                name,
                slug or "workspace",
                uuid.uuid4().hex,
                "ACTIVE",
                database_schema,
                role_ids["Member"],
            ),
        )
        for label, role_id in role_ids.items():
            connection.execute(
                'INSERT INTO core.role (id, label, "workspaceId", "canUpdateAllSettings") VALUES (%s, %s, %s, %s)',
                [role_id, label, role_workspace_id or workspace_id, label == "Admin"],
            )
        for member in members:
            role_id = role_ids["Admin" if member.role == "org:admin" else "Member"]
            users.append(_insert_member(connection, workspace_id, member, role_id))
    return HandMadeWorkspace(workspace_id, tuple(users))


def _insert_member(connection: Connection, workspace_id: str, member: SeededMember, role_id: str) -> str:
    user_id, user_workspace_id = str(uuid.uuid4()), str(uuid.uuid4())
    connection.execute(
        'INSERT INTO core."user" (id, email, "firstName", "lastName", "isEmailVerified") VALUES (%s, %s, %s, %s, true)',
        [user_id, member.email.lower(), member.first_name, member.last_name],
    )
    connection.execute(
        'INSERT INTO core."userWorkspace" (id, "userId", "workspaceId") VALUES (%s, %s, %s)',
        [user_workspace_id, user_id, workspace_id],
    )
    connection.execute(
        'INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId") VALUES (%s, %s, %s)',
        [workspace_id, role_id, user_workspace_id],
    )
    return user_id


def insert_onboarding(
    connection: Connection, key: str, value: Any, *, user_id: str | None, workspace_id: str | None
) -> None:
    """One onboarding row at the level that the two ids make; `value` is the JSON value as Python."""
    connection.execute(
        'INSERT INTO core."keyValuePair" (key, value, "userId", "workspaceId") VALUES (%s, %s, %s, %s)',
        [key, json.dumps(value), user_id, workspace_id],
    )


def create_empty_schema(connection: Connection, name: str) -> None:
    """A workspace schema with an empty member table."""
    schema = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    connection.execute(
        sql.SQL(
            'CREATE TABLE {}."workspaceMember" (id uuid PRIMARY KEY, "userId" uuid, "nameFirstName" text,'
            ' "nameLastName" text, "userEmail" text)'
        ).format(schema)
    )
    grant(connection)


def core_schema() -> str:
    """The DDL of Twenty's schema `core`, which the tenant manager copies into its databases."""
    return (resources.files("provisioning_pipeline.sandbox.twenty") / "core.sql").read_text("utf-8")


def create_core(connection: Connection) -> None:
    """A whole copy of `core`, with the rights of the role for tenant databases."""
    connection.execute(core_schema().encode())
    grant(connection)


def create_partial_core(connection: Connection) -> None:
    """A copy of `core` that stopped after two tables."""
    connection.execute("CREATE SCHEMA core")
    connection.execute(
        'CREATE TABLE core."user" (id uuid PRIMARY KEY, email text, "createdAt" timestamptz DEFAULT now())'
    )
    connection.execute('CREATE TABLE core.workspace (id uuid PRIMARY KEY, "displayName" text, subdomain text UNIQUE)')
    grant(connection)
