"""A small client for the tests of the stand-in Twenty."""

from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from provisioning_pipeline.sandbox.postgres import SandboxPostgres


def new_database(postgres: SandboxPostgres) -> str:
    """A fresh, empty database in the cluster; its URL."""
    name = f"twenty_{uuid4().hex[:12]}"
    postgres.create_database(name)
    return postgres.url(name)


def sql(database: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What one statement gives, past the server."""
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def name_of(member: str, first: str, last: str) -> dict[str, Any]:
    """The input that gives a member this name."""
    return {"workspaceMemberId": member, "update": {"name": {"firstName": first, "lastName": last}}}


class Client:
    """Sends GraphQL and hands back the JSON."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx2.Client(base_url=base_url, timeout=20, verify=False)

    def ask(self, query: str, token: str | None = None, path: str = "/metadata", **variables: Any) -> dict[str, Any]:
        """One call, whatever it answers."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = self.http.post(path, json={"query": query, "variables": variables}, headers=headers)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def get(self, query: str, token: str | None = None, path: str = "/metadata", **variables: Any) -> Any:
        """The value of the one root field; fails on an error."""
        answer = self.ask(query, token, path, **variables)
        assert "errors" not in answer, answer
        (value,) = answer["data"].values()
        return value

    def error(self, query: str, token: str | None = None, path: str = "/metadata", **variables: Any) -> dict[str, Any]:
        """The one error of a call that must fail."""
        (entry,) = self.ask(query, token, path, **variables)["errors"]
        return {"message": entry["message"], **entry.get("extensions", {})}

    # The calls that every test makes on its way to what it is about.

    def sign_up(self, email: str, password: str = "Passw0rd!") -> str:
        """A new account; the agnostic token."""
        query = """mutation($e: String!, $p: String!) { signUp(email: $e, password: $p) {
          tokens { accessOrWorkspaceAgnosticToken { token } } } }"""
        answer = self.get(query, e=email, p=password)
        return str(answer["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])

    def exchange(self, login_token: str, subdomain: str) -> str:
        """A session in a workspace; the access token."""
        query = """mutation($l: String!, $o: String!) {
          getAuthTokensFromLoginToken(loginToken: $l, origin: $o) {
            tokens { accessOrWorkspaceAgnosticToken { token } } } }"""
        answer = self.get(query, l=login_token, o=f"http://{subdomain}.localhost/")
        return str(answer["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])

    def login(self, email: str, subdomain: str, password: str = "Passw0rd!") -> str:
        """A session in a workspace of one's own; the access token."""
        answer = self.get(LOGIN, e=email, p=password, o=f"http://{subdomain}.localhost/")
        return self.exchange(answer["loginToken"]["token"], subdomain)

    def create(self, token: str, subdomain: str) -> str:
        """A workspace that waits for its activation; the early access token."""
        answer = self.get(CREATE, token, i={"displayName": subdomain.title(), "subdomain": subdomain})
        return self.exchange(answer["loginToken"]["token"], subdomain)

    def found(self, email: str, subdomain: str) -> str:
        """A new account with an active workspace; its access token."""
        early = self.create(self.sign_up(email), subdomain)
        self.get(ACTIVATE, early)
        return self.login(email, subdomain)

    def join(self, email: str, owner: str, subdomain: str) -> str:
        """A person comes in by the workspace's link; the access token."""
        answer = self.get(JOIN, e=email, p="Passw0rd!", h=self.invite_hash(owner))
        return self.exchange(answer["loginToken"]["token"], subdomain)

    def invite_hash(self, token: str) -> str:
        """What the workspace's link carries."""
        return str(self.get("{ currentWorkspace { inviteHash } }", token)["inviteHash"])

    def me(self, token: str) -> dict[str, Any]:
        """Who the token speaks for, and what they would see."""
        user: dict[str, Any] = self.get(
            "{ currentUser { id workspaceMember { id roles { label } } currentWorkspace { id } } }",
            token,
        )
        return user

    def status(self, token: str) -> str:
        """The step that this user would be shown."""
        return str(self.get("{ currentUser { onboardingStatus } }", token)["onboardingStatus"])


LOGIN = """mutation($e: String!, $p: String!, $o: String!) {
  getLoginTokenFromCredentials(email: $e, password: $p, origin: $o) { loginToken { token } } }"""
CREATE = """mutation($i: SignUpInNewWorkspaceInput) { signUpInNewWorkspace(input: $i) {
  loginToken { token } workspace { id } } }"""
ACTIVATE = "mutation { activateWorkspace(data: {}) { id activationStatus } }"
JOIN = """mutation($e: String!, $p: String!, $h: String) {
  signUpInWorkspace(email: $e, password: $p, workspaceInviteHash: $h) { loginToken { token } } }"""
SETTINGS = "mutation($i: UpdateWorkspaceMemberSettingsInput!) { updateWorkspaceMemberSettings(input: $i) }"
INVITE = "mutation($e: [String!]!) { sendInvitations(emails: $e) { success errors result { id } } }"
INSTALL = "mutation { triggerInstallAppsOnboardingStep(universalIdentifiers: []) { success } }"
SKIP_SYNC = "mutation { skipSyncEmailOnboardingStep { success } }"
REMOVE = "mutation($m: String!) { deleteUserFromWorkspace(workspaceMemberIdToDelete: $m) { id } }"
ROLE = "mutation($m: UUID!, $r: UUID!) { updateWorkspaceMemberRole(workspaceMemberId: $m, roleId: $r) { id } }"
IMPERSONATE = """mutation($u: UUID!, $w: UUID!) { impersonate(userId: $u, workspaceId: $w) {
  loginToken { token } } }"""
MEMBERS = "{ workspaceMembers { totalCount edges { node { userEmail } } } }"
EXCHANGE = """mutation($l: String!, $o: String!) {
  getAuthTokensFromLoginToken(loginToken: $l, origin: $o) { tokens { refreshToken { token } } } }"""
SIGN_UP = 'mutation($e: String!) { signUp(email: $e, password: "Passw0rd!") { __typename } }'
