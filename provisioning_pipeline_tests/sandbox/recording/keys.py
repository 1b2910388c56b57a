"""API keys: what one may do, records by one, and what becomes of it when its maker goes."""

from provisioning_pipeline_tests.sandbox.recording import steps
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Stage
from provisioning_pipeline_tests.sandbox.recording.steps import SERVICE, UNKNOWN_ID

UNTIL = "2031-01-01T00:00:00.000Z"
CREATE = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { id name revokedAt role { label } } }"
GENERATE = """mutation($key: UUID!, $until: String!) {
  generateApiKeyToken(apiKeyId: $key, expiresAt: $until) { token } }"""
REVOKE = "mutation($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) { id } }"
LIST = "{ apiKeys { name revokedAt role { label } } }"
MEMBERS = "{ workspaceMembers { totalCount } }"
WRITE_RECORD = """mutation($member: UUID!, $data: WorkspaceMemberUpdateInput!) {
  updateWorkspaceMember(id: $member, data: $data) { name { firstName lastName } } }"""


def _key(recorder: Recorder, admin: str, name: str, role: str) -> tuple[str, str]:
    """A new key: its id and its token."""
    key = recorder.get(CREATE, admin, input={"name": name, "expiresAt": UNTIL, "roleId": role})["id"]
    return str(key), str(recorder.get(GENERATE, admin, key=key, until=UNTIL)["token"])


def making(recorder: Recorder, stage: Stage) -> None:
    """Who may, and for which role."""
    admin = stage.tokens["first"]
    held = steps.roles(recorder, admin)
    for label, token, role in (
        ("no token", None, held["Admin"]),
        ("by a Member", stage.tokens["ann"], held["Admin"]),
        ("agnostic", stage.tokens["service agnostic"], held["Admin"]),
        ("a role that is for people", admin, held["Member"]),
        ("no such role", admin, UNKNOWN_ID),
        ("right", admin, held["Admin"]),
    ):
        recorder.keep(label, CREATE, token, input={"name": "bot", "expiresAt": UNTIL, "roleId": role})
    recorder.keep("a token for no such key", GENERATE, admin, key=UNKNOWN_ID, until=UNTIL)
    recorder.keep("list, by a Member", LIST, stage.tokens["ann"])
    recorder.keep("list", LIST, admin)


def using(recorder: Recorder, stage: Stage) -> None:
    """What a key with the role Admin may do: much, but nothing that only a person does."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    held = steps.roles(recorder, admin)
    _, key = _key(recorder, admin, "doer", held["Admin"])
    ann = steps.member_id(recorder, first, "ann@mail.example")
    user = steps.user_id(recorder, "ann@mail.example")
    for label, query, variables in (
        ("currentUser", steps.ME, {}),
        ("currentWorkspace", steps.WORKSPACE, {}),
        ("getRoles", steps.ROLES, {}),
        ("name", steps.SET_NAME, {"member": ann, "update": steps.named("Ann", "By key")}),
        ("name of nobody", steps.SET_NAME, {"member": UNKNOWN_ID, "update": steps.named("A", "B")}),
        ("role", steps.SET_ROLE, {"member": ann, "role": held["Member"]}),
        ("remove", steps.REMOVE, {"member": ann}),
        ("impersonate", steps.IMPERSONATE, {"user": user, "workspace": first}),
        ("invite", steps.INVITE, {"emails": []}),
        ("invitations", steps.INVITATIONS, {}),
        ("skip the mailbox", steps.SKIP_MAILBOX, {}),
        ("skip the apps", steps.SKIP_APPS, {}),
        ("activate", steps.ACTIVATE, {}),
        ("create a workspace", steps.CREATE, {"name": "Of a key", "subdomain": "of-a-key"}),
        ("switch the link", steps.UPDATE, {"data": {"isPublicInviteLinkEnabled": True}}),
        ("create a key", CREATE, {"input": {"name": "x", "expiresAt": UNTIL, "roleId": held["Admin"]}}),
        ("list keys", LIST, {}),
    ):
        recorder.keep(label, query, key, **variables)


def reading(recorder: Recorder, stage: Stage) -> None:
    """A key whose role may read records, and nothing else."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    wanted = {"label": "Reader", "canReadAllObjectRecords": True, "canBeAssignedToApiKeys": True}
    role = recorder.get(
        "mutation($input: CreateRoleInput!) { createOneRole(createRoleInput: $input) { id } }", admin, input=wanted
    )["id"]
    _, key = _key(recorder, admin, "reader", role)
    ann = steps.member_id(recorder, first, "ann@mail.example")
    recorder.keep("currentWorkspace", "{ currentWorkspace { inviteHash } }", key)
    recorder.keep("getRoles", steps.ROLES, key)
    recorder.keep("invitations", steps.INVITATIONS, key)
    recorder.keep("name", steps.SET_NAME, key, member=ann, update=steps.named("A", "B"))
    recorder.keep("records", "{ workspaceMembers { edges { node { userEmail } } } }", key, "/graphql")


def records(recorder: Recorder, stage: Stage) -> None:
    """The record API: it clears no step, and knows a hundred calls a minute by a key."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    held = steps.roles(recorder, admin)
    _, key = _key(recorder, admin, "caller", held["Admin"])
    own = steps.member_id(recorder, first, SERVICE)
    recorder.keep("name of a member", WRITE_RECORD, admin, "/graphql", member=own, data={"name": {"firstName": "Ser"}})
    recorder.keep("still its step", "{ currentUser { onboardingStatus } }", admin)
    recorder.keep("of nobody", WRITE_RECORD, admin, "/graphql", member=UNKNOWN_ID, data={"name": {"firstName": "A"}})
    recorder.keep("with an early token", WRITE_RECORD, stage.tokens["first early"], "/graphql", member=own, data={})
    delete = "mutation($member: UUID!) { deleteWorkspaceMember(id: $member) { id } }"
    recorder.keep("delete a member", delete, admin, "/graphql", member=own)
    recorder.keep("no token", MEMBERS, None, "/graphql")
    for _ in range(100):
        recorder.ask(MEMBERS, key, "/graphql")
    recorder.keep("more than a hundred by a key", MEMBERS, key, "/graphql")
    recorder.keep("by a person all the same", MEMBERS, admin, "/graphql")


def outliving(recorder: Recorder, stage: Stage) -> None:
    """A key that a removed admin had made goes on, until somebody revokes it."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    held = steps.roles(recorder, admin)
    member = steps.member_id(recorder, first, "cyd@mail.example")
    recorder.get(steps.SET_ROLE, admin, member=member, role=held["Admin"])
    identifier, key = _key(recorder, steps.log_in(recorder, "cyd@mail.example", "first"), "of somebody", held["Admin"])
    recorder.get(steps.REMOVE, admin, member=steps.member_id(recorder, first, "cyd@mail.example"))
    recorder.keep("after its maker was removed", "{ currentWorkspace { inviteHash } }", key)
    recorder.keep("list after that", LIST, admin)
    columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'core' AND table_name = 'apiKey'"
    recorder.rows("who made one is not kept", columns + " AND column_name ILIKE '%user%'")
    recorder.keep("revoke, by a Member", REVOKE, stage.tokens["ann"], input={"id": identifier})
    recorder.keep("revoke", REVOKE, admin, input={"id": identifier})
    recorder.keep("after it was revoked", "{ currentWorkspace { inviteHash } }", key)
    recorder.keep("revoke nothing", REVOKE, admin, input={"id": UNKNOWN_ID})
