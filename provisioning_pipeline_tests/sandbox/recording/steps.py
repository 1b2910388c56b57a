"""The calls that scenarios are made of, and the documents that they send."""

from typing import Any

from provisioning_pipeline_tests.sandbox.recording.recorder import Answer, Recorder, Stage

SERVICE, SERVICE_PASSWORD = "provisioner@platform.test", "a-long-service-password"
PASSWORD = "Passw0rd!member"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

_TOKENS = "{ tokens { accessOrWorkspaceAgnosticToken { token expiresAt } refreshToken { token } } }"
_LOGIN = "{ loginToken { token expiresAt } workspace { id workspaceUrls { subdomainUrl customUrl } } }"
SIGN_UP = "mutation($email: String!, $password: String!) { signUp(email: $email, password: $password) " + _TOKENS + " }"
SIGN_IN = """mutation($email: String!, $password: String!) { signIn(email: $email, password: $password) {
  tokens { accessOrWorkspaceAgnosticToken { token } }
  availableWorkspaces {
    availableWorkspacesForSignIn { displayName } availableWorkspacesForSignUp { displayName } } } }"""
CREATE = (
    "mutation($name: String, $subdomain: String) {"
    " signUpInNewWorkspace(input: {displayName: $name, subdomain: $subdomain}) " + _LOGIN + " }"
)
EXCHANGE = (
    "mutation($login: String!, $origin: String!) {"
    " getAuthTokensFromLoginToken(loginToken: $login, origin: $origin) " + _TOKENS + " }"
)
LOGIN = """mutation($email: String!, $password: String!, $origin: String!) {
  getLoginTokenFromCredentials(email: $email, password: $password, origin: $origin) { loginToken { token } } }"""
JOIN = (
    "mutation($email: String!, $password: String!, $hash: String) {"
    " signUpInWorkspace(email: $email, password: $password, workspaceInviteHash: $hash) " + _LOGIN + " }"
)
JOIN_BY_INVITATION = (
    "mutation($email: String!, $password: String!, $workspace: UUID, $token: String) {"
    " signUpInWorkspace(email: $email, password: $password, workspaceId: $workspace,"
    " workspacePersonalInviteToken: $token) " + _LOGIN + " }"
)
RENEW = "mutation($token: String!) { renewToken(appToken: $token) " + _TOKENS + " }"
ACTIVATE = "mutation { activateWorkspace(data: {}) { id activationStatus } }"
ME = """{ currentUser { id email onboardingStatus currentWorkspace { id activationStatus }
  workspaceMember { id name { firstName lastName } } } }"""
WORKSPACE = "{ currentWorkspace { id displayName subdomain inviteHash isPublicInviteLinkEnabled activationStatus } }"
ROLES = "{ getRoles { id label canUpdateAllSettings canBeAssignedToUsers isEditable } }"
UPDATE = "mutation($data: UpdateWorkspaceInput!) { updateWorkspace(data: $data) { id } }"
SET_ROLE = """mutation($member: UUID!, $role: UUID!) {
  updateWorkspaceMemberRole(workspaceMemberId: $member, roleId: $role) { id } }"""
SET_NAME = """mutation($member: UUID!, $update: JSON!) {
  updateWorkspaceMemberSettings(input: {workspaceMemberId: $member, update: $update}) }"""
IMPERSONATE = """mutation($user: UUID!, $workspace: UUID!) { impersonate(userId: $user, workspaceId: $workspace) {
  loginToken { token } workspace { id } } }"""
REMOVE = "mutation($member: String!) { deleteUserFromWorkspace(workspaceMemberIdToDelete: $member) { id } }"
SKIP_MAILBOX = "mutation { skipSyncEmailOnboardingStep { success } }"
SKIP_APPS = "mutation { triggerInstallAppsOnboardingStep(universalIdentifiers: []) { success } }"
INVITE = """mutation($emails: [String!]!, $role: UUID) { sendInvitations(emails: $emails, roleId: $role) {
  success errors result { email roleId } } }"""
INVITATIONS = "{ findWorkspaceInvitations { id email roleId } }"
DELETE_INVITATION = "mutation($id: String!) { deleteWorkspaceInvitation(appTokenId: $id) }"
DELETE_WORKSPACE = "mutation { deleteCurrentWorkspace { id } }"


def named(first: str, last: str) -> dict[str, Any]:
    """The update that gives a member a name."""
    return {"name": {"firstName": first, "lastName": last}}


def token_of(body: Answer) -> str:
    """The access or agnostic token of an answer that has one."""
    (value,) = body["data"].values()
    return str(value["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])


def sign_up(recorder: Recorder, email: str, password: str = PASSWORD) -> str:
    """A new account; its agnostic token."""
    value = recorder.get(SIGN_UP, email=email, password=password)
    return str(value["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])


def log_in(recorder: Recorder, email: str, subdomain: str, password: str = PASSWORD) -> str:
    """A session in a workspace; its access token."""
    origin = recorder.origin(subdomain)
    login = recorder.get(LOGIN, email=email, password=password, origin=origin)["loginToken"]["token"]
    value = recorder.get(EXCHANGE, login=login, origin=origin)
    return str(value["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])


def keep_login(recorder: Recorder, label: str, email: str, subdomain: str, password: str = PASSWORD) -> str | None:
    """Both steps of a login, kept: the second one, or the first where that is refused. The token, if there is one."""
    origin = recorder.origin(subdomain)
    first = recorder.ask(LOGIN, email=email, password=password, origin=origin)
    body: Answer = first.json()
    if "errors" in body:
        recorder.note(label, {"status": first.status_code, **body})
        return None
    login = body["data"]["getLoginTokenFromCredentials"]["loginToken"]["token"]
    body = recorder.keep(label, EXCHANGE, login=login, origin=origin)
    return None if "errors" in body else token_of(body)


def make_workspace(recorder: Recorder, stage: Stage, subdomain: str, owner: str = "service agnostic") -> None:
    """An active workspace of the service account, with its token, id and link on the stage."""
    value = recorder.get(CREATE, stage.tokens[owner], name=subdomain.title(), subdomain=subdomain)
    origin, login = recorder.origin(subdomain), value["loginToken"]["token"]
    early = recorder.get(EXCHANGE, login=login, origin=origin)["tokens"]["accessOrWorkspaceAgnosticToken"]["token"]
    recorder.get(ACTIVATE, early)
    enter(recorder, stage, subdomain)


def enter(recorder: Recorder, stage: Stage, subdomain: str) -> None:
    """A new session of the service account in a workspace of its own, on the stage."""
    stage.tokens[subdomain] = log_in(recorder, SERVICE, subdomain, SERVICE_PASSWORD)
    shown = recorder.get(WORKSPACE, stage.tokens[subdomain])
    stage.workspaces[subdomain], stage.hashes[subdomain] = shown["id"], shown["inviteHash"]


def join(recorder: Recorder, stage: Stage, email: str, subdomain: str, password: str = PASSWORD) -> None:
    """Somebody comes in by the link."""
    recorder.get(JOIN, email=email, password=password, hash=stage.hashes[subdomain])


def roles(recorder: Recorder, token: str) -> dict[str, str]:
    """Ids of a workspace's roles by label."""
    return {role["label"]: role["id"] for role in recorder.get(ROLES, token)}


def schema(recorder: Recorder, workspace_id: str) -> str:
    """The schema that holds a workspace's records."""
    return str(recorder.sql('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace_id)[0][0])


def member_id(recorder: Recorder, workspace_id: str, email: str) -> str:
    """The id of somebody's record in a workspace."""
    table = f'"{schema(recorder, workspace_id)}"."workspaceMember"'
    return str(recorder.sql(f'SELECT id FROM {table} WHERE "userEmail" = %s', email)[0][0])


def user_id(recorder: Recorder, email: str) -> str:
    """The id of somebody's account."""
    return str(recorder.sql('SELECT id FROM core."user" WHERE email = %s AND "deletedAt" IS NULL', email)[0][0])


def role_held(recorder: Recorder, label: str, email: str, workspace_id: str) -> None:
    """Keep which role somebody holds in a workspace, as the tables say."""
    recorder.rows(
        label,
        'SELECT r.label FROM core."user" u JOIN core."userWorkspace" uw ON uw."userId" = u.id'
        ' AND uw."deletedAt" IS NULL JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id'
        ' JOIN core.role r ON r.id = t."roleId" WHERE u.email = %s AND uw."workspaceId" = %s',
        email,
        workspace_id,
    )


def as_member(recorder: Recorder, admin: str, user: str, workspace_id: str, subdomain: str) -> str:
    """A session as somebody else, through impersonation."""
    login = recorder.get(IMPERSONATE, admin, user=user, workspace=workspace_id)["loginToken"]["token"]
    value = recorder.get(EXCHANGE, login=login, origin=recorder.origin(subdomain))
    return str(value["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])
