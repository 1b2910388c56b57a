"""How workspaces come to be at the stand-in Twenty: subdomains, limits, activation."""

from concurrent.futures import ThreadPoolExecutor

from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline_tests.sandbox.twenty_fixtures import ACTIVATE, CREATE, EXCHANGE, LOGIN, SIGN_UP, Client, sql


def test_subdomains(client: Client) -> None:
    token = client.sign_up("chooser@subdomains.test")
    for subdomain in ("ab", "-ab", "ab-", "A-b", "a_b", "x" * 31, "api-x", "admin", "new-york"):
        error = client.error(CREATE, token, i={"displayName": "X", "subdomain": subdomain})
        assert error["subCode"] == "SUBDOMAIN_NOT_VALID", subdomain
    access = client.create(token, "chosen")
    again = {"displayName": "X", "subdomain": "chosen"}
    assert client.error(CREATE, token, i=again)["subCode"] == "SUBDOMAIN_ALREADY_TAKEN"
    keeper = client.create(token, "keeper")  # an account without a workspace would be deleted with it
    # it is suspended first, and the table refuses that before the activation (run on 2.21.0)
    refused = client.error("mutation { deleteCurrentWorkspace { id } }", access)
    assert "onboarded_workspace_requires_default_role" in refused["message"]
    client.get(ACTIVATE, access)
    access = client.login("chooser@subdomains.test", "chosen")
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


def test_two_at_once_make_one(database: str) -> None:
    with StandInTwenty(database) as server:
        client = Client(server.base_url)
        token = client.sign_up("owner@x.test")
        wanted = {"displayName": "Acme", "subdomain": "acme"}
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: client.ask(CREATE, token, i=wanted), range(6)))
            joined = list(pool.map(lambda _: client.ask(SIGN_UP, e="twin@x.test"), range(6)))
        assert sum("errors" not in answer for answer in answers) == 1
        assert sum("errors" not in answer for answer in joined) == 1
        counts = 'SELECT (SELECT count(*) FROM core.workspace), (SELECT count(*) FROM core."user")'
        assert sql(database, counts) == [(1, 2)]


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
        error = client.error(EXCHANGE, l=token, o="http://made.localhost")
        assert error["message"].startswith('Object metadata for object "workspaceMember" is missing')
