"""What the stand-in Twenty must do, told without the recording."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from provisioning_pipeline.sandbox.faults import Faults, ScriptedFault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions, core_sql
from provisioning_pipeline_tests.sandbox.twenty_fixtures import (
    ACTIVATE,
    CREATE,
    JOIN,
    LOGIN,
    Client,
    new_database,
)

SETTINGS = "mutation($i: UpdateWorkspaceMemberSettingsInput!) { updateWorkspaceMemberSettings(input: $i) }"
INVITE = "mutation($e: [String!]!) { sendInvitations(emails: $e) { success errors result { id } } }"
INSTALL = "mutation { triggerInstallAppsOnboardingStep(universalIdentifiers: []) { success } }"
SKIP_SYNC = "mutation { skipSyncEmailOnboardingStep { success } }"
REMOVE = "mutation($m: String!) { deleteUserFromWorkspace(workspaceMemberIdToDelete: $m) { id } }"
ROLE = "mutation($m: UUID!, $r: UUID!) { updateWorkspaceMemberRole(workspaceMemberId: $m, roleId: $r) { id } }"
IMPERSONATE = """mutation($u: UUID!, $w: UUID!) { impersonate(userId: $u, workspaceId: $w) {
  loginToken { token } } }"""
MEMBERS = "{ workspaceMembers { totalCount edges { node { userEmail } } } }"


@pytest.fixture
def database(sandbox_postgres: SandboxPostgres) -> str:
    return new_database(sandbox_postgres)


@pytest.fixture(scope="module")
def shared(sandbox_postgres: SandboxPostgres) -> Iterator[StandInTwenty]:
    """One server for the tests that mind only their own workspace; its first account is the admin."""
    options = TwentyOptions(creation_limited_to_admins=False, activation_seconds=0)
    with StandInTwenty(new_database(sandbox_postgres), options) as server:
        Client(server.base_url).sign_up("root@first.test")
        yield server


@pytest.fixture
def client(shared: StandInTwenty) -> Client:
    return Client(shared.base_url)


def sql(database: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def name_of(member: str, first: str, last: str) -> dict[str, Any]:
    return {"workspaceMemberId": member, "update": {"name": {"firstName": first, "lastName": last}}}


def test_a_founder_goes_through_every_step_in_order(database: str) -> None:
    with StandInTwenty(database) as server:
        client = Client(server.base_url)
        early = client.create(client.sign_up("Svc@Platform.test"), "acme")
        assert client.status(early) == "WORKSPACE_ACTIVATION"
        assert client.get(ACTIVATE, early)["activationStatus"] == "ACTIVE"
        assert client.get(ACTIVATE, early)["activationStatus"] == "ACTIVE"
        owner = client.login("svc@platform.test", "acme")
        member = client.me(owner)["workspaceMember"]
        assert member["roles"] == [{"label": "Admin"}]
        seen = [client.status(owner)]
        for query, variables in (
            (SKIP_SYNC, {}),
            (INSTALL, {}),
            (SETTINGS, {"i": name_of(member["id"], "", "")}),
            (SETTINGS, {"i": name_of(member["id"], "Ada", "")}),
            (INVITE, {"e": []}),
        ):
            client.get(query, owner, **variables)
            seen.append(client.status(owner))
        assert seen == [
            "SYNC_EMAIL",
            "APPS_INSTALLATION",
            "PROFILE_CREATION",
            "PROFILE_CREATION",
            "INVITE_TEAM",
            "COMPLETED",
        ]
        assert server.mails == []
        assert server.calls["activateWorkspace"] == 2
        assert server.mutating_calls == 9  # signUp, the workspace, two activations, five steps
        tables = sql(database, """SELECT count(*) FROM core."objectMetadata" """)
        assert tables == [(28,)]


def test_what_sign_up_and_sign_in_refuse(client: Client) -> None:
    owner = client.found("owner@refusals.test", "refusals")
    client.sign_up("stranger@refusals.test")
    sign_up = "mutation($e: String!, $p: String!) { signUp(email: $e, password: $p) { __typename } }"
    here, invite_hash = "http://refusals.localhost/", client.invite_hash(owner)
    refusals = [
        (
            client.error(sign_up, e="owner@refusals.test", p="Passw0rd!"),
            "User already exists",
            "USER_ALREADY_EXISTS",
        ),
        (client.error(sign_up, e="new@refusals.test", p="short"), "Password too weak", "INVALID_INPUT"),
        (client.error(sign_up, e="new@refusals.test", p="x" * 51), "Password too weak", "INVALID_INPUT"),
        (client.error(LOGIN, e="nobody@x.test", p="Passw0rd!", o=here), "User not found", "USER_NOT_FOUND"),
        (
            client.error(LOGIN, e="owner@refusals.test", p="other-one", o=here),
            "Wrong password",
            "FORBIDDEN_EXCEPTION",
        ),
        (
            client.error(LOGIN, e="stranger@refusals.test", p="Passw0rd!", o=here),
            "User is not a member of the workspace.",
            "FORBIDDEN_EXCEPTION",
        ),
        (
            client.error(LOGIN, e="owner@refusals.test", p="Passw0rd!", o="http://none.localhost/"),
            "Workspace not found",
            "WORKSPACE_NOT_FOUND",
        ),
        (
            client.error(JOIN, e="stranger@refusals.test", p="other-one", h=invite_hash),
            "Wrong password",
            "FORBIDDEN_EXCEPTION",
        ),
        (
            client.error(JOIN, e="n@refusals.test", p="short", h=invite_hash),
            "Password too weak",
            "INVALID_INPUT",
        ),
    ]
    for error, message, sub_code in refusals:
        assert (error["message"], error["subCode"]) == (message, sub_code)
    client.get("mutation { updateWorkspace(data: {isPublicInviteLinkEnabled: false}) { id } }", owner)
    error = client.error(JOIN, e="n@refusals.test", p="Passw0rd!", h=invite_hash)
    assert error["message"] == "Public invite link is disabled for this workspace"


def test_subdomains(client: Client) -> None:
    token = client.sign_up("chooser@subdomains.test")
    for subdomain in ("ab", "-ab", "ab-", "A-b", "a_b", "x" * 31, "api-x", "admin", "new-york"):
        error = client.error(CREATE, token, i={"displayName": "X", "subdomain": subdomain})
        assert error["subCode"] == "SUBDOMAIN_NOT_VALID", subdomain
    access = client.create(token, "chosen")
    again = {"displayName": "X", "subdomain": "chosen"}
    assert client.error(CREATE, token, i=again)["subCode"] == "SUBDOMAIN_ALREADY_TAKEN"
    keeper = client.create(token, "keeper")  # an account without a workspace would be deleted with it
    client.get("mutation { deleteCurrentWorkspace { id } }", access)
    assert client.error(CREATE, token, i=again)["subCode"] == "SUBDOMAIN_ALREADY_TAKEN"
    assert client.error("{ currentWorkspace { id } }", access)["message"] == "Workspace not found"
    assert client.status(keeper) == "WORKSPACE_ACTIVATION"


def test_who_may_create_and_how_many(database: str) -> None:
    with StandInTwenty(database, TwentyOptions(workspace_limit=2)) as server:
        client = Client(server.base_url)
        admin, other = client.sign_up("admin@x.test"), client.sign_up("other@x.test")
        client.create(admin, "one")
        error = client.error(CREATE, other, i={"displayName": "Two", "subdomain": "two"})
        assert error["message"] == "Workspace creation is restricted to admins"
        client.create(admin, "two")
        error = client.error(CREATE, admin, i={"displayName": "Three", "subdomain": "three"})
        assert error["message"] == "Cannot create more than 2 workspaces without a valid enterprise key"
        assert error["code"] == "FORBIDDEN"


def test_state_and_tokens_outlive_a_restart(database: str) -> None:
    server = StandInTwenty(database)
    with server:
        client = Client(server.base_url)
        owner = client.found("owner@x.test", "acme")
        url = server.base_url
        server.restart()
        assert server.base_url == url
        assert Client(url).status(owner) == "SYNC_EMAIL"
    with StandInTwenty(database) as another:
        assert Client(another.base_url).status(owner) == "SYNC_EMAIL"


def test_a_lost_answer_has_had_its_effect(database: str) -> None:
    faults = Faults(scripted=[ScriptedFault("signUpInNewWorkspace", "drop")])
    with StandInTwenty(database, faults=faults) as server:
        client = Client(server.base_url)
        token = client.sign_up("owner@x.test")
        wanted = {"displayName": "Acme", "subdomain": "acme"}
        with pytest.raises(httpx.RemoteProtocolError):
            client.ask(CREATE, token, i=wanted)
        assert client.error(CREATE, token, i=wanted)["subCode"] == "SUBDOMAIN_ALREADY_TAKEN"
        assert sql(database, "SELECT count(*) FROM core.workspace") == [(1,)]


def test_an_error_and_a_refusal_come_before_any_effect(database: str) -> None:
    faults = Faults(scripted=[ScriptedFault("signUp", "error"), ScriptedFault("signUp", "refuse")])
    with StandInTwenty(database, faults=faults) as server:
        body = {"query": _SIGN_UP, "variables": {"e": "a@x.test"}}
        answers = [httpx.post(f"{server.base_url}/metadata", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [500, 429, 200]
        assert answers[1].headers["retry-after"] == "1"
        assert answers[2].json() == {"data": {"signUp": {"__typename": "AvailableWorkspacesAndAccessTokens"}}}
        assert (server.calls["signUp"], server.mutating_calls) == (3, 1)


def test_tokens_expire(database: str) -> None:
    with StandInTwenty(database, TwentyOptions(access_token_seconds=-1)) as server:
        client = Client(server.base_url)
        error = client.error("{ currentUser { id } }", client.sign_up("a@x.test"))
        assert (error["message"], error["code"]) == ("Token has expired.", "UNAUTHENTICATED")
    with StandInTwenty(database, TwentyOptions(login_token_seconds=-1)) as server:
        client = Client(server.base_url)
        token = client.sign_up("b@x.test")
        sql(database, 'UPDATE core."user" SET "canAccessFullAdminPanel" = true')
        login = client.get(CREATE, token, i={"displayName": "B", "subdomain": "bbb"})["loginToken"]["token"]
        assert client.error(_EXCHANGE, l=login, o="http://bbb.localhost")["message"] == "Token has expired."


def test_a_narrower_level_hides_a_wider_one(client: Client, shared: StandInTwenty) -> None:
    owner = client.found("owner@levels.test", "levels")
    me = client.me(owner)
    user, workspace = me["id"], me["currentWorkspace"]["id"]
    clean = 'DELETE FROM core."keyValuePair" WHERE "workspaceId" = %s OR "userId" = %s'
    columns = '(key, "userId", "workspaceId", value)'
    put = f'INSERT INTO core."keyValuePair" {columns} VALUES (%s, %s, %s, %s::jsonb)'
    key = "ONBOARDING_CREATE_PROFILE_PENDING"
    cases = [
        ([(None, workspace, "true")], "PROFILE_CREATION"),
        ([(None, workspace, "true"), (user, None, "false")], "COMPLETED"),
        ([(user, None, "true"), (None, workspace, "false")], "PROFILE_CREATION"),
        ([(user, None, "true"), (user, workspace, "false")], "COMPLETED"),
        ([(user, workspace, '"true"')], "COMPLETED"),
    ]
    for rows, expected in cases:
        sql(shared.database_url, clean, workspace, user)
        for user_id, workspace_id, value in rows:
            sql(shared.database_url, put, key, user_id, workspace_id, value)
        assert client.status(owner) == expected, rows
    sql(shared.database_url, clean, workspace, user)
    sql(shared.database_url, put, key, None, workspace, "true")
    client.get(SETTINGS, owner, i=name_of(me["workspaceMember"]["id"], "A", "B"))
    assert client.status(owner) == "PROFILE_CREATION"  # the call deletes its own level only


def test_activation_is_exclusive_and_heals(database: str) -> None:
    with StandInTwenty(database, TwentyOptions(activation_seconds=0.2)) as server:
        client = Client(server.base_url)
        early = client.create(client.sign_up("owner@x.test"), "acme")
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: client.ask(ACTIVATE, early), range(4)))
        assert sum("errors" not in answer for answer in answers) == 1
        refused = {answer["errors"][0]["message"] for answer in answers if "errors" in answer}
        assert refused == {"Workspace is already being created"}
    with StandInTwenty(database, TwentyOptions(activation_seconds=0)) as server:
        client = Client(server.base_url)
        early = client.create(client.login("owner@x.test", "acme"), "crashed")
        stuck = """UPDATE core.workspace SET "activationStatus" = 'ONGOING_CREATION',
          "updatedAt" = now() - %s::interval WHERE subdomain = 'crashed'"""
        sql(database, stuck, "4 minutes")
        assert client.error(ACTIVATE, early)["message"] == "Workspace is already being created"
        sql(database, stuck, "6 minutes")
        sql(database, 'ALTER TABLE core."role" RENAME TO gone')
        assert client.error(ACTIVATE, early)["code"] == "INTERNAL_SERVER_ERROR"
        sql(database, 'ALTER TABLE core.gone RENAME TO "role"')
        assert client.get("{ currentWorkspace { activationStatus } }", early) == {
            "activationStatus": "PENDING_CREATION"
        }
        assert client.get(ACTIVATE, early)["activationStatus"] == "ACTIVE"


def test_a_joiner_and_what_others_may_do_for_one(client: Client, shared: StandInTwenty) -> None:
    owner = client.found("owner@joiners.test", "joiners")
    jane = client.join("Jane@joiners.test", owner, "joiners")
    assert client.status(jane) == "APPS_INSTALLATION"
    member, mine = client.me(jane)["workspaceMember"], client.me(owner)["workspaceMember"]["id"]
    assert member["roles"] == [{"label": "Member"}]
    for query, variables in (
        (INVITE, {"e": []}),
        (ROLE, {"m": member["id"], "r": mine}),
        ("{ getRoles { id } }", {}),
        (SETTINGS, {"i": name_of(mine, "x", "y")}),
        (REMOVE, {"m": mine}),
        ('mutation { updateWorkspace(data: {displayName: "x"}) { id } }', {}),
        (IMPERSONATE, {"u": client.me(owner)["id"], "w": client.me(owner)["currentWorkspace"]["id"]}),
    ):
        assert client.error(query, jane, **variables)["subCode"] == "PERMISSION_DENIED", query
    login = client.get(IMPERSONATE, owner, u=client.me(jane)["id"], w=client.me(owner)["currentWorkspace"]["id"])
    as_jane = client.exchange(login["loginToken"]["token"], "joiners")
    client.get(INSTALL, as_jane)
    client.get(SETTINGS, owner, i=name_of(member["id"], "Jane", "Doe"))
    client.get(INVITE, owner, e=[])
    assert client.status(jane) == "COMPLETED"
    error = client.error(IMPERSONATE, as_jane, u=client.me(owner)["id"], w=client.me(owner)["currentWorkspace"]["id"])
    assert error["message"] == "Can't access this resource while impersonating"


def test_impersonation_stops_at_server_admins_and_other_workspaces(database: str) -> None:
    options = TwentyOptions(creation_limited_to_admins=False, activation_seconds=0)
    with StandInTwenty(database, options) as server:
        client = Client(server.base_url)
        root = client.found("root@x.test", "root-home")
        owner = client.found("owner@x.test", "acme")
        client.join("root@x.test", owner, "acme")
        acme, root_id = client.me(owner)["currentWorkspace"]["id"], client.me(root)["id"]
        error = client.error(IMPERSONATE, owner, u=root_id, w=acme)
        assert error["message"].startswith("Cannot impersonate a user with admin privileges.")
        error = client.error(IMPERSONATE, root, u=client.me(owner)["id"], w=acme)
        assert error["subCode"] == "TWO_FACTOR_AUTHENTICATION_PROVISION_REQUIRED"
        client.get("mutation { updateWorkspace(data: {allowImpersonation: false}) { id } }", owner)
        error = client.error(IMPERSONATE, root, u=client.me(owner)["id"], w=acme)
        assert error["message"] == "Server level impersonation not allowed"


def test_removal_locks_out_at_once_and_keeps_one_admin(client: Client, shared: StandInTwenty) -> None:
    owner = client.found("owner@removal.test", "removal")
    jane = client.join("jane@removal.test", owner, "removal")
    jane_member, own_member = (client.me(token)["workspaceMember"]["id"] for token in (jane, owner))
    error = client.error(REMOVE, owner, m=own_member)
    assert error["subCode"] == "CANNOT_DELETE_LAST_ADMIN_USER"
    client.get(REMOVE, owner, m=jane_member)
    # Her only workspace: the account goes too.
    assert client.error("{ currentUser { id } }", jane)["message"] == "User or user workspace not found"
    error = client.error(LOGIN, e="jane@removal.test", p="Passw0rd!", o="http://removal.localhost/")
    assert error["message"] == "User not found"
    back = client.join("jane@removal.test", owner, "removal")
    roles = {role["label"]: role["id"] for role in client.get("{ getRoles { id label } }", owner)}
    jane_member = client.me(back)["workspaceMember"]["id"]
    client.get(ROLE, owner, m=jane_member, r=roles["Admin"])
    assert client.error(ROLE, owner, m=own_member, r=roles["Member"])["subCode"] == "CANNOT_UPDATE_SELF_ROLE"
    client.get(ROLE, back, m=own_member, r=roles["Member"])
    assert client.error(ROLE, owner, m=jane_member, r=roles["Member"])["subCode"] == "PERMISSION_DENIED"


def test_half_a_member(client: Client, shared: StandInTwenty) -> None:
    """A membership without a record lets nobody in; a record without one is used again on joining."""
    owner = client.found("owner@halves.test", "halves")
    database = shared.database_url
    schema = sql(database, "SELECT \"databaseSchema\" FROM core.workspace WHERE subdomain = 'halves'")[0][0]
    records = f'"{schema}"."workspaceMember"'
    jane = client.join("jane@halves.test", owner, "halves")
    me = client.me(jane)
    member, invite_hash = me["workspaceMember"]["id"], client.invite_hash(owner)
    drop_role = 'DELETE FROM core."roleTarget" WHERE "userWorkspaceId" IN (%s)'
    sql(database, drop_role % 'SELECT id FROM core."userWorkspace" WHERE "userId" = %s', me["id"])
    assert client.error(REMOVE, owner, m=member)["message"] == "No role found for userWorkspace"
    sql(database, 'DELETE FROM core."userWorkspace" WHERE "userId" = %s', me["id"])
    assert client.error(REMOVE, owner, m=member)["message"] == "User workspace not found."
    back = client.join("jane@halves.test", owner, "halves")
    assert client.me(back)["workspaceMember"] == {"id": member, "roles": [{"label": "Member"}]}
    sql(database, f'DELETE FROM {records} WHERE "userId" = %s', me["id"])
    login = client.get(JOIN, e="jane@halves.test", p="Passw0rd!", h=invite_hash)["loginToken"]["token"]
    error = client.error(_EXCHANGE, l=login, o="http://halves.localhost/")
    assert (error["message"], error["code"]) == ("User is not a member of the workspace", "FORBIDDEN")
    assert sql(database, f'SELECT 1 FROM {records} WHERE "userId" = %s', me["id"]) == []


def test_who_was_deleted_comes_back_as_somebody_else(client: Client, shared: StandInTwenty) -> None:
    """A new account after a deleted one, a new membership after a deleted one; a record left over is in the way."""
    owner = client.found("owner@deleted.test", "deleted")
    database = shared.database_url
    jane = client.join("jane@deleted.test", owner, "deleted")
    first = client.me(jane)
    sql(database, 'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "userId" = %s', first["id"])
    second = client.me(client.join("jane@deleted.test", owner, "deleted"))
    assert (second["id"], second["workspaceMember"]["id"]) == (first["id"], first["workspaceMember"]["id"])
    sql(database, 'UPDATE core."user" SET "deletedAt" = now() WHERE id = %s', first["id"])
    error = client.error(JOIN, e="jane@deleted.test", p="Passw0rd!", h=client.invite_hash(owner))
    assert error["message"] == "A duplicate entry was detected"
    half = """SELECT count(*) FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"
              WHERE u.email = 'jane@deleted.test' AND u."deletedAt" IS NULL"""
    assert sql(database, half) == [(1,)]
    assert client.error(REMOVE, owner, m=first["workspaceMember"]["id"])["message"] == "UserEntity not found"


def test_e_mails_are_stored_in_lower_case_and_compared_as_they_come(client: Client, shared: StandInTwenty) -> None:
    owner = client.found("owner@letters.test", "letters")
    client.join("Ada@letters.test", owner, "letters")
    assert client.error(JOIN, e="Ada@letters.test", p="Passw0rd!", h=client.invite_hash(owner))["message"].startswith(
        "duplicate key value"
    )
    # an invitation to a member in other letters is sent, and would let them in again after a removal
    assert client.get(INVITE, owner, e=["ADA@letters.test"])["success"]
    found = client.get("{ findWorkspaceInvitations { email } }", owner)
    assert found == [{"email": "ada@letters.test"}]


def test_an_admin_without_a_record_does_not_count(client: Client, shared: StandInTwenty) -> None:
    owner = client.found("owner@admins.test", "admins")
    jane = client.me(client.join("jane@admins.test", owner, "admins"))
    roles = {role["label"]: role["id"] for role in client.get("{ getRoles { id label } }", owner)}
    client.get(ROLE, owner, m=jane["workspaceMember"]["id"], r=roles["Admin"])
    assert client.error(ROLE, owner, m=client.me(owner)["workspaceMember"]["id"], r=roles["Admin"])["subCode"] == (
        "CANNOT_UPDATE_SELF_ROLE"
    )
    client.join("third@admins.test", owner, "admins")
    schema = sql(shared.database_url, "SELECT \"databaseSchema\" FROM core.workspace WHERE subdomain = 'admins'")[0][0]
    sql(shared.database_url, f'DELETE FROM "{schema}"."workspaceMember" WHERE "userId" = %s', jane["id"])
    error = client.error(REMOVE, owner, m=client.me(owner)["workspaceMember"]["id"])
    assert error["subCode"] == "CANNOT_DELETE_LAST_ADMIN_USER"


def test_a_pending_invitation_is_used_before_the_password_is_looked_at(client: Client, shared: StandInTwenty) -> None:
    owner = client.found("owner@invites.test", "invites")
    client.sign_up("guest@invites.test")
    sent = len(shared.mails)
    assert client.get(INVITE, owner, e=["Guest@invites.test", "owner@invites.test"])["errors"] == [
        "This user is already a member of the workspace."
    ]
    assert [mail.to for mail in shared.mails[sent:]] == ["guest@invites.test"]
    error = client.error(LOGIN, e="guest@invites.test", p="not-the-one", o="http://invites.localhost/")
    assert error["message"] == "Wrong password"
    assert client.get(MEMBERS, owner, "/graphql")["totalCount"] == 2
    assert client.get("{ findWorkspaceInvitations { id } }", owner) == []


def test_api_keys(client: Client, shared: StandInTwenty) -> None:
    owner = client.found("owner@keys.test", "keys")
    roles = {role["label"]: role["id"] for role in client.get("{ getRoles { id label } }", owner)}
    create = "mutation($i: CreateApiKeyInput!) { createApiKey(input: $i) { id } }"
    wanted = {"name": "bot", "expiresAt": "2100-01-01T00:00:00.000Z", "roleId": roles["Admin"]}
    key_id = client.get(create, owner, i=wanted)["id"]
    generate = "mutation($k: UUID!, $e: String!) { generateApiKeyToken(apiKeyId: $k, expiresAt: $e) { token } }"
    key = client.get(generate, owner, k=key_id, e=wanted["expiresAt"])["token"]
    assert client.invite_hash(key) == client.invite_hash(owner)
    for query in (
        INSTALL,
        "mutation { sendInvitations(emails: []) { success } }",
        ACTIVATE,
        "{ currentUser { id } }",
    ):
        assert client.error(query, key)["message"] == "Forbidden resource"
    assert client.error(create, key, i=wanted)["message"] == "This endpoint requires a session access token"
    first = [client.ask(MEMBERS, key, "/graphql") for _ in range(101)]
    assert all("errors" not in answer for answer in first[:100])
    assert first[100]["data"] == {"workspaceMembers": None}
    assert first[100]["errors"][0]["extensions"]["subCode"] == "LIMIT_REACHED"
    assert client.get(MEMBERS, owner, "/graphql")["totalCount"] == 1
    client.get("mutation($i: RevokeApiKeyInput!) { revokeApiKey(input: $i) { id } }", owner, i={"id": key_id})
    assert client.error(MEMBERS, key, "/graphql")["message"] == "This API Key is revoked"


def test_documents_are_checked_without_a_token(client: Client) -> None:
    token = client.sign_up("reader@documents.test")
    unknown = client.ask("{ nothingOfTheKind }")
    assert unknown["errors"][0]["message"] == 'Cannot query field "nothingOfTheKind" on type "Query".'
    assert "data" not in unknown
    introspection = "{ __schema { queryType { name } } }"
    for anyone in (None, token):
        assert "introspection has been disabled" in client.ask(introspection, anyone)["errors"][0]["message"]
    inside = client.create(token, "documents")
    assert client.get(introspection, inside) == {"queryType": {"name": "Query"}}
    twice = "{ a: currentUser { id } b: currentUser { id } }"
    assert client.error(twice, token)["message"] == 'Duplicate root resolver: "currentUser"'
    missing = client.ask("query($o: String!) { checkUserExists(email: $o) { exists } }")
    assert "errors" in missing
    assert missing.get("data") is None


def test_a_server_that_lacks_a_call_or_answers_anyone(database: str) -> None:
    lacking = frozenset({"triggerInstallAppsOnboardingStep"})
    options = TwentyOptions(lacking=lacking, introspection_for_anonymous=True)
    with StandInTwenty(database, options) as server:
        client = Client(server.base_url)
        fields = client.get("{ __schema { mutationType { fields { name } } } }")["mutationType"]["fields"]
        assert {"name": "skipSyncEmailOnboardingStep"} in fields
        assert {"name": "triggerInstallAppsOnboardingStep"} not in fields
        assert client.error(INSTALL)["message"].startswith("Cannot query field")


def test_a_hand_made_workspace_cannot_be_opened(database: str) -> None:
    with StandInTwenty(database) as server:
        client = Client(server.base_url)
        client.sign_up("owner@x.test")
        sql(
            database,
            """WITH made AS (
                 INSERT INTO core.workspace (subdomain, "displayName", "activationStatus", "databaseSchema")
                 VALUES ('made', 'Made', 'ACTIVE', 'workspace_made') RETURNING id)
               INSERT INTO core."userWorkspace" ("userId", "workspaceId")
               SELECT u.id, made.id FROM core."user" u, made""",
        )
        login = client.get(LOGIN, e="owner@x.test", p="Passw0rd!", o="http://made.localhost/")
        token = login["loginToken"]["token"]
        error = client.error(_EXCHANGE, l=token, o="http://made.localhost")
        assert error["message"].startswith('Object metadata for object "workspaceMember" is missing')


def test_two_at_once_make_one(database: str) -> None:
    with StandInTwenty(database) as server:
        client = Client(server.base_url)
        token = client.sign_up("owner@x.test")
        wanted = {"displayName": "Acme", "subdomain": "acme"}
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: client.ask(CREATE, token, i=wanted), range(6)))
            joined = list(pool.map(lambda _: client.ask(_SIGN_UP, e="twin@x.test"), range(6)))
        assert sum("errors" not in answer for answer in answers) == 1
        assert sum("errors" not in answer for answer in joined) == 1
        counts = 'SELECT (SELECT count(*) FROM core.workspace), (SELECT count(*) FROM core."user")'
        assert sql(database, counts) == [(1, 2)]


_EXCHANGE = """mutation($l: String!, $o: String!) {
  getAuthTokensFromLoginToken(loginToken: $l, origin: $o) { tokens { refreshToken { token } } } }"""
_SIGN_UP = 'mutation($e: String!) { signUp(email: $e, password: "Passw0rd!") { __typename } }'


def test_another_process_can_watch_and_steer(database: str) -> None:
    with StandInTwenty(database) as server:
        client = Client(server.base_url)
        wanted = {"scripted": [{"operation": "signUp", "kind": "refuse"}], "latency_seconds": 0.001}
        assert client.http.post("/sandbox/faults", json=wanted).status_code == 200
        body = {"query": _SIGN_UP, "variables": {"e": "a@x.test"}}
        assert client.http.post("/metadata", json=body).status_code == 429
        state = client.http.get("/sandbox/state").json()
        assert state["calls"] == {"signUp": 1}
        assert state["mutating_calls"] == 0
        assert state["faults"] == {"refuse": 1}
        assert state["mails"] == []
        client.http.post("/sandbox/reset")
        assert client.http.get("/sandbox/state").json()["calls"] == {}
        assert server.calls == {}
        assert client.http.get("/healthz").json()["status"] == "ok"


def test_the_core_schema_can_be_made_twice_and_elsewhere(database: str) -> None:
    for _ in range(2):
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(core_sql().encode())
    tables = sql(database, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'core'")
    expected = {"workspace", "user", "userWorkspace", "keyValuePair", "role", "roleTarget"}
    expected |= {"objectMetadata", "appToken", "apiKey"}
    assert {name for (name,) in tables} == expected
