"""A fleet with a history: one tenant in each state that a tenant manager of this kind leaves behind."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.fleet import ADMIN, MEMBER, InProcess, enrol, prepare
from provisioning_pipeline.sandbox.hand_made import Connection, HandMadeWorkspace
from provisioning_pipeline.sandbox.people import staff
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import (
    NAMESPACE,
    REGISTRY_DATABASE,
    TEMPLATE_DATABASE,
    SeededMember,
    SeededTenant,
    database_name_for,
    tenant_id,
    write_tenants,
)

MEMBERS = 3
KEPT_PASSWORD = "Tr0ub4dor-and-3-kept-in-clear"
FOREIGN_WORKSPACE = str(uuid.uuid5(NAMESPACE, "a workspace of somebody else"))


@dataclass(frozen=True)
class State:
    """One tenant of the lived-in fleet and what is odd about it."""

    slug: str
    sentence: str
    name: str = ""
    database: Literal["none", "blank", "partial", "copy"] = "blank"
    row: bool = True
    status: str = "active"
    clerk: Literal["usual", "none", "without admin", "unverified admin", "gone"] = "usual"
    database_schema: str | None = None
    role_workspace_id: str | None = None
    arrange: Callable[[Connection, HandMadeWorkspace], None] | None = None

    @property
    def display_name(self) -> str:
        return self.name or self.slug.replace("-", " ").capitalize()


def _users_without_members(connection: Connection, _: HandMadeWorkspace) -> None:
    hand_made.create_empty_schema(connection, "workspace_users_without_members")


def _partly_cleared(connection: Connection, workspace: HandMadeWorkspace) -> None:
    # The repair deleted rows by userId: the team step has none, and the last member was forgotten.
    hand_made.insert_onboarding(connection, hand_made.INVITE_TEAM, value=True, user_id=None, workspace_id=workspace.id)
    for key in (hand_made.INSTALL_APPS, hand_made.CREATE_PROFILE):
        hand_made.insert_onboarding(connection, key, value=True, user_id=workspace.users[-1], workspace_id=workspace.id)


def _odd_values(connection: Connection, workspace: HandMadeWorkspace) -> None:
    for key, value in (
        (hand_made.CONNECT_ACCOUNT, False),
        (hand_made.INSTALL_APPS, "true"),
        (hand_made.CREATE_PROFILE, True),
    ):
        hand_made.insert_onboarding(connection, key, value, user_id=workspace.users[0], workspace_id=workspace.id)


def _wider_levels(connection: Connection, workspace: HandMadeWorkspace) -> None:
    admin = workspace.users[0]
    hand_made.insert_onboarding(
        connection, hand_made.CREATE_PROFILE, value=True, user_id=None, workspace_id=workspace.id
    )
    hand_made.insert_onboarding(connection, hand_made.CONNECT_ACCOUNT, value=True, user_id=admin, workspace_id=None)
    hand_made.insert_onboarding(
        connection, hand_made.CREATE_PROFILE, value=False, user_id=admin, workspace_id=workspace.id
    )


STATES = (
    State(
        "row-without-database",
        "The registry has a row; the manager died before it created the database.",
        database="none",
        status="provisioning",
    ),
    State(
        "database-without-row",
        "There is a database, and no registry row for it.",
        name="Database Without Row AG",
        database="copy",
        row=False,
    ),
    State("database-without-schema", "The database is empty: no schema was ever copied into it."),
    State(
        "partial-core",
        "Copying Twenty's schema core stopped after two tables.",
        database="partial",
    ),
    State(
        "hand-made-workspace",
        "A workspace inserted with SQL as ACTIVE: no objectMetadata and no schema of its own.",
        database="copy",
    ),
    State(
        "schema-named-by-slug",
        "The hand-made workspace says its schema is workspace_<slug>, which Twenty would never name so.",
        database="copy",
        database_schema="workspace_schema-named-by-slug",
    ),
    State(
        "foreign-role",
        "The role rows of the hand-made workspace name another workspace's id.",
        database="copy",
        role_workspace_id=FOREIGN_WORKSPACE,
    ),
    State(
        "users-without-members",
        "The hand-made workspace has users, and an empty workspaceMember table.",
        database="copy",
        database_schema="workspace_users_without_members",
        arrange=_users_without_members,
    ),
    State(
        "onboarding-partly-cleared",
        "Onboarding rows were deleted by user: INVITE_TEAM (userId NULL) and one member's rows are left.",
        database="copy",
        arrange=_partly_cleared,
    ),
    State(
        "onboarding-odd-values",
        'Onboarding rows hold true, false and the string "true"; only the first is pending.',
        database="copy",
        arrange=_odd_values,
    ),
    State(
        "onboarding-wider-levels",
        "Onboarding rows stand at the user's and the workspace's level; a narrower false hides one of them.",
        database="copy",
        arrange=_wider_levels,
    ),
    State("", "The name is in a non-Latin script only, so the slug came out empty.", name="株式会社桜"),
    State(
        "name-cut-to-thirty-characters-because-it-was-long",
        "The slug was cut to 30 characters in the database name, and ends there in a hyphen.",
    ),
    State("slug-with-many-hyphens-in-it", "The slug is full of hyphens: do not parse the database name."),
    State("admin", "The slug is one of the subdomains that Twenty reserves.", name="Admin & Partners"),
    State("suspended-tenant", "The tenant is suspended and must be left alone.", status="suspended"),
    State("no-organization", "The registry names no Clerk organization.", clerk="none"),
    State(
        "organization-without-admin",
        "No one in the Clerk organization is an admin.",
        clerk="without admin",
    ),
    State(
        "admin-not-verified",
        "The only admin's primary e-mail at Clerk is not verified.",
        clerk="unverified admin",
    ),
    State("organization-gone", "The Clerk organization in the registry no longer exists.", clerk="gone"),
    State("password-in-url", "The registry's database_url holds a password in clear."),
)

LIVED_IN_STATES: dict[str, str] = {state.slug: state.sentence for state in STATES}
"""What is odd about each tenant of the lived-in fleet, by slug."""


def seed_lived_in(postgres: SandboxPostgres, clerk: StandInClerk) -> list[SeededTenant]:
    """One tenant per entry of `LIVED_IN_STATES`, the database without a row included."""
    prepare(postgres)
    tenants = [_enrolled(clerk, state) for state in STATES]
    paired = list(zip(STATES, tenants, strict=True))
    urls = {tenant.database_name: _kept_url(postgres, state, tenant) for state, tenant in paired}
    with postgres.connect(REGISTRY_DATABASE) as connection:
        write_tenants(connection, [tenant for state, tenant in paired if state.row], urls)
    blank = [tenant.database_name for state, tenant in paired if state.database in ("blank", "partial")]
    copies = [tenant.database_name for state, tenant in paired if state.database == "copy"]
    postgres.create_databases(blank)
    postgres.create_databases(copies, TEMPLATE_DATABASE)
    for state, tenant in paired:
        if state.database in ("partial", "copy"):
            _fill(postgres, state, tenant)
    return tenants


def _enrolled(clerk: StandInClerk, state: State) -> SeededTenant:
    people = staff(f"{state.slug or 'sakura'}.example", MEMBERS)
    directory = InProcess(clerk)
    organization_id: str | None = None
    if state.clerk == "none":
        roles = (ADMIN, *(MEMBER for _ in people[1:]))
        members = tuple(
            SeededMember(person.email, person.first_name, person.last_name, directory.person(person), role)
            for person, role in zip(people, roles, strict=True)
        )
    else:
        roles = (MEMBER,) if state.clerk == "without admin" else (ADMIN,)
        organization_id, members = enrol(directory, state.display_name, state.slug or None, people, roles)
    if state.clerk == "unverified admin":
        clerk.set_email_status(members[0].clerk_user_id, "unverified")
    if state.clerk == "gone" and organization_id is not None:
        clerk.delete_organization(organization_id)
    return SeededTenant(
        tenant_id(state.slug),
        state.slug,
        state.display_name,
        database_name_for(state.slug),
        organization_id,
        members,
        state.status,
    )


def _kept_url(postgres: SandboxPostgres, state: State, tenant: SeededTenant) -> str:
    if state.slug == "password-in-url":
        return f"postgresql://twenty_admin:{KEPT_PASSWORD}@127.0.0.1:{postgres.port}/{tenant.database_name}"
    return postgres.url(tenant.database_name)


def _fill(postgres: SandboxPostgres, state: State, tenant: SeededTenant) -> None:
    with postgres.connect(tenant.database_name) as connection:
        if state.database == "partial":
            hand_made.create_partial_core(connection)
            return
        workspace = hand_made.insert_workspace(
            connection,
            state.slug,
            tenant.name,
            tenant.members,
            database_schema=state.database_schema,
            role_workspace_id=state.role_workspace_id,
        )
        if state.arrange is not None:
            state.arrange(connection, workspace)
