"""A workspace whose members are locked out and let in again: an empty role, records marked as deleted, keys revoked."""

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline_tests.sandbox.recording import keys, steps
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Stage
from provisioning_pipeline_tests.sandbox.recording.steps import PASSWORD, UNKNOWN_ID

EMPTY = "Nothing at all"
IVY = "ivy@mail.example"
MARK = operations.MARK_MEMBER_RECORD.document
LONG_AFTER = "2999-01-01T00:00:00Z"
DEFAULT = "mutation($role: UUID!) { updateWorkspace(data: {defaultRoleId: $role}) { defaultRole { label } } }"
HELD = """{ getRoles { label permissionFlags { id } objectPermissions { objectMetadataId }
  workspaceMembers { userEmail } } }"""
RECORDS = "{ companies(first: 1) { totalCount } }"


def _ways_in(recorder: Recorder, stage: Stage, when: str, access: str, refresh: str) -> str:
    """What a session from before may do, and whether another begins; the token that renews it the next time."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    member, user = steps.member_id(recorder, first, IVY), steps.user_id(recorder, IVY)
    recorder.keep(f"{when}: records", RECORDS, access, "/graphql")
    recorder.keep(f"{when}: members", "{ workspaceMembers(first: 1) { edges { node { id } } } }", access, "/graphql")
    recorder.keep(f"{when}: own name", steps.SET_NAME, access, member=member, update=steps.named("Ivy", "Own"))
    recorder.keep(f"{when}: own mark off", MARK, access, "/graphql", id=member, deletedAt=None)
    recorder.keep(f"{when}: a role", steps.SET_ROLE, access, member=member, role=UNKNOWN_ID)
    recorder.keep(f"{when}: currentUser", steps.ME, access)
    renewed = recorder.keep(f"{when}: renewal", steps.RENEW, token=refresh)
    steps.keep_login(recorder, f"{when}: login", IVY, "first")
    login = recorder.keep(f"{when}: impersonation", steps.IMPERSONATE, admin, user=user, workspace=first)
    origin, token = recorder.origin("first"), login["data"]["impersonate"]["loginToken"]["token"]
    recorder.keep(f"{when}: impersonation exchanged", steps.EXCHANGE, login=token, origin=origin)
    recorder.keep(f"{when}: join", steps.JOIN, email=IVY, password=PASSWORD, hash=stage.hashes["first"])
    recorder.keep(f"{when}: invite", steps.INVITE, admin, emails=[IVY])
    return refresh if "errors" in renewed else str(renewed["data"]["renewToken"]["tokens"]["refreshToken"]["token"])


def locking(recorder: Recorder, stage: Stage) -> None:
    """One member loses role and record, and gets both back; so does a key."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    held = steps.roles(recorder, admin)
    steps.join(recorder, stage, IVY, "first")
    origin = recorder.origin("first")
    login = recorder.get(steps.LOGIN, email=IVY, password=PASSWORD, origin=origin)["loginToken"]["token"]
    tokens = recorder.get(steps.EXCHANGE, login=login, origin=origin)["tokens"]
    access, refresh = tokens["accessOrWorkspaceAgnosticToken"]["token"], tokens["refreshToken"]["token"]
    refresh = _ways_in(recorder, stage, "before", access, refresh)

    create = operations.CREATE_EMPTY_ROLE.document
    recorder.keep("a role, by a Member", create, access, label=EMPTY, description=None)
    empty = recorder.get(create, admin, label=EMPTY, description=None)["id"]
    recorder.keep("a second role of one label", create, admin, label=EMPTY, description=None)
    recorder.keep("as the default", DEFAULT, admin, role=empty)
    member = steps.member_id(recorder, first, IVY)
    recorder.keep("role", steps.SET_ROLE, admin, member=member, role=empty)
    refresh = _ways_in(recorder, stage, "without rights", access, refresh)

    recorder.keep("mark, by a Member", MARK, stage.tokens["ann"], "/graphql", id=member, deletedAt=LONG_AFTER)
    recorder.keep("mark", MARK, admin, "/graphql", id=member, deletedAt=LONG_AFTER)
    recorder.keep("mark again", MARK, admin, "/graphql", id=member, deletedAt=LONG_AFTER)
    recorder.keep("mark nobody", MARK, admin, "/graphql", id=UNKNOWN_ID, deletedAt=LONG_AFTER)
    recorder.keep("role of a marked one", steps.SET_ROLE, admin, member=member, role=held["Member"])
    recorder.keep("holders", HELD, admin)
    _ways_in(recorder, stage, "locked", access, refresh)

    key = recorder.get(keys.CREATE, admin, input={"name": "locked", "expiresAt": keys.UNTIL, "roleId": held["Admin"]})[
        "id"
    ]
    token = recorder.get(keys.GENERATE, admin, key=key, until=keys.UNTIL)["token"]
    recorder.get(keys.REVOKE, admin, input={"id": key})
    recorder.keep("a revoked key", steps.WORKSPACE, token)
    recorder.keep("restore a key, by a Member", operations.RESTORE_API_KEY.document, stage.tokens["ann"], id=key)
    recorder.keep("restore no key", operations.RESTORE_API_KEY.document, admin, id=UNKNOWN_ID)
    recorder.keep("restore a key", operations.RESTORE_API_KEY.document, admin, id=key)
    recorder.keep("a restored key", "{ currentWorkspace { subdomain } }", token)
    recorder.get(keys.REVOKE, admin, input={"id": key})

    delete = operations.DELETE_ROLE.document
    recorder.keep("delete the default role", delete, admin, roleId=empty)
    recorder.keep("the default again", DEFAULT, admin, role=held["Member"])
    recorder.keep("mark off", MARK, admin, "/graphql", id=member, deletedAt=None)
    recorder.keep("role again", steps.SET_ROLE, admin, member=member, role=held["Member"])
    recorder.keep("delete a role", delete, admin, roleId=empty)
    recorder.keep("delete no role", delete, admin, roleId=empty)
    _ways_in(recorder, stage, "unlocked", access, refresh)
    recorder.get(steps.REMOVE, admin, member=member)
