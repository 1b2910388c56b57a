"""What the stand-in Twenty makes of onboarding steps: who is shown which, and what clears it."""

from provisioning_pipeline.sandbox.twenty import StandInTwenty
from provisioning_pipeline_tests.sandbox.twenty_fixtures import (
    ACTIVATE,
    IMPERSONATE,
    INSTALL,
    INVITE,
    REMOVE,
    ROLE,
    SETTINGS,
    SKIP_SYNC,
    Client,
    name_of,
    sql,
)


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


def test_a_narrower_level_hides_a_wider_one(client: Client, twenty: StandInTwenty) -> None:
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
        sql(twenty.database_url, clean, workspace, user)
        for user_id, workspace_id, value in rows:
            sql(twenty.database_url, put, key, user_id, workspace_id, value)
        assert client.status(owner) == expected, rows
    sql(twenty.database_url, clean, workspace, user)
    sql(twenty.database_url, put, key, None, workspace, "true")
    client.get(SETTINGS, owner, i=name_of(me["workspaceMember"]["id"], "A", "B"))
    assert client.status(owner) == "PROFILE_CREATION"  # the call deletes its own level only


def test_a_joiner_and_what_others_may_do_for_one(client: Client) -> None:
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
