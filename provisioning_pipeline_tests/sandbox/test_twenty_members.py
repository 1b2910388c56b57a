"""How members come, go and come back at the stand-in Twenty, whole and half."""

from provisioning_pipeline.sandbox.twenty import StandInTwenty
from provisioning_pipeline_tests.sandbox.twenty_fixtures import (
    EXCHANGE,
    INVITE,
    JOIN,
    LOGIN,
    MEMBERS,
    REMOVE,
    ROLE,
    Client,
    sql,
)


def test_removal_locks_out_at_once_and_keeps_one_admin(client: Client) -> None:
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


def test_half_a_member(client: Client, twenty: StandInTwenty) -> None:
    """A membership without a record lets nobody in; a record without one is used again on joining."""
    owner = client.found("owner@halves.test", "halves")
    database = twenty.database_url
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
    error = client.error(EXCHANGE, l=login, o="http://halves.localhost/")
    assert (error["message"], error["code"]) == ("User is not a member of the workspace", "FORBIDDEN")
    assert sql(database, f'SELECT 1 FROM {records} WHERE "userId" = %s', me["id"]) == []


def test_who_was_deleted_comes_back_as_somebody_else(client: Client, twenty: StandInTwenty) -> None:
    """A new account after a deleted one, a new membership after a deleted one; a record left over is in the way."""
    owner = client.found("owner@deleted.test", "deleted")
    database = twenty.database_url
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


def test_e_mails_are_stored_in_lower_case_and_compared_as_they_come(client: Client) -> None:
    owner = client.found("owner@letters.test", "letters")
    client.join("Ada@letters.test", owner, "letters")
    assert client.error(JOIN, e="Ada@letters.test", p="Passw0rd!", h=client.invite_hash(owner))["message"].startswith(
        "duplicate key value"
    )
    # an invitation to a member in other letters is sent, and would let them in again after a removal
    assert client.get(INVITE, owner, e=["ADA@letters.test"])["success"]
    found = client.get("{ findWorkspaceInvitations { email } }", owner)
    assert found == [{"email": "ada@letters.test"}]


def test_an_admin_without_a_record_does_not_count(client: Client, twenty: StandInTwenty) -> None:
    owner = client.found("owner@admins.test", "admins")
    jane = client.me(client.join("jane@admins.test", owner, "admins"))
    roles = {role["label"]: role["id"] for role in client.get("{ getRoles { id label } }", owner)}
    client.get(ROLE, owner, m=jane["workspaceMember"]["id"], r=roles["Admin"])
    assert client.error(ROLE, owner, m=client.me(owner)["workspaceMember"]["id"], r=roles["Admin"])["subCode"] == (
        "CANNOT_UPDATE_SELF_ROLE"
    )
    client.join("third@admins.test", owner, "admins")
    schema = sql(twenty.database_url, "SELECT \"databaseSchema\" FROM core.workspace WHERE subdomain = 'admins'")[0][0]
    sql(twenty.database_url, f'DELETE FROM "{schema}"."workspaceMember" WHERE "userId" = %s', jane["id"])
    error = client.error(REMOVE, owner, m=client.me(owner)["workspaceMember"]["id"])
    assert error["subCode"] == "CANNOT_DELETE_LAST_ADMIN_USER"


def test_a_pending_invitation_is_used_before_the_password_is_looked_at(client: Client, twenty: StandInTwenty) -> None:
    owner = client.found("owner@invites.test", "invites")
    client.sign_up("guest@invites.test")
    sent = len(twenty.mails)
    assert client.get(INVITE, owner, e=["Guest@invites.test", "owner@invites.test"])["errors"] == [
        "This user is already a member of the workspace."
    ]
    assert [mail.to for mail in twenty.mails[sent:]] == ["guest@invites.test"]
    error = client.error(LOGIN, e="guest@invites.test", p="not-the-one", o="http://invites.localhost/")
    assert error["message"] == "Wrong password"
    assert client.get(MEMBERS, owner, "/graphql")["totalCount"] == 2
    assert client.get("{ findWorkspaceInvitations { id } }", owner) == []
