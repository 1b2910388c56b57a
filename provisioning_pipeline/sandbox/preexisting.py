"""People who are in Twenty before the pipeline meets them, in every state that it must survive.

Real are the calls: accounts, memberships, roles and removals are made through the stand-in's own HTTP API. SQL makes
only what no call of Twenty makes: halves of a membership, an e-mail with capitals, a step that joining does not leave.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import cycle
from typing import Any

import httpx2
import psycopg
from psycopg import sql

from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.fleet import ADMIN, MEMBER, InProcess
from provisioning_pipeline.sandbox.people import Person, staff
from provisioning_pipeline.sandbox.registry import REGISTRY_DATABASE
from provisioning_pipeline.sandbox.sandbox import Sandbox

ELSEWHERE = "elsewhere"
"""Subdomain of the workspace that belongs to no tenant."""
FOREIGN_PASSWORD = "Chosen-by-themselves-1"


class State(StrEnum):
    """How a person is in Twenty who is a member of the tenant's organization at Clerk."""

    FOREIGN_PASSWORD = "foreign password"
    """An account with a password of their own; not in the workspace."""
    OTHER_WORKSPACE = "other workspace"
    """An account with the derived password; member of another workspace only."""
    ADMIN_AT_TWENTY = "admin at Twenty only"
    """A member with name and no pending step, whose role is Admin, while Clerk says org:member."""
    ADMIN_AT_CLERK = "admin at Clerk only"
    """A member with name and no pending step, whose role is Member, while Clerk says org:admin."""
    TIE_WITHOUT_RECORD = "membership without member record"
    """Half a member: a row of `userWorkspace` with its role, but none of `workspaceMember`."""
    RECORD_WITHOUT_TIE = "member record without membership"
    """Half a member: a row of `workspaceMember`, but neither one of `userWorkspace` nor a role."""
    STEPS_PENDING = "steps pending"
    """A member without a name, for whom every step of the wizard that a person can have is pending."""
    CAPITALS = "e-mail with capitals"
    """An account with the derived password, whose e-mail is stored in capitals; not in the workspace."""
    DELETED_ACCOUNT = "deleted account"
    """Was a member and was removed; as that was their only workspace, the account is soft-deleted."""


@dataclass(frozen=True)
class Place:
    """A tenant's organization and workspace."""

    slug: str
    organization_id: str
    workspace_id: str


@dataclass(frozen=True)
class Preexisting:
    """What was done for one person.

    `email` is in lower case, as Twenty writes its own; `account_id` is that of the Twenty account.
    """

    state: State
    slug: str
    email: str
    first_name: str
    last_name: str
    clerk_user_id: str
    clerk_role: str
    account_id: str


def places_of(sandbox: Sandbox) -> list[Place]:
    """The tenants that the pipeline gave a workspace, as the registry names them."""
    rows = sandbox.postgres.execute(
        REGISTRY_DATABASE,
        "SELECT slug, clerk_org_id, twenty_workspace_id::text FROM tenant_registry "
        "WHERE clerk_org_id IS NOT NULL AND twenty_workspace_id IS NOT NULL ORDER BY slug",
    )
    return [Place(*row) for row in rows]


def seed_preexisting(
    sandbox: Sandbox,
    places: Sequence[Place],
    per_tenant: int,
    password_of: Callable[[str], str],
    states: Sequence[State] = tuple(State),
) -> list[Preexisting]:
    """Add so many people to each tenant's organization at Clerk, who are in Twenty already.

    The states take turns, from one tenant to the next too. The workspaces must be active and the service account an
    Admin in them, as the pipeline leaves them. The people are new to Clerk: those of the same company that come after
    the members that the organization has.

    Args:
        password_of: the password that the pipeline derives for an e-mail.
    """
    directory, found, turns = InProcess(sandbox.clerk), list[Preexisting](), cycle(states)
    with closing(Servers(sandbox)) as servers:
        for place in places:
            workspace = servers.workspace(place.workspace_id)
            known = len(sandbox.clerk.state.members_of(place.organization_id))
            for person in staff(f"{place.slug}.example", known + per_tenant)[known:]:
                state = next(turns)
                role = ADMIN if state is State.ADMIN_AT_CLERK else MEMBER
                user_id = directory.person(person)
                directory.join(place.organization_id, user_id, role)
                account = _ACTIONS[state](workspace, person, password_of(person.email.lower()))
                email = person.email.lower()
                found.append(
                    Preexisting(state, place.slug, email, person.first_name, person.last_name, user_id, role, account)
                )
    return found


# --- Twenty ---------------------------------------------------------------------------------------------------------


class Servers:
    """The sandbox's Twenty servers, as its service account sees them. Close it at the end."""

    def __init__(self, sandbox: Sandbox) -> None:
        environment = sandbox.environment()
        several = json.loads(environment.get("PROVISIONING_TWENTY_SERVERS", "[]"))
        single = {
            name: environment.get(f"PROVISIONING_TWENTY_{name.upper()}")
            for name in ("base_url", "database_url", "service_email", "service_password")
        }
        hosts = [server.options.public_host for server in sandbox.twenty]
        self.all = [
            Server(entry["base_url"], entry["database_url"], entry["service_email"], entry["service_password"], host)
            for entry, host in zip(several or [single], hosts, strict=True)
        ]

    def close(self) -> None:
        for server in self.all:
            server.close()

    def workspace(self, workspace_id: str) -> "Workspace":
        """A workspace on whichever server it is."""
        for server in self.all:
            row = server.database.execute("SELECT 1 FROM core.workspace WHERE id = %s", [workspace_id]).fetchone()
            if row is not None:
                return Workspace(server, workspace_id)
        message = f"no Twenty server has workspace {workspace_id}"
        raise LookupError(message)


class Server:
    """One Twenty server: its API over plain HTTP, and its database."""

    def __init__(self, base_url: str, database_url: str, service_email: str, password: str, host: str) -> None:
        # no certificates: it is HTTP on this machine
        self._http = httpx2.Client(base_url=base_url, timeout=30, verify=False, trust_env=False)
        self.database: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(database_url, autocommit=True)
        self.service = {"email": service_email, "password": password}
        self.host = host

    def close(self) -> None:
        self._http.close()
        self.database.close()

    def call(self, document: str, token: str | None = None, **variables: Any) -> Any:
        """What the document's one root field answers."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = self._http.post("/metadata", json={"query": document, "variables": variables}, headers=headers)
        found = answer.raise_for_status().json()
        if found.get("errors"):
            raise RuntimeError(f"{found['errors'][0]['message']} in answer to {document}")
        (value,) = found["data"].values()
        return value

    def sign_up(self, email: str, password: str) -> str:
        """A new account without a workspace; its token."""
        return _token(self.call(_SIGN_UP, email=email, password=password))

    def make_workspace(self, subdomain: str) -> "Workspace":
        """A new, active workspace of the service account."""
        agnostic = _token(self.call(_SIGN_IN, **self.service))
        made = self.call(_CREATE, agnostic, displayName=subdomain.title(), subdomain=subdomain)
        workspace = Workspace(self, made["workspace"]["id"])
        self.call("mutation { activateWorkspace(data: {}) { id } }", workspace.exchange(made))
        return workspace

    @cached_property
    def elsewhere(self) -> "Workspace":
        """The workspace that belongs to no tenant."""
        row = self.database.execute("SELECT id::text FROM core.workspace WHERE subdomain = %s", [ELSEWHERE]).fetchone()
        return Workspace(self, row[0]) if row else self.make_workspace(ELSEWHERE)

    def account_id(self, email: str) -> str:
        """The account with this e-mail in lower case; a deleted one where there is no other."""
        row = self.database.execute(
            'SELECT id::text FROM core."user" WHERE lower(email) = %s ORDER BY "deletedAt" NULLS FIRST LIMIT 1', [email]
        ).fetchone()
        assert row is not None
        return str(row[0])


class Workspace:
    """One workspace, as its service account steers it."""

    def __init__(self, server: Server, workspace_id: str) -> None:
        self.server = server
        self.id = workspace_id

    @cached_property
    def origin(self) -> str:
        return f"http://{self._row('subdomain')}.{self.server.host}/"

    @cached_property
    def members(self) -> sql.Composed:
        """Its own table of members."""
        return sql.SQL('{}."workspaceMember"').format(sql.Identifier(self._row("databaseSchema")))

    @cached_property
    def service(self) -> str:
        """The service account's token in it."""
        return self.log_in(**self.server.service)

    @cached_property
    def invite_hash(self) -> str:
        return str(self.server.call("{ currentWorkspace { inviteHash } }", self.service)["inviteHash"])

    @cached_property
    def roles(self) -> dict[str, str]:
        """Ids by label."""
        return {role["label"]: role["id"] for role in self.server.call("{ getRoles { id label } }", self.service)}

    def _row(self, column: str) -> str:
        query = sql.SQL("SELECT {} FROM core.workspace WHERE id = %s").format(sql.Identifier(column))
        row = self.server.database.execute(query, [self.id]).fetchone()
        assert row is not None
        return str(row[0])

    def log_in(self, email: str, password: str) -> str:
        """A person's token in it."""
        return self.exchange(self.server.call(_LOG_IN, email=email, password=password, origin=self.origin))

    def exchange(self, answer: dict[str, Any]) -> str:
        """The token for a login token."""
        return _token(self.server.call(_EXCHANGE, login=answer["loginToken"]["token"], origin=self.origin))

    def join(self, email: str, password: str) -> str:
        """Make a person a member by the invite link; their token."""
        return self.exchange(self.server.call(_JOIN, email=email, password=password, hash=self.invite_hash))

    def member_id(self, account: str) -> str:
        """The id of a person's member record."""
        query = sql.SQL('SELECT id::text FROM {} WHERE "userId" = %s').format(self.members)
        row = self.server.database.execute(query, [account]).fetchone()
        assert row is not None
        return str(row[0])

    def settle(self, person: Person, password: str) -> str:
        """Make a person a member who has a name and no pending step; the id of their account."""
        email = person.email.lower()
        token = self.join(email, password)
        account = self.server.account_id(email)
        name = {"firstName": person.first_name, "lastName": person.last_name}
        self.server.call(_SET_NAME, self.service, member=self.member_id(account), update={"name": name})
        self.server.call(_SKIP_APPS, token)
        return account


def _token(answer: dict[str, Any]) -> str:
    return str(answer["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])


# --- the states: each puts one person into it and returns the id of their account -----------------------------------


def _foreign_password(workspace: Workspace, person: Person, _: str) -> str:
    workspace.server.sign_up(person.email.lower(), FOREIGN_PASSWORD)
    return workspace.server.account_id(person.email.lower())


def _other_workspace(workspace: Workspace, person: Person, password: str) -> str:
    return workspace.server.elsewhere.settle(person, password)


def _admin_at_twenty(workspace: Workspace, person: Person, password: str) -> str:
    account = workspace.settle(person, password)
    member, role = workspace.member_id(account), workspace.roles["Admin"]
    workspace.server.call(_SET_ROLE, workspace.service, member=member, role=role)
    return account


def _admin_at_clerk(workspace: Workspace, person: Person, password: str) -> str:
    return workspace.settle(person, password)


def _tie_without_record(workspace: Workspace, person: Person, password: str) -> str:
    account = workspace.settle(person, password)
    workspace.server.database.execute(
        sql.SQL('DELETE FROM {} WHERE "userId" = %s').format(workspace.members), [account]
    )
    return account


def _record_without_tie(workspace: Workspace, person: Person, password: str) -> str:
    account = workspace.settle(person, password)
    workspace.server.database.execute(
        'WITH gone AS (DELETE FROM core."userWorkspace" WHERE "userId" = %s AND "workspaceId" = %s RETURNING id)'
        ' DELETE FROM core."roleTarget" WHERE "userWorkspaceId" IN (SELECT id FROM gone)',
        [account, workspace.id],
    )
    return account


def _steps_pending(workspace: Workspace, person: Person, password: str) -> str:
    workspace.join(person.email.lower(), password)
    account = workspace.server.account_id(person.email.lower())
    # joining leaves the other two; this one a creator has, and a person who was made by hand
    hand_made.insert_onboarding(
        workspace.server.database, hand_made.CONNECT_ACCOUNT, value=True, user_id=account, workspace_id=workspace.id
    )
    return account


def _capitals(workspace: Workspace, person: Person, password: str) -> str:
    email = person.email.lower()
    workspace.server.sign_up(email, password)
    workspace.server.database.execute('UPDATE core."user" SET email = upper(email) WHERE email = %s', [email])
    return workspace.server.account_id(email)


def _deleted_account(workspace: Workspace, person: Person, password: str) -> str:
    account = workspace.settle(person, password)
    workspace.server.call(_REMOVE, workspace.service, member=workspace.member_id(account))
    return account


_ACTIONS: dict[State, Callable[[Workspace, Person, str], str]] = {
    State.FOREIGN_PASSWORD: _foreign_password,
    State.OTHER_WORKSPACE: _other_workspace,
    State.ADMIN_AT_TWENTY: _admin_at_twenty,
    State.ADMIN_AT_CLERK: _admin_at_clerk,
    State.TIE_WITHOUT_RECORD: _tie_without_record,
    State.RECORD_WITHOUT_TIE: _record_without_tie,
    State.STEPS_PENDING: _steps_pending,
    State.CAPITALS: _capitals,
    State.DELETED_ACCOUNT: _deleted_account,
}

_TOKENS = "{ tokens { accessOrWorkspaceAgnosticToken { token } } }"
_SIGN_UP = f"mutation($email: String!, $password: String!) {{ signUp(email: $email, password: $password) {_TOKENS} }}"
_SIGN_IN = f"mutation($email: String!, $password: String!) {{ signIn(email: $email, password: $password) {_TOKENS} }}"
_LOG_IN = """mutation($email: String!, $password: String!, $origin: String!) {
  getLoginTokenFromCredentials(email: $email, password: $password, origin: $origin) { loginToken { token } } }"""
_EXCHANGE = f"""mutation($login: String!, $origin: String!) {{
  getAuthTokensFromLoginToken(loginToken: $login, origin: $origin) {_TOKENS} }}"""
_CREATE = """mutation($displayName: String, $subdomain: String) {
  signUpInNewWorkspace(input: {displayName: $displayName, subdomain: $subdomain}) {
    loginToken { token } workspace { id } } }"""
_JOIN = """mutation($email: String!, $password: String!, $hash: String) {
  signUpInWorkspace(email: $email, password: $password, workspaceInviteHash: $hash) { loginToken { token } } }"""
_SET_NAME = """mutation($member: UUID!, $update: JSON!) {
  updateWorkspaceMemberSettings(input: {workspaceMemberId: $member, update: $update}) }"""
_SET_ROLE = """mutation($member: UUID!, $role: UUID!) {
  updateWorkspaceMemberRole(workspaceMemberId: $member, roleId: $role) { id } }"""
_SKIP_APPS = "mutation { triggerInstallAppsOnboardingStep(universalIdentifiers: []) { success } }"
_REMOVE = "mutation($member: String!) { deleteUserFromWorkspace(workspaceMemberIdToDelete: $member) { id } }"
