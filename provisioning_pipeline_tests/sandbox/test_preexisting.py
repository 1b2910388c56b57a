"""People who are in Twenty beforehand: each state really is as it says."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from provisioning_pipeline.sandbox.preexisting import (
    FOREIGN_PASSWORD,
    Place,
    Preexisting,
    Server,
    Servers,
    State,
    Workspace,
    places_of,
    seed_preexisting,
)
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions

ONBOARDING = {"INSTALL_APPS", "CREATE_PROFILE", "CONNECT_ACCOUNT"}


def password_of(email: str) -> str:
    return hashlib.sha256(email.encode()).hexdigest()[:20]


@dataclass
class Seeded:
    """One tenant with one person in each state."""

    sandbox: Sandbox
    server: Server
    workspace: Workspace
    place: Place
    people: dict[State, Preexisting]

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.server.database.execute(query.encode(), parameters).fetchall()

    def account(self, state: State) -> tuple[str, bool]:
        """E-mail as it is stored, and whether the account is deleted."""
        query = 'SELECT email, "deletedAt" IS NOT NULL FROM core."user" WHERE id = %s'
        (row,) = self.rows(query, self.people[state].account_id)
        return row[0], row[1]

    def ties(self, state: State) -> list[tuple[str, str | None]]:
        """Subdomains of the workspaces that they belong to, each with the label of their role."""
        return [
            (row[0], row[1])
            for row in self.rows(
                'SELECT w.subdomain, r.label FROM core."userWorkspace" uw'
                ' JOIN core.workspace w ON w.id = uw."workspaceId"'
                ' LEFT JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id'
                ' LEFT JOIN core.role r ON r.id = t."roleId"'
                ' WHERE uw."userId" = %s AND uw."deletedAt" IS NULL',
                self.people[state].account_id,
            )
        ]

    def records(self, state: State) -> list[tuple[Any, ...]]:
        """Their names in the workspace's own table."""
        schema = self.rows('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', self.place.workspace_id)[0][0]
        query = f'SELECT "nameFirstName", "nameLastName" FROM "{schema}"."workspaceMember" WHERE "userId" = %s'
        return self.rows(query, self.people[state].account_id)

    def pending(self, state: State) -> set[str]:
        """The steps of the wizard that they would meet in the workspace."""
        rows = self.rows(
            'SELECT key FROM core."keyValuePair" WHERE "userId" = %s AND "workspaceId" = %s AND value = \'true\'',
            self.people[state].account_id,
            self.place.workspace_id,
        )
        return {key.removeprefix("ONBOARDING_").removesuffix("_PENDING") for (key,) in rows}

    def role_at_clerk(self, state: State) -> str:
        membership = self.sandbox.clerk.state.membership(self.place.organization_id, self.people[state].clerk_user_id)
        return membership.role


@pytest.fixture(scope="module")
def seeded() -> Iterator[Seeded]:
    options = SandboxOptions(tenants=1, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox, closing(Servers(sandbox)) as servers:
        (server,), (tenant,) = servers.all, sandbox.tenants
        server.sign_up(**server.service)
        workspace = server.make_workspace(tenant.slug)
        place = Place(tenant.slug, str(tenant.clerk_org_id), workspace.id)
        found = seed_preexisting(sandbox, [place], len(State), password_of)
        yield Seeded(sandbox, server, workspace, place, {person.state: person for person in found})


@pytest.mark.slow
def test_the_states_take_turns_and_everybody_is_at_clerk(seeded: Seeded) -> None:
    assert list(seeded.people) == list(State)
    assert len({person.email for person in seeded.people.values()}) == len(State)
    for state, person in seeded.people.items():
        user = seeded.sandbox.clerk.state.user(person.clerk_user_id)
        assert (str(user.primary_email).lower(), user.first_name) == (person.email, person.first_name)
        assert seeded.role_at_clerk(state) == person.clerk_role
    roles = [person.clerk_role for person in seeded.people.values()]
    assert roles.count("org:admin") == 1


def test_a_foreign_password(seeded: Seeded) -> None:
    person = seeded.people[State.FOREIGN_PASSWORD]

    assert seeded.account(State.FOREIGN_PASSWORD) == (person.email, False)
    assert seeded.ties(State.FOREIGN_PASSWORD) == []
    with pytest.raises(RuntimeError, match="Wrong password"):
        seeded.workspace.join(person.email, password_of(person.email))
    with pytest.raises(RuntimeError, match="User already exists"):
        seeded.server.sign_up(person.email, FOREIGN_PASSWORD)


def test_a_member_of_another_workspace_only(seeded: Seeded) -> None:
    person = seeded.people[State.OTHER_WORKSPACE]

    assert seeded.account(State.OTHER_WORKSPACE) == (person.email, False)
    assert seeded.ties(State.OTHER_WORKSPACE) == [("elsewhere", "Member")]
    assert seeded.records(State.OTHER_WORKSPACE) == []
    assert seeded.server.elsewhere.log_in(person.email, password_of(person.email))


@pytest.mark.parametrize(
    ("state", "at_twenty", "at_clerk"),
    [(State.ADMIN_AT_TWENTY, "Admin", "org:member"), (State.ADMIN_AT_CLERK, "Member", "org:admin")],
)
def test_only_the_role_is_wrong(seeded: Seeded, state: State, at_twenty: str, at_clerk: str) -> None:
    person = seeded.people[state]

    assert seeded.ties(state) == [(seeded.place.slug, at_twenty)]
    assert seeded.role_at_clerk(state) == at_clerk
    assert seeded.records(state) == [(person.first_name, person.last_name)]
    assert seeded.pending(state) == set()


def test_a_membership_without_a_member_record(seeded: Seeded) -> None:
    assert seeded.ties(State.TIE_WITHOUT_RECORD) == [(seeded.place.slug, "Member")]
    assert seeded.records(State.TIE_WITHOUT_RECORD) == []


def test_a_member_record_without_a_membership(seeded: Seeded) -> None:
    person = seeded.people[State.RECORD_WITHOUT_TIE]
    orphans = seeded.rows(
        'SELECT count(*) FROM core."roleTarget" t WHERE t."userWorkspaceId" IS NOT NULL'
        ' AND NOT EXISTS (SELECT 1 FROM core."userWorkspace" uw WHERE uw.id = t."userWorkspaceId")'
    )

    assert seeded.account(State.RECORD_WITHOUT_TIE) == (person.email, False)
    assert seeded.ties(State.RECORD_WITHOUT_TIE) == []
    assert seeded.records(State.RECORD_WITHOUT_TIE) == [(person.first_name, person.last_name)]
    assert orphans == [(0,)]


def test_every_step_of_a_person_pending(seeded: Seeded) -> None:
    assert seeded.ties(State.STEPS_PENDING) == [(seeded.place.slug, "Member")]
    assert seeded.records(State.STEPS_PENDING) == [("", "")]
    assert seeded.pending(State.STEPS_PENDING) == ONBOARDING


def test_an_email_with_capitals(seeded: Seeded) -> None:
    person = seeded.people[State.CAPITALS]
    stored, deleted = seeded.account(State.CAPITALS)

    assert stored != person.email
    assert (stored.lower(), deleted) == (person.email, False)
    assert seeded.ties(State.CAPITALS) == []


def test_a_deleted_account(seeded: Seeded) -> None:
    person = seeded.people[State.DELETED_ACCOUNT]

    assert seeded.account(State.DELETED_ACCOUNT) == (person.email, True)
    assert seeded.ties(State.DELETED_ACCOUNT) == []
    assert seeded.records(State.DELETED_ACCOUNT) == []


def test_tenants_that_the_registry_gives_a_workspace(seeded: Seeded) -> None:
    postgres = seeded.sandbox.postgres
    postgres.execute("tenant_manager", "ALTER TABLE tenant_registry ADD COLUMN IF NOT EXISTS twenty_workspace_id uuid")

    assert places_of(seeded.sandbox) == []

    postgres.execute("tenant_manager", "UPDATE tenant_registry SET twenty_workspace_id = %s", [seeded.workspace.id])

    assert places_of(seeded.sandbox) == [seeded.place]
