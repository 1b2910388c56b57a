"""What an account, a token and a key may do at the stand-in Twenty, and what is refused."""

from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.sandbox.twenty_fixtures import (
    ACTIVATE,
    CREATE,
    EXCHANGE,
    IMPERSONATE,
    INSTALL,
    JOIN,
    LOGIN,
    MEMBERS,
    Client,
    sql,
)


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
        assert client.error(EXCHANGE, l=login, o="http://bbb.localhost")["message"] == "Token has expired."


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


def test_api_keys(client: Client) -> None:
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
