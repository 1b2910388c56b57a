"""The stand-in Twenty against everything that was recorded on a real one."""

import json

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLObjectType, build_schema

from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline.sandbox.twenty.execution import build
from provisioning_pipeline_tests.sandbox.twenty_fixtures import Client, sql
from provisioning_pipeline_tests.sandbox.twenty_replay import REAL_SCHEMA, RECORDING, Replay, Tokens

needs_recording = pytest.mark.skipif(not RECORDING.exists(), reason="no recording beside this checkout")

SKIPPED = {
    104: "a record of people; the stand-in holds members only",
    140: "a record of people",
    141: "a record of people (the limit itself is tested in test_twenty_accounts.py)",
    150: "a record of companies",
    152: "a record of companies",
    181: "a record of people (a revoked key is tested in test_twenty_accounts.py)",
}

MEMBER = "Passw0rd!member"
OWNER = "Passw0rd!owner"


@needs_recording
def test_every_type_and_field_is_in_the_real_schema() -> None:
    real, ours = build_schema(REAL_SCHEMA.read_text()), build("schema.graphql", ())
    for name, type_ in ours.type_map.items():
        if name.startswith("__"):
            continue
        assert name in real.type_map
        theirs = real.type_map[name]
        assert type(theirs).__name__ == type(type_).__name__
        if isinstance(type_, GraphQLObjectType | GraphQLInputObjectType):
            assert isinstance(theirs, GraphQLObjectType | GraphQLInputObjectType)
            for field_name, field in type_.fields.items():
                assert field_name in theirs.fields, f"{name}.{field_name}"
                real_field = theirs.fields[field_name]
                assert str(real_field.type) == str(field.type), f"{name}.{field_name}"
                arguments = {key: str(value.type) for key, value in getattr(field, "args", {}).items()}
                theirs_too = {key: str(value.type) for key, value in getattr(real_field, "args", {}).items()}
                assert arguments == theirs_too, f"{name}.{field_name}"
        if isinstance(type_, GraphQLEnumType):
            assert isinstance(theirs, GraphQLEnumType)
            assert list(type_.values) == list(theirs.values)


@needs_recording
def test_acme_as_recorded(database: str) -> None:
    with StandInTwenty(database) as server:
        replay = Replay(Client(server.base_url))
        line = replay.line
        agnostic = Tokens.of(line(0)).access
        made = line(1, agnostic)
        early = Tokens.of(line(2, jwt=made["loginToken"]["token"])).access
        line(3, early)
        line(4, early)
        owner = replay.exchange(line(5)["loginToken"]["token"], "acme").access
        line(6, owner)
        line(7, owner)
        invite_hash = sql(database, 'SELECT "inviteHash" FROM core.workspace')[0][0]
        replay.bind("dfeba6b7-89cc-4591-8ee9-b9765d295ce7", _member(database, "acme", "owner@acme.test"))
        replay.bind("e523e537-23c2-4aea-bcdc-eb20f7e63138", invite_hash)
        line(8, owner)
        line(9, owner)
        line(10)
        line(11, owner)
        line(12, owner)
        line(13, owner)
        # Left out of the recording: zed is invited before he signs up, and has installed nothing to install.
        replay.client.get('mutation { sendInvitations(emails: ["zed@acme.test"]) { success } }', owner)
        line(170)
        zed = replay.exchange(line(171)["loginToken"]["token"], "acme").access
        line(172, zed)
        line(173, owner)
        line(174, owner)
        key = line(175, owner)["id"]
        reader = _key_token(replay, owner, key)
        line(176, reader)
        replay.bind("ca1d1f08-462b-4268-8cc0-8258333f4290", _member(database, "acme", "zed@acme.test"))
        line(177, reader)
        line(178, reader)
        line(179, reader)
        replay.bind("11123ffe-491e-4941-a99b-d323b2dec55f", key)
        line(180, owner)
        assert replay.done == {*range(14), *range(170, 182)} - SKIPPED.keys()


@pytest.mark.slow
@needs_recording
def test_brightwave_as_recorded(database: str) -> None:
    options = TwentyOptions(workspace_limit=5, creation_limited_to_admins=False)
    with StandInTwenty(database, options) as server:
        replay = Replay(Client(server.base_url))
        people = _found_brightwave(replay, database)
        _members_join(replay, database, people)
        _logins_and_the_open_door(replay, people)
        _an_api_key(replay, people)
        _a_second_workspace(replay, database, people)
        _limits(replay, database, people)
        _flags_and_impersonation(replay, database, people)
        assert replay.done == set(range(14, 170)) - SKIPPED.keys()


def _member(database: str, subdomain: str, email: str) -> str:
    query = 'SELECT "databaseSchema" FROM core.workspace WHERE subdomain = %s'
    schema = sql(database, query, subdomain)[0][0]
    statement = f'SELECT id::text FROM "{schema}"."workspaceMember" WHERE "userEmail" = %s'
    return str(sql(database, statement, email)[0][0])


def _key_token(replay: Replay, owner: str, key: str) -> str:
    query = "mutation($k: UUID!, $e: String!) { generateApiKeyToken(apiKeyId: $k, expiresAt: $e) { token } }"
    return str(replay.client.get(query, owner, k=key, e="2030-01-01T00:00:00.000Z")["token"])


def _found_brightwave(replay: Replay, database: str) -> dict[str, str]:
    line, client = replay.line, replay.client
    query = """mutation($e: String!, $p: String!) { signUp(email: $e, password: $p) { tokens {
      accessOrWorkspaceAgnosticToken { token } refreshToken { token } } } }"""
    agnostic = Tokens.of(client.get(query, e="olivia@brightwave.test", p=OWNER)).access
    line(14, agnostic)
    query = """mutation { signUpInNewWorkspace(input: {displayName: "Brightwave", subdomain: "brightwave"}) {
      loginToken { token } } }"""
    early = replay.exchange(client.get(query, agnostic)["loginToken"]["token"], "brightwave").access
    line(15, early)
    client.get("mutation { activateWorkspace(data: {}) { id } }", early)
    for number in range(16, 23):
        line(number, early)
    olivia = replay.login("olivia@brightwave.test", OWNER, "brightwave").access
    client.get('mutation { sendInvitations(emails: ["milo@brightwave.test"]) { success } }', olivia)
    line(23, olivia)
    token = sql(database, """SELECT value FROM core."appToken" WHERE type = 'INVITATION_TOKEN'""")[0][0]
    replay.bind("f0129314cfa487a69f7c7ebd3d7bc0fd4fda294c54a69945cc778aa22cd15070", token)
    return {"olivia agnostic": agnostic, "olivia": olivia}


def _members_join(replay: Replay, database: str, people: dict[str, str]) -> None:
    line, client, olivia = replay.line, replay.client, people["olivia"]
    line(24)
    line(25)
    milo = replay.exchange(line(26)["loginToken"]["token"], "brightwave").access
    for number in range(27, 35):
        line(number, milo)
    hana = replay.exchange(line(35)["loginToken"]["token"], "brightwave").access
    line(36, hana)
    line(37, olivia)
    line(38, hana)
    line(39, hana)
    line(40)
    line(41)
    line(42, olivia)
    line(43)
    theo = replay.exchange(line(44)["loginToken"]["token"], "brightwave").access
    line(45, theo)
    for number in range(46, 51):
        line(number)
    line(51, olivia)
    line(52, olivia)
    for number in (53, 54, 55):
        line(number, theo)
    line(56, milo)
    line(57, theo)
    # Left out of the recording: ursula is invited. The wrong password then joins her before it is refused.
    client.get('mutation { sendInvitations(emails: ["ursula@brightwave.test"]) { success } }', olivia)
    line(58)
    client.get("mutation { triggerInstallAppsOnboardingStep(universalIdentifiers: []) { success } }", olivia)
    query = "mutation($i: UpdateWorkspaceMemberSettingsInput!) { updateWorkspaceMemberSettings(input: $i) }"
    name = {"name": {"firstName": "Olivia", "lastName": "Hart"}}
    member = replay.live["372c9e46-bdb3-4a86-a289-4ba03650ac2d"]
    client.get(query, olivia, i={"workspaceMemberId": member, "update": name})
    people |= {"milo": milo, "hana": hana, "theo": theo}
    ursula = _member(database, "brightwave", "ursula@brightwave.test")
    replay.bind("c436cba2-14ba-4625-8a9b-2a67966a8372", ursula)


def _logins_and_the_open_door(replay: Replay, people: dict[str, str]) -> None:
    line = replay.line
    for number in range(59, 68):
        line(number)
    line(68, people["olivia"])
    line(69)
    line(70, "garbage")
    for number in range(71, 75):
        line(number)
    refresh = Tokens.of(line(75)).refresh
    line(76, jwt=refresh)
    line(77, jwt=refresh)
    line(78, people["olivia"])
    line(79, people["milo"])


def _an_api_key(replay: Replay, people: dict[str, str]) -> None:
    replay.line(80, people["olivia"])
    key = replay.line(81, people["olivia"])["token"]
    for number in range(82, 107):
        if number not in SKIPPED:
            replay.line(number, key)


def _a_second_workspace(replay: Replay, database: str, people: dict[str, str]) -> None:
    line, client = replay.line, replay.client
    agnostic = Tokens.of(line(107)).access
    for number in range(108, 112):
        line(number, agnostic)
    made = line(112, agnostic)
    here = "brightwave-2"
    milo = replay.exchange(made["loginToken"]["token"], here).access
    row = sql(database, 'SELECT "inviteHash" FROM core.workspace WHERE subdomain = %s', here)[0]
    replay.bind("37071e23-0fe3-4959-992f-c67ee9b4169f", row[0])
    line(113)
    line(114)
    for number in range(115, 119):
        line(number, milo)
    # 119 and 120 were sent while 121 was running; the lock is put there by hand, so that no one need wait.
    set_status = 'UPDATE core.workspace SET "activationStatus" = %s WHERE subdomain = %s'
    sql(database, set_status, "ONGOING_CREATION", here)
    line(119, milo)
    line(120, milo)
    sql(database, set_status, "PENDING_CREATION", here)
    line(121, milo)
    nora = replay.exchange(line(122)["loginToken"]["token"], here).access
    client.get("mutation { triggerInstallAppsOnboardingStep(universalIdentifiers: []) { success } }", nora)
    query = "mutation($i: UpdateWorkspaceMemberSettingsInput!) { updateWorkspaceMemberSettings(input: $i) }"
    member = client.get("{ currentUser { workspaceMember { id } } }", nora)["workspaceMember"]["id"]
    client.get(query, nora, i={"workspaceMemberId": member, "update": {"name": {"firstName": "Nora"}}})
    line(123, nora)
    line(124, nora)
    hana = replay.exchange(line(125)["loginToken"]["token"], here).access
    line(126, hana)
    line(127, people["hana"])
    line(128)
    line(129)
    for number in (130, 131, 132):
        line(number, milo)
    line(133, nora)


def _limits(replay: Replay, database: str, people: dict[str, str]) -> None:
    line, client, olivia, agnostic = replay.line, replay.client, people["olivia"], people["olivia agnostic"]
    line(134, agnostic)
    line(135, agnostic)
    fifth = replay.exchange(line(136, agnostic)["loginToken"]["token"], "corp5").access
    line(137, agnostic)
    line(138, fifth)
    new = replay.exchange(line(139, agnostic)["loginToken"]["token"], "replacement")
    line(142)
    line(143)
    invite = 'mutation { sendInvitations(emails: ["again@brightwave.test"]) { result { id } } }'
    delete = "mutation($i: String!) { deleteWorkspaceInvitation(appTokenId: $i) }"
    for _ in range(9):
        client.get(delete, olivia, i=client.get(invite, olivia)["result"][0]["id"])
    replay.bind("75d28aac-4abd-4539-8e32-f283bd35dbdb", client.get(invite, olivia)["result"][0]["id"])
    line(144, olivia)
    line(145, olivia)
    line(146, olivia)
    line(147, new.access)
    line(148, new.access)
    member = _member(database, "replacement", "olivia@brightwave.test")
    replay.bind("384a4e73-a05b-421a-a541-93825636fc5f", member)
    line(149, new.access)
    line(151, jwt=new.refresh)


def _flags_and_impersonation(replay: Replay, database: str, people: dict[str, str]) -> None:
    line, olivia = replay.line, people["olivia"]
    olivia_id = replay.live["84b07266-8f8f-4e70-a7ec-0b1b082c6e31"]
    milo_id = replay.live["66bbd5f7-3175-45fb-b25d-16cb19cf8d50"]
    here = replay.live["78eb5ba4-edfe-405e-bc1e-a78a7db4b9d1"]

    def put(step: str, user: str | None, workspace: str | None, value: object) -> None:
        columns = 'key, "userId", "workspaceId", value'
        statement = f'INSERT INTO core."keyValuePair" ({columns}) VALUES (%s, %s, %s, %s)'
        sql(database, statement, f"ONBOARDING_{step}_PENDING", user, workspace, json.dumps(value))

    def clean() -> None:
        statement = 'DELETE FROM core."keyValuePair" WHERE "userId" = %s OR "workspaceId" = %s'
        sql(database, statement, olivia_id, here)

    cases: list[tuple[int, str, str | None, str | None, object]] = [
        (153, "CONNECT_ACCOUNT", olivia_id, here, True),
        (154, "CONNECT_ACCOUNT", olivia_id, None, True),
        (155, "CONNECT_ACCOUNT", None, here, True),
        (156, "CONNECT_ACCOUNT", olivia_id, here, False),
        (157, "CONNECT_ACCOUNT", olivia_id, here, "true"),
        (158, "INVITE_TEAM", olivia_id, here, True),
    ]
    for number, step, user, workspace, value in cases:
        put(step, user, workspace, value)
        line(number, olivia)
        clean()
    line(159, olivia)
    put("INSTALL_APPS", milo_id, here, True)
    as_milo = replay.exchange(line(160, olivia)["loginToken"]["token"], "brightwave").access
    line(161, as_milo)
    line(162, as_milo)
    line(163, people["milo"])
    line(164, olivia)
    line(165)
    for number in range(166, 170):
        line(number, olivia)


@needs_recording
def test_the_service_account_as_recorded(database: str) -> None:
    with StandInTwenty(database) as server:
        replay = Replay(Client(server.base_url))
        line = replay.line
        agnostic = Tokens.of(line(182)).access
        early = Tokens.of(line(184, jwt=line(183, agnostic)["loginToken"]["token"])).access
        line(185, early)
        acme = Tokens.of(line(187, jwt=line(186)["loginToken"]["token"])).access
        early = Tokens.of(line(189, jwt=line(188, agnostic)["loginToken"]["token"])).access
        line(190, early)
        beta = Tokens.of(line(192, jwt=line(191)["loginToken"]["token"])).access
        line(193, acme)
        line(194, acme)
        jane = Tokens.of(line(196, jwt=line(195)["loginToken"]["token"]))
        line(197, jane.access)
        line(198, acme)
        line(199, acme)
        as_jane = Tokens.of(line(201, jwt=line(200, acme)["loginToken"]["token"])).access
        line(202, as_jane)
        jane = Tokens.of(line(204, jwt=line(203)["loginToken"]["token"]))
        line(205, jane.access)
        line(206, acme)
        jane = Tokens.of(line(208, jwt=line(207)["loginToken"]["token"]))
        line(209, jane.access)
        line(210, acme)
        line(211, beta)
        at_beta = Tokens.of(line(213, jwt=line(212)["loginToken"]["token"])).access
        line(214, at_beta)
        line(215, acme)
        line(216)
        line(217)
        line(218, jane.access)
        line(219, acme)
        for number in range(220, 224):
            line(number, jane.access)
        line(224, jwt=jane.refresh)
        line(225)
        line(226, acme)
        line(227)
        line(228, jane.access)
        assert replay.done == set(range(182, 229))
        assert server.mails == []
