"""What a customer's admin may set, and whom that keeps out; invitations, the wizard."""

import json

from provisioning_pipeline_tests.sandbox.recording import steps
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Stage
from provisioning_pipeline_tests.sandbox.recording.steps import PASSWORD, SERVICE, SERVICE_PASSWORD


def _shut(recorder: Recorder, stage: Stage, closed: dict[str, bool], opened: dict[str, bool]) -> None:
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    user = steps.user_id(recorder, "cyd@mail.example")
    recorder.keep("set", steps.UPDATE, admin, data=closed)
    steps.keep_login(recorder, "login", SERVICE, "first", SERVICE_PASSWORD)
    recorder.keep("signIn", steps.SIGN_IN, email=SERVICE, password=SERVICE_PASSWORD)
    recorder.keep(
        "join of a new account", steps.JOIN, email="jan@mail.example", password=PASSWORD, hash=stage.hashes["first"]
    )
    recorder.keep("currentUser", steps.ME, admin)
    body = recorder.keep("impersonate", steps.IMPERSONATE, admin, user=user, workspace=first)
    if "errors" not in body:
        login = body["data"]["impersonate"]["loginToken"]["token"]
        recorder.keep("exchange of it", steps.EXCHANGE, login=login, origin=recorder.origin("first"))
    recorder.keep("set back", steps.UPDATE, admin, data=opened)


def no_passwords(recorder: Recorder, stage: Stage) -> None:
    """Login by password is switched off."""
    _shut(recorder, stage, {"isPasswordAuthEnabled": False}, {"isPasswordAuthEnabled": True})


def second_factor(recorder: Recorder, stage: Stage) -> None:
    """A second factor is asked of everybody."""
    name = "isTwoFactorAuthenticationEnforced"
    _shut(recorder, stage, {name: True}, {name: False})


def no_impersonation(recorder: Recorder, stage: Stage) -> None:
    """The workspace does not want to be entered by the server's admins."""
    _shut(recorder, stage, {"allowImpersonation": False}, {"allowImpersonation": True})


def invitations(recorder: Recorder, stage: Stage) -> None:
    """Sending, listing, deleting, and coming by one."""
    admin, ann = stage.tokens["first"], stage.tokens["ann"]
    held = steps.roles(recorder, admin)
    for label, token, emails, role in (
        ("no token", None, ["kim@mail.example"], None),
        ("by a Member", ann, ["kim@mail.example"], None),
        ("no address", admin, ["nobody"], None),
        ("no such role", admin, ["kim@mail.example"], steps.UNKNOWN_ID),
        ("one as Admin", admin, ["kim@mail.example"], held["Admin"]),
        ("the same again", admin, ["kim@mail.example"], None),
        ("a member", admin, ["ann@mail.example"], None),
        ("two", admin, ["lee@mail.example", "max@mail.example"], None),
    ):
        recorder.keep(f"send: {label}", steps.INVITE, token, emails=emails, role=role)
    recorder.keep("list, by a Member", steps.INVITATIONS, ann)
    listed = recorder.keep("list", steps.INVITATIONS, admin)["data"]["findWorkspaceInvitations"]
    ids = {entry["email"]: entry["id"] for entry in listed}
    for label, token, identifier in (
        ("by a Member", ann, ids["max@mail.example"]),
        ("right", admin, ids["max@mail.example"]),
        ("again", admin, ids["max@mail.example"]),
        ("no id", admin, "x"),
    ):
        recorder.keep(f"delete: {label}", steps.DELETE_INVITATION, token, id=identifier)
    token = recorder.sql('SELECT value FROM core."appToken" WHERE id = %s', ids["lee@mail.example"])[0][0]
    comes = {"workspace": stage.workspaces["first"], "password": PASSWORD}
    recorder.keep("by somebody else's", steps.JOIN_BY_INVITATION, email="nil@mail.example", token=token, **comes)
    recorder.keep("by a made-up one", steps.JOIN_BY_INVITATION, email="lee@mail.example", token="x", **comes)
    recorder.keep("by one's own", steps.JOIN_BY_INVITATION, email="lee@mail.example", token=token, **comes)
    recorder.rows(
        "an account that came by invitation",
        'SELECT "isEmailVerified" FROM core."user" WHERE email = %s',
        "lee@mail.example",
    )
    steps.sign_up(recorder, "kim@mail.example")
    recorder.keep(
        "wrong password of an invited account",
        steps.LOGIN,
        email="kim@mail.example",
        password="wrong-pass1",
        origin=recorder.origin("first"),
    )
    steps.role_held(recorder, "and yet a member", "kim@mail.example", stage.workspaces["first"])


def invitation_limits(recorder: Recorder, stage: Stage) -> None:
    """Ten while the step of the team is pending, and ten to one address in a week."""
    admin = stage.tokens["second"]
    eleven = [f"many-{number}@mail.example" for number in range(11)]
    recorder.keep("eleven while the step is pending", steps.INVITE, admin, emails=eleven)
    recorder.keep("the step stays", "{ currentUser { onboardingStatus } }", admin)
    recorder.keep("two", steps.INVITE, admin, emails=["many-1@mail.example", "many-2@mail.example"])
    for _ in range(10):
        made = recorder.get('mutation { sendInvitations(emails: ["often@mail.example"]) { result { id } } }', admin)[
            "result"
        ]
        recorder.get(steps.DELETE_INVITATION, admin, id=made[0]["id"])
    recorder.keep("the eleventh to one address", steps.INVITE, admin, emails=["often@mail.example"])


def the_wizard(recorder: Recorder, stage: Stage) -> None:
    """Which row shows which step, at which level, and which call clears it."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    cyd, user = steps.log_in(recorder, "cyd@mail.example", "first"), steps.user_id(recorder, "cyd@mail.example")
    member = steps.member_id(recorder, first, "cyd@mail.example")

    def status(label: str, token: str) -> None:
        recorder.keep(label, "{ currentUser { onboardingStatus } }", token)

    status("a new member", cyd)
    for label, token in (("no token", None), ("agnostic", stage.tokens["service agnostic"]), ("right", cyd)):
        recorder.keep(f"mailbox: {label}", steps.SKIP_MAILBOX, token)
        recorder.keep(f"apps: {label}", steps.SKIP_APPS, token)
    status("apps and mailbox done", cyd)
    recorder.get(steps.SET_NAME, admin, member=member, update=steps.named("Cyd", "C"))
    status("named", cyd)
    recorder.keep("team: by a Member", steps.INVITE, cyd, emails=[])
    recorder.keep("team: right", steps.INVITE, admin, emails=[])
    status("team done", cyd)
    for key in ("CONNECT_ACCOUNT", "INSTALL_APPS", "CREATE_PROFILE", "INVITE_TEAM", "FROM_ANOTHER_TIME"):
        for level, owner, workspace in (("own", user, first), ("user", user, None), ("workspace", None, first)):
            for value in (True, False, "true"):
                recorder.sql(
                    'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type)'
                    " VALUES (%s, %s, %s, %s, 'USER_VARIABLE')",
                    f"ONBOARDING_{key}_PENDING",
                    owner,
                    workspace,
                    json.dumps(value),
                )
                status(f"{key} at the level {level}: {json.dumps(value)}", cyd)
                recorder.sql(
                    'DELETE FROM core."keyValuePair" WHERE key = %s AND "userId" IS NOT DISTINCT FROM %s'
                    ' AND "workspaceId" IS NOT DISTINCT FROM %s',
                    f"ONBOARDING_{key}_PENDING",
                    owner,
                    workspace,
                )


def own_roles(recorder: Recorder, stage: Stage) -> None:
    """A role that the customer made is deleted: its holders get the default one."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    made = recorder.get(
        "mutation($input: CreateRoleInput!) { createOneRole(createRoleInput: $input) { id } }",
        admin,
        input={"label": "Sales", "canBeAssignedToUsers": True, "canUpdateAllSettings": False},
    )["id"]
    member = steps.member_id(recorder, first, "ann@mail.example")
    recorder.keep("given", steps.SET_ROLE, admin, member=member, role=made)
    delete = "mutation($role: UUID!) { deleteOneRole(roleId: $role) }"
    recorder.keep("delete, by a Member", delete, stage.tokens["ann"], role=made)
    recorder.keep("delete", delete, admin, role=made)
    recorder.keep("delete again", delete, admin, role=made)
    steps.role_held(recorder, "held then", "ann@mail.example", first)


def beforehand(recorder: Recorder, stage: Stage) -> None:
    """Whoever registers an address first has the account: nobody proved the mailbox."""
    steps.sign_up(recorder, "ceo@mail.example", "Not-the-ceo1")
    recorder.keep("our password", steps.JOIN, email="ceo@mail.example", password=PASSWORD, hash=stage.hashes["first"])
    recorder.keep(
        "their password", steps.JOIN, email="ceo@mail.example", password="Not-the-ceo1", hash=stage.hashes["first"]
    )
    recorder.rows("proved", 'SELECT "isEmailVerified" FROM core."user" WHERE email = %s', "ceo@mail.example")
