"""Making workspaces: the record, the activation, the way in, and what becomes of broken ones."""

from provisioning_pipeline_tests.sandbox.recording import steps
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Stage
from provisioning_pipeline_tests.sandbox.recording.steps import PASSWORD, SERVICE, SERVICE_PASSWORD

FLAGS = (
    'SELECT key, value, "userId" IS NOT NULL, "workspaceId" IS NOT NULL FROM core."keyValuePair"'
    " WHERE key LIKE 'ONBOARDING%' ORDER BY 1, 3"
)


def creating(recorder: Recorder, stage: Stage) -> None:
    """Who may, and with which name and subdomain."""
    admin = stage.tokens["service agnostic"]
    recorder.keep("no token", steps.CREATE, name="W", subdomain="w-none")
    recorder.keep("garbage token", steps.CREATE, "garbage", name="W", subdomain="w-none")
    made = recorder.keep("right", steps.CREATE, admin, name="First", subdomain="first")["data"]
    stage.workspaces["first"] = made["signUpInNewWorkspace"]["workspace"]["id"]
    stage.tokens["first login"] = made["signUpInNewWorkspace"]["loginToken"]["token"]
    for label, name, subdomain in (
        ("subdomain taken", "W", "first"),
        ("subdomain reserved", "W", "admin"),
        ("subdomain of 2 characters", "W", "ab"),
        ("subdomain of 31 characters", "W", "a" * 31),
        ("subdomain that starts with api-", "W", "api-x"),
        ("subdomain in capitals", "W", "UPPER"),
        ("subdomain that ends with a hyphen", "W", "abc-"),
        ("name of 101 characters", "n" * 101, "long-name"),
        ("name of blanks", "  ", "blank-name"),
        ("empty name", "", "empty-name"),
        ("no name", None, "no-name"),
    ):
        recorder.keep(label, steps.CREATE, admin, name=name, subdomain=subdomain)
    recorder.keep("no admin of the server", steps.CREATE, stage.tokens["plain agnostic"], name="W", subdomain="plain")
    recorder.rows("rows", 'SELECT subdomain, "displayName", "activationStatus"::text FROM core.workspace ORDER BY 1')
    recorder.rows("flags", FLAGS)


def exchanging(recorder: Recorder, stage: Stage) -> None:
    """A login token for a session: where it is good, and how often."""
    login, right = stage.tokens["first login"], recorder.origin("first")
    for label, token, origin in (
        ("another workspace's origin", login, recorder.origin("nowhere")),
        ("the server's own origin", login, f"http://localhost:{recorder.port}"),
        ("no URL", login, "not a url"),
        ("garbage", "garbage", right),
        ("an access token", stage.tokens["service agnostic"], right),
    ):
        recorder.keep(label, steps.EXCHANGE, login=token, origin=origin)
    body = recorder.keep("right", steps.EXCHANGE, login=login, origin=right)
    stage.tokens["first early"] = steps.token_of(body)
    recorder.keep("the same token again", steps.EXCHANGE, login=login, origin=right)


def waiting(recorder: Recorder, stage: Stage) -> None:
    """What a workspace that is not activated refuses."""
    early = stage.tokens["first early"]
    (link,) = recorder.sql("SELECT \"inviteHash\" FROM core.workspace WHERE subdomain = 'first'")[0]
    recorder.keep("join of a new account", steps.JOIN, email="early@mail.example", password=PASSWORD, hash=link)
    recorder.keep("join of an account", steps.JOIN, email="plain@mail.example", password=PASSWORD, hash=link)
    recorder.keep("invite", steps.INVITE, early, emails=["early@mail.example"])
    recorder.keep("skip the mailbox", steps.SKIP_MAILBOX, early)
    recorder.keep("currentUser then", steps.ME, early)
    create = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { id } }"
    wanted = {"name": "early", "expiresAt": "2031-01-01T00:00:00.000Z", "roleId": steps.UNKNOWN_ID}
    recorder.keep("create an API key", create, early, input=wanted)


def public(recorder: Recorder, stage: Stage) -> None:
    """What anybody may ask about a workspace."""
    link = "query($link: String!) { findWorkspaceFromInviteHash(inviteHash: $link) { displayName } }"
    recorder.keep("by its link", link, link=stage.hashes["first"])
    recorder.keep("by no link", link, link="garbage")
    domain = "query($origin: String!) { getPublicWorkspaceDataByDomain(origin: $origin) { displayName } }"
    recorder.keep("by its origin", domain, origin=recorder.origin("first"))
    recorder.keep("by no origin", domain, origin=recorder.origin("nowhere"))
    free = """query($wanted: String!) { checkWorkspaceSubdomainAvailability(subdomain: $wanted) {
      isValid available } }"""
    for wanted in ("first", "free-one", "api-x"):
        recorder.keep(f"is {wanted} free", free, stage.tokens["service agnostic"], wanted=wanted)
    recorder.keep("is one free, no token", free, wanted="free-one")


def activating(recorder: Recorder, stage: Stage) -> None:
    """Before, during and after; by whom."""
    early, agnostic = stage.tokens["first early"], stage.tokens["service agnostic"]
    for label, query in (("currentUser", steps.ME), ("currentWorkspace", steps.WORKSPACE), ("getRoles", steps.ROLES)):
        recorder.keep(f"{label} before", query, early)
        recorder.keep(f"{label} with an agnostic token", query, agnostic)
    recorder.keep("no token", steps.ACTIVATE)
    recorder.keep("agnostic token", steps.ACTIVATE, agnostic)
    status = 'UPDATE core.workspace SET "activationStatus" = \'ONGOING_CREATION\', "updatedAt" = now() - %s::interval'
    recorder.sql(status + " WHERE subdomain = 'first'", "1 minute")
    recorder.keep("while another is at it", steps.ACTIVATE, early)
    recorder.keep("currentUser meanwhile", steps.ME, early)
    recorder.sql(status + " WHERE subdomain = 'first'", "6 minutes")
    recorder.keep("5 minutes after a crash", steps.ACTIVATE, early)
    recorder.keep("again", steps.ACTIVATE, early)
    recorder.keep("currentUser with the early token", steps.ME, early)
    steps.enter(recorder, stage, "first")
    recorder.keep("currentUser after a new login", steps.ME, stage.tokens["first"])
    recorder.keep("again after a new login", steps.ACTIVATE, stage.tokens["first"])
    recorder.keep("getRoles after", steps.ROLES, stage.tokens["first"])
    recorder.rows("flags", FLAGS)
    recorder.keep("signIn lists it", steps.SIGN_IN, email=SERVICE, password=SERVICE_PASSWORD)


def logging_in(recorder: Recorder, stage: Stage) -> None:
    """Credentials and origins."""
    origin = recorder.origin("first")
    for label, email, password, where in (
        ("wrong password", SERVICE, "wrong-pass1", origin),
        ("no password", SERVICE, "", origin),
        ("no such account", "nobody@mail.example", PASSWORD, origin),
        ("no member", "plain@mail.example", PASSWORD, origin),
        ("unknown origin", SERVICE, SERVICE_PASSWORD, recorder.origin("nowhere")),
        ("the server's own origin", SERVICE, SERVICE_PASSWORD, f"http://localhost:{recorder.port}"),
        ("no origin", SERVICE, SERVICE_PASSWORD, ""),
        ("other capitals", SERVICE.upper(), SERVICE_PASSWORD, origin),
        ("origin in capitals", SERVICE, SERVICE_PASSWORD, recorder.origin("FIRST")),
        ("origin with a path", SERVICE, SERVICE_PASSWORD, f"{origin}/welcome"),
    ):
        recorder.keep(label, steps.LOGIN, email=email, password=password, origin=where)


def moving(recorder: Recorder, stage: Stage) -> None:
    """The customer changes the subdomain."""
    admin = stage.tokens["first"]
    recorder.keep("to another", steps.UPDATE, admin, data={"subdomain": "moved"})
    recorder.keep("shown", steps.WORKSPACE, admin)
    steps.keep_login(recorder, "login at the old one", SERVICE, "first", SERVICE_PASSWORD)
    steps.keep_login(recorder, "login at the new one", SERVICE, "moved", SERVICE_PASSWORD)
    recorder.keep("to one that is not valid", steps.UPDATE, admin, data={"subdomain": "x"})
    recorder.keep("back", steps.UPDATE, admin, data={"subdomain": "first"})


def suspended(recorder: Recorder, stage: Stage) -> None:
    """The statuses that Twenty or an operator gives a workspace later."""
    set_status = "UPDATE core.workspace SET \"activationStatus\" = %s WHERE subdomain = 'first'"
    for status in ("SUSPENDED", "INACTIVE", "PENDING_CREATION"):
        recorder.sql(set_status, status)
        steps.keep_login(recorder, f"{status} login", SERVICE, "first", SERVICE_PASSWORD)
        label = f"{status} join"
        recorder.keep(label, steps.JOIN, email="late@mail.example", password=PASSWORD, hash=stage.hashes["first"])
    recorder.sql(set_status, "ACTIVE")


def deleted_by_sql(recorder: Recorder, stage: Stage) -> None:
    """The row is marked deleted, and the memberships stay: nobody of it can sign in any more."""
    steps.make_workspace(recorder, stage, "sunk")
    recorder.keep("before", steps.ME, stage.tokens["sunk"])
    mark = "UPDATE core.workspace SET \"deletedAt\" = CASE WHEN %s THEN now() END WHERE subdomain = 'sunk'"
    recorder.sql(mark, True)
    steps.keep_login(recorder, "login", SERVICE, "sunk", SERVICE_PASSWORD)
    recorder.keep("signIn", steps.SIGN_IN, email=SERVICE, password=SERVICE_PASSWORD)
    recorder.keep("join", steps.JOIN, email="late@mail.example", password=PASSWORD, hash=stage.hashes["sunk"])
    recorder.keep("its subdomain", steps.CREATE, stage.tokens["service agnostic"], name="Sunk again", subdomain="sunk")
    recorder.sql(mark, False)
    recorder.keep("signIn once it is back", steps.SIGN_IN, email=SERVICE, password=SERVICE_PASSWORD)


def deleted_by_its_admin(recorder: Recorder, stage: Stage) -> None:
    """`deleteCurrentWorkspace`: the accounts that have no other go with it."""
    admin = stage.tokens["sunk"]
    steps.join(recorder, stage, "only@mail.example", "sunk")
    steps.join(recorder, stage, "plain@mail.example", "sunk")
    steps.join(recorder, stage, "plain@mail.example", "first")
    member = steps.log_in(recorder, "only@mail.example", "sunk")
    recorder.keep("by a Member", steps.DELETE_WORKSPACE, member)
    recorder.keep("by an Admin", steps.DELETE_WORKSPACE, admin)
    recorder.keep("again", steps.DELETE_WORKSPACE, admin)
    recorder.keep("old token", steps.ME, admin)
    recorder.rows(
        "rows",
        'SELECT w.subdomain, w."deletedAt" IS NULL, w."activationStatus"::text,'
        ' (SELECT count(*) FROM core."userWorkspace" uw WHERE uw."workspaceId" = w.id AND uw."deletedAt" IS NULL)'
        " FROM core.workspace w WHERE w.subdomain = 'sunk'",
    )
    gone = 'SELECT email, "deletedAt" IS NULL FROM core."user" WHERE email = ANY(%s) ORDER BY 1'
    recorder.rows("accounts", gone, ["only@mail.example", "plain@mail.example", SERVICE])
    steps.keep_login(recorder, "login", SERVICE, "sunk", SERVICE_PASSWORD)
    recorder.keep("signIn of who had no other", steps.SIGN_IN, email="only@mail.example", password=PASSWORD)
    recorder.keep("signIn of who has another", steps.SIGN_IN, email=SERVICE, password=SERVICE_PASSWORD)
    recorder.keep("its subdomain", steps.CREATE, stage.tokens["service agnostic"], name="Sunk again", subdomain="sunk")


def full(recorder: Recorder, stage: Stage) -> None:
    """Without a licence there is room for five."""
    admin = stage.tokens["service agnostic"]
    (held,) = recorder.sql('SELECT count(*) FROM core.workspace WHERE "deletedAt" IS NULL')[0]
    for number in range(int(held), 5):
        recorder.get(steps.CREATE, admin, name="Filler", subdomain=f"filler-{number}")
    recorder.keep("the sixth", steps.CREATE, admin, name="Sixth", subdomain="sixth")
    recorder.keep("by no admin", steps.CREATE, stage.tokens["plain agnostic"], name="Sixth", subdomain="sixth")
    steps.join(recorder, stage, "after@mail.example", "first")
    recorder.keep("members still join", steps.ME, steps.log_in(recorder, "after@mail.example", "first"))
