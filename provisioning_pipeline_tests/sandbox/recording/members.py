"""Members: joining, roles, names, acting as one, removal; and members of whom one half is missing."""

from provisioning_pipeline_tests.sandbox.recording import steps
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Stage
from provisioning_pipeline_tests.sandbox.recording.steps import PASSWORD, SERVICE, SERVICE_PASSWORD, UNKNOWN_ID


def joining(recorder: Recorder, stage: Stage) -> None:
    """By the link."""
    steps.make_workspace(recorder, stage, "second")
    link = stage.hashes["first"]
    for label, email, password, used in (
        ("new", "ann@mail.example", PASSWORD, link),
        ("again", "ann@mail.example", PASSWORD, link),
        ("again in capitals", "Ann@Mail.Example", PASSWORD, link),
        ("again with another password", "ann@mail.example", "Other-pass1", link),
        ("wrong link", "ben@mail.example", PASSWORD, "garbage"),
        ("empty link", "ben@mail.example", PASSWORD, ""),
        ("no link", "ben@mail.example", PASSWORD, None),
        ("password of 5 characters", "ben@mail.example", "short", link),
        ("no password", "ben@mail.example", "", link),
        ("no address", "nobody", PASSWORD, link),
        ("two dots in the address", "dot..dot@mail.example", PASSWORD, link),
        ("an account, another password", "cap@mail.example", "Other-pass1", link),
        ("an account, its password", "cap@mail.example", PASSWORD, link),
        ("new in capitals", "Mix.Ed@Mail.Example", PASSWORD, link),
    ):
        recorder.keep(label, steps.JOIN, email=email, password=password, hash=used)
    recorder.rows("stored", 'SELECT email, "isEmailVerified" FROM core."user" WHERE email ILIKE %s', "mix.ed@%")
    recorder.rows(
        "flags",
        'SELECT u.email, k.key, k.value FROM core."keyValuePair" k JOIN core."user" u ON u.id = k."userId"'
        " WHERE u.email = ANY(%s) AND k.\"workspaceId\" = %s AND k.key LIKE 'ONBOARDING%%' ORDER BY 1, 2",
        ["ann@mail.example", "cap@mail.example"],
        stage.workspaces["first"],
    )
    steps.role_held(recorder, "role", "ann@mail.example", stage.workspaces["first"])
    for name in ("ben", "cyd", "dan", "eve", "fay", "gus"):
        steps.join(recorder, stage, f"{name}@mail.example", "first")
    stage.tokens["ann"] = steps.log_in(recorder, "ann@mail.example", "first")
    recorder.keep("currentUser", steps.ME, stage.tokens["ann"])


def link_off(recorder: Recorder, stage: Stage) -> None:
    """The switch for the link, and who may use it."""
    admin = stage.tokens["first"]
    off, on = {"isPublicInviteLinkEnabled": False}, {"isPublicInviteLinkEnabled": True}
    recorder.keep("off, no token", steps.UPDATE, data=off)
    recorder.keep("off, by a Member", steps.UPDATE, stage.tokens["ann"], data=off)
    recorder.keep("off, agnostic", steps.UPDATE, stage.tokens["service agnostic"], data=off)
    recorder.keep("off", steps.UPDATE, admin, data=off)
    link = stage.hashes["first"]
    recorder.keep("new", steps.JOIN, email="hal@mail.example", password=PASSWORD, hash=link)
    recorder.keep("a member", steps.JOIN, email="ann@mail.example", password=PASSWORD, hash=link)
    recorder.keep("on", steps.UPDATE, admin, data=on)


def changing_roles(recorder: Recorder, stage: Stage) -> None:
    """Who may, of whom, to what."""
    admin, workspace = stage.tokens["first"], stage.workspaces["first"]
    held = steps.roles(recorder, admin)
    ann, own = steps.member_id(recorder, workspace, "ann@mail.example"), steps.member_id(recorder, workspace, SERVICE)
    for label, token, member, role in (
        ("no token", None, ann, held["Admin"]),
        ("by a Member", stage.tokens["ann"], ann, held["Admin"]),
        ("the same", admin, ann, held["Member"]),
        ("up", admin, ann, held["Admin"]),
        ("down", admin, ann, held["Member"]),
        ("no such member", admin, UNKNOWN_ID, held["Member"]),
        ("no such role", admin, ann, UNKNOWN_ID),
        ("no id", admin, "x", held["Member"]),
        ("one's own", admin, own, held["Member"]),
    ):
        recorder.keep(label, steps.SET_ROLE, token, member=member, role=role)


def naming(recorder: Recorder, stage: Stage) -> None:
    """Who may, and what a name is."""
    admin, workspace = stage.tokens["first"], stage.workspaces["first"]
    ann = steps.member_id(recorder, workspace, "ann@mail.example")
    ben = steps.member_id(recorder, workspace, "ben@mail.example")
    for label, token, member, update in (
        ("no token", None, ann, steps.named("A", "B")),
        ("of another, by a Member", stage.tokens["ann"], ben, steps.named("A", "B")),
        ("empty", admin, ann, steps.named("", "")),
        ("no such member", admin, UNKNOWN_ID, steps.named("A", "B")),
        ("no such field", admin, ann, {"nope": 1}),
        ("nothing", admin, ann, {}),
        ("what no database stores", admin, ann, steps.named("nul\0", "B")),
        ("of 300 characters", admin, ben, steps.named("x" * 300, "B")),
        ("one's own", stage.tokens["ann"], ann, steps.named("Ann", "Own")),
        ("by an admin", admin, ann, steps.named("Ann", "Admin")),
    ):
        recorder.keep(label, steps.SET_NAME, token, member=member, update=update)
    recorder.keep("currentUser", steps.ME, stage.tokens["ann"])


def impersonating(recorder: Recorder, stage: Stage) -> None:
    """Acting as somebody else."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    ann, own = steps.user_id(recorder, "ann@mail.example"), steps.user_id(recorder, SERVICE)
    steps.join(recorder, stage, "ben@mail.example", "second")
    ben = steps.user_id(recorder, "ben@mail.example")
    for label, token, user, workspace in (
        ("no token", None, ann, first),
        ("agnostic", stage.tokens["service agnostic"], ann, first),
        ("by a Member", stage.tokens["ann"], ben, first),
        ("no such user", admin, UNKNOWN_ID, first),
        ("no such workspace", admin, ann, UNKNOWN_ID),
        ("not in that workspace", admin, ann, stage.workspaces["second"]),
        ("in another workspace", admin, ben, stage.workspaces["second"]),
        ("oneself", admin, own, first),
        ("no id", admin, "x", first),
        ("right", admin, ann, first),
    ):
        recorder.keep(label, steps.IMPERSONATE, token, user=user, workspace=workspace)
    session = steps.as_member(recorder, admin, ann, first, "first")
    recorder.keep("currentUser", steps.ME, session)
    recorder.keep("from inside", steps.IMPERSONATE, session, user=ben, workspace=first)


def removing(recorder: Recorder, stage: Stage) -> None:
    """Whoever is removed is out at once, and may come again."""
    admin, first = stage.tokens["first"], stage.workspaces["first"]
    ben, cyd = (steps.member_id(recorder, first, f"{name}@mail.example") for name in ("ben", "cyd"))
    used, unused = (steps.log_in(recorder, "cyd@mail.example", "first") for _ in range(2))
    recorder.get(steps.ME, used)
    for label, token, member in (
        ("no token", None, ben),
        ("by a Member", stage.tokens["ann"], ben),
        ("no such member", admin, UNKNOWN_ID),
        ("no id", admin, "x"),
        ("who has another workspace", admin, ben),
        ("again", admin, ben),
        ("who has no other", admin, cyd),
    ):
        recorder.keep(label, steps.REMOVE, token, member=member)
    for name in ("ben", "cyd"):
        email = f"{name}@mail.example"
        steps.keep_login(recorder, f"{name}: login", email, "first")
        recorder.keep(f"{name}: signIn", steps.SIGN_IN, email=email, password=PASSWORD)
        account = 'SELECT "deletedAt" IS NULL FROM core."user" WHERE email = %s'
        recorder.rows(f"{name}: account", account, email)
    recorder.keep("a token that was used", steps.ME, used)
    recorder.keep("a token that was not", steps.ME, unused)
    recorder.keep("comes again", steps.JOIN, email="cyd@mail.example", password=PASSWORD, hash=stage.hashes["first"])
    recorder.rows(
        "accounts", 'SELECT "deletedAt" IS NULL FROM core."user" WHERE email = %s ORDER BY 1', "cyd@mail.example"
    )
    own = steps.member_id(recorder, first, SERVICE)
    recorder.keep("the last admin, by itself", steps.REMOVE, admin, member=own)


def half(recorder: Recorder, stage: Stage) -> None:
    """Half a member: the record, the membership or the role is gone."""
    first, link = stage.workspaces["first"], stage.hashes["first"]
    table = f'"{steps.schema(recorder, first)}"."workspaceMember"'

    def comes(label: str, email: str) -> None:
        recorder.keep(label, steps.JOIN, email=email, password=PASSWORD, hash=link)

    def memberships(label: str, email: str) -> None:
        recorder.rows(
            label,
            'SELECT uw."deletedAt" IS NULL FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"'
            ' WHERE u.email = %s AND uw."workspaceId" = %s ORDER BY 1',
            email,
            first,
        )

    retire = (
        'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "workspaceId" = %s AND "userId" ='
        ' (SELECT id FROM core."user" WHERE email = %s)'
    )
    for kind, email, statement in (
        ("record marked deleted", "dan@mail.example", f'UPDATE {table} SET "deletedAt" = now() WHERE "userEmail" = %s'),
        ("record gone", "eve@mail.example", f'DELETE FROM {table} WHERE "userEmail" = %s'),
    ):
        recorder.sql(statement, email)
        steps.keep_login(recorder, f"{kind}: login", email, "first")
        comes(f"{kind}: join", email)
        recorder.sql(retire, first, email)
        comes(f"{kind}: join without the membership", email)
        comes(f"{kind}: join once more", email)
        memberships(f"{kind}: memberships", email)
        steps.keep_login(recorder, f"{kind}: login after all", email, "first")
    fay, member = "fay@mail.example", steps.member_id(recorder, first, "fay@mail.example")
    token = steps.log_in(recorder, fay, "first")
    recorder.sql(retire, first, fay)
    recorder.keep("membership gone: a token that was not used", steps.ME, token)
    steps.keep_login(recorder, "membership gone: login", fay, "first")
    recorder.keep("membership gone: remove", steps.REMOVE, stage.tokens["first"], member=member)
    comes("membership gone: join", fay)
    gus, member = "gus@mail.example", steps.member_id(recorder, first, "gus@mail.example")
    recorder.sql(
        'DELETE FROM core."roleTarget" WHERE "userWorkspaceId" IN (SELECT uw.id FROM core."userWorkspace" uw'
        ' JOIN core."user" u ON u.id = uw."userId" WHERE u.email = %s)',
        gus,
    )
    session = steps.keep_login(recorder, "no role: login", gus, "first")
    recorder.keep("no role: currentUser", steps.ME, session)
    recorder.keep("no role: skip the mailbox", steps.SKIP_MAILBOX, session)
    recorder.keep("no role: remove", steps.REMOVE, stage.tokens["first"], member=member)
    held = steps.roles(recorder, stage.tokens["first"])
    recorder.keep("no role: set", steps.SET_ROLE, stage.tokens["first"], member=member, role=held["Member"])


def by_default_an_admin(recorder: Recorder, stage: Stage) -> None:
    """The customer makes Admin the workspace's default role: whoever joins holds it until another is set."""
    admin, second = stage.tokens["second"], stage.workspaces["second"]
    held = steps.roles(recorder, admin)
    recorder.keep("to a role that is not there", steps.UPDATE, admin, data={"defaultRoleId": UNKNOWN_ID})
    recorder.keep("to Admin", steps.UPDATE, admin, data={"defaultRoleId": held["Admin"]})
    steps.join(recorder, stage, "ivy@mail.example", "second")
    steps.role_held(recorder, "role of who joins", "ivy@mail.example", second)
    recorder.keep("back to Member", steps.UPDATE, admin, data={"defaultRoleId": held["Member"]})


def the_service_account(recorder: Recorder, stage: Stage) -> None:
    """Another admin demotes our account, removes it, and invites it again."""
    second = stage.workspaces["second"]
    ivy = steps.log_in(recorder, "ivy@mail.example", "second")
    held = steps.roles(recorder, ivy)
    own, ours = steps.member_id(recorder, second, SERVICE), stage.tokens["second"]
    ben = steps.member_id(recorder, second, "ben@mail.example")
    user = steps.user_id(recorder, "ben@mail.example")
    recorder.keep("demoted", steps.SET_ROLE, ivy, member=own, role=held["Member"])
    recorder.keep("demoted: getRoles", steps.ROLES, ours)
    recorder.keep("demoted: impersonate", steps.IMPERSONATE, ours, user=user, workspace=second)
    recorder.keep("demoted: name", steps.SET_NAME, ours, member=ben, update=steps.named("Ben", "B"))
    recorder.keep("demoted: switch the link", steps.UPDATE, ours, data={"isPublicInviteLinkEnabled": False})
    recorder.keep("demoted: remove", steps.REMOVE, ours, member=ben)
    recorder.keep("removed", steps.REMOVE, ivy, member=own)
    steps.keep_login(recorder, "removed: login", SERVICE, "second", SERVICE_PASSWORD)
    recorder.keep("removed: old token", steps.ME, ours)
    recorder.keep("invited", steps.INVITE, ivy, emails=[SERVICE], role=held["Admin"])
    steps.keep_login(recorder, "invited: login", SERVICE, "second", SERVICE_PASSWORD)
    steps.role_held(recorder, "invited: role", SERVICE, second)
    steps.enter(recorder, stage, "second")
