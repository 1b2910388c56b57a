"""A Clerk session signs its holder in to Twenty, whoever they are there by then."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import bcrypt
import httpx2
import pytest

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.http import sign_in as signing_in
from provisioning_pipeline.ledger import locks
from provisioning_pipeline_tests.http.logs import logging_as_json
from provisioning_pipeline_tests.http.services import PROBLEM, caller, serving, small_world
from provisioning_pipeline_tests.http.sign_ins import NEXT, Newcomer, SignIns, follow, refused, signed_in
from provisioning_pipeline_tests.world import browser, read


@pytest.fixture(scope="module")
def people() -> Iterator[SignIns]:
    with (
        small_world(tenants=2, members=2, sign_ins_per_minute=1000, clerk_look_share=1.0) as world,
        serving(world.settings) as url,
    ):
        yield SignIns(world, url)


def test_a_linked_member_is_signed_in_as_that_member(people: SignIns) -> None:
    calls = people.world.sandbox.twenty[0].mutating_calls
    document = signed_in(people.sign_in(people.world.clerk_user(people.admin)))

    assert people.world.sandbox.twenty[0].mutating_calls <= calls + 2, "a login and nothing more"
    assert document["workspace_id"] == people.workspace
    seen = follow(people, document)
    assert (seen["email"], seen["onboardingStatus"]) == (people.admin, "COMPLETED")
    assert document["verify_url"].startswith(people.world.link(people.tenant)["workspace_url"].rstrip("/"))


@pytest.mark.slow
def test_each_sign_in_is_another(people: SignIns) -> None:
    tokens = {signed_in(people.sign_in(people.world.clerk_user(people.admin)))["login_token"] for _ in range(3)}

    assert len(tokens) == 3


@pytest.mark.parametrize(
    ("role", "label"), [pytest.param("org:member", "Member", marks=pytest.mark.slow), ("org:admin", "Admin")]
)
def test_a_member_whom_no_backfill_has_reached_is_added_once(people: SignIns, role: str, label: str) -> None:
    somebody = people.newcomer(role=role)
    with ThreadPoolExecutor(5) as pool:
        answers = [each.result() for each in [pool.submit(people.sign_in, somebody.user_id) for _ in range(5)]]

    documents = [signed_in(answer) for answer in answers]
    (account,) = people.accounts(somebody.email)
    assert {document["twenty_user_id"] for document in documents} == {account}
    assert people.memberships(somebody.email) == 1
    assert people.world.members(people.tenant)[somebody.email] == (label, somebody.name)
    assert (somebody.email, "COMPLETED") in people.proofs()
    for document in documents:
        assert follow(people, document)["onboardingStatus"] == "COMPLETED"
    assert people.world.registry(
        "SELECT count(*) FROM provisioning.member_link WHERE clerk_user_id = %s", somebody.user_id
    ) == [(1,)]


@pytest.mark.slow
def test_an_impatient_newcomer_does_not_use_up_what_clerk_allows(people: SignIns) -> None:
    """As many calls as a development instance takes, of which looks at sessions have a tenth."""
    changes = {"clerk_look_share": 0.1, "clerk_requests_per_10_seconds": 100}
    somebody = people.newcomer()
    with serving(people.world.settings.model_copy(update=changes)) as url, ThreadPoolExecutor(5) as pool:
        own = SignIns(people.world, url)
        asking = [pool.submit(own.sign_in, somebody.user_id) for _ in range(5)]

        assert [each.result().status_code for each in asking] == [200] * 5

    assert people.memberships(somebody.email) == 1


@pytest.mark.slow
def test_nobody_is_sent_an_email(people: SignIns) -> None:
    signed_in(people.sign_in(people.newcomer().user_id))

    assert [mail for server in people.world.sandbox.twenty for mail in server.mails] == []


def test_a_member_with_a_wizard_before_them_gets_none(people: SignIns) -> None:
    somebody = people.newcomer()
    signed_in(people.sign_in(somebody.user_id))
    people.pend(somebody.email)
    before = people.world.sees_as(people.tenant, somebody.email)["status"]

    document = signed_in(people.sign_in(somebody.user_id))

    assert before != "COMPLETED"
    assert follow(people, document)["onboardingStatus"] == "COMPLETED"


@pytest.mark.slow
def test_the_session_route_knows_the_account_afterwards(people: SignIns) -> None:
    somebody = people.newcomer()
    token = people.clerk.session_token(somebody.user_id, people.organization)
    with caller(people.url, token) as http:
        before = http.get("/v1/session").json()
        document = signed_in(http.post("/v1/session/twenty"))
        after = http.get("/v1/session").json()
        verified = http.get("/v1/auth/verify")

    assert before["twenty_user_id"] is None
    assert after["twenty_user_id"] == document["twenty_user_id"]
    assert (verified.status_code, verified.headers["x-twenty-user-id"]) == (200, document["twenty_user_id"])


@pytest.mark.slow
def test_other_members_who_wait_are_left_for_a_run_that_looks_at_all(people: SignIns) -> None:
    other, somebody = people.newcomer(), people.newcomer()
    people.world.registry(
        "UPDATE provisioning.condition SET status = 'False', reason = 'HalfMember' WHERE type = 'MembersSynced'"
    )
    before = people.world.conditions(people.tenant)

    signed_in(people.sign_in(somebody.user_id))

    assert people.accounts(other.email) == []
    assert people.world.members(people.tenant).keys().isdisjoint({other.email})
    after = people.world.conditions(people.tenant)
    assert after["MembersSynced"] == before["MembersSynced"] == ("False", "HalfMember")
    people.world.apply()
    assert people.world.conditions(people.tenant)["MembersSynced"][0] == "True"
    assert len(people.accounts(other.email)) == 1


@pytest.mark.slow
def test_a_mark_for_the_others_stays(people: SignIns) -> None:
    people.world.registry("UPDATE provisioning.tenant_link SET marked_at = now(), marked_by = 'clerk'")

    signed_in(people.sign_in(people.newcomer().user_id))

    assert people.world.link(people.tenant)["marked_at"] is not None
    people.world.apply()


@pytest.mark.slow
def test_who_has_a_password_of_their_own_is_signed_in_or_told(people: SignIns) -> None:
    somebody = people.newcomer()
    signed_in(people.sign_in(somebody.user_id))
    own = bcrypt.hashpw(b"a password of their own", bcrypt.gensalt(4)).decode()
    people.world.twenty('UPDATE core."user" SET "passwordHash" = %s WHERE email = %s', own, somebody.email)

    answer = people.sign_in(somebody.user_id)

    if answer.status_code == 200:
        assert follow(people, signed_in(answer))["email"] == somebody.email
    else:
        assert "password" in refused(answer, 403, "member_not_linked").lower()
    assert people.world.twenty('SELECT "passwordHash" FROM core."user" WHERE email = %s', somebody.email) == [(own,)]


@pytest.mark.slow
def test_signing_in_raises_nobody_whose_account_proves_nothing(people: SignIns) -> None:
    """An insider joined by the invite link under the address of an admin at Clerk."""
    somebody = people.newcomer(role="org:admin")
    world, server = people.world, people.world.sandbox.twenty[0]
    ((invite_hash,),) = world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', people.workspace)
    with browser(server) as http:
        read(
            http,
            "mutation($e:String!,$p:String!,$h:String){signUpInWorkspace(email:$e,password:$p,workspaceInviteHash:$h)"
            "{loginToken{token}}}",
            {"e": somebody.email, "p": "Their0wn-Password!", "h": invite_hash},
        )

    for _ in range(2):
        refused(people.sign_in(somebody.user_id), 403, "account_unproven")
        assert world.members(people.tenant)[somebody.email][0] == "Member"
    signed_in(people.sign_in(world.clerk_user(people.admin)))

    with serving(world.settings.model_copy(update={"unproven_sign_in": True})) as url:
        lenient = SignIns(world, url)
        assert follow(people, signed_in(lenient.sign_in(somebody.user_id)))["email"] == somebody.email
    assert world.members(people.tenant)[somebody.email][0] == "Member"


@pytest.mark.slow
def test_an_unverified_address_is_told_and_nothing_is_made(people: SignIns) -> None:
    somebody = people.newcomer(status="unverified")

    refused(people.sign_in(somebody.user_id), 403, "member_not_linked")

    assert people.accounts(somebody.email) == []
    people.clerk.set_email_status(somebody.user_id, "verified")
    signed_in(people.sign_in(somebody.user_id))


def test_where_nothing_but_a_login_is_to_be_proved_a_member_is_refused_in_words(people: SignIns) -> None:
    people.world.registry("UPDATE provisioning.condition SET status = 'False' WHERE type = 'LoginProved'")
    try:
        somebody = people.newcomer(status="unverified")

        refused(people.sign_in(somebody.user_id), 403, "member_not_linked")
    finally:
        people.world.registry("UPDATE provisioning.condition SET status = 'True' WHERE type = 'LoginProved'")
        people.clerk.remove_membership(people.organization, somebody.user_id)


def test_who_has_an_address_that_was_anothers_signs_in_as_themselves(people: SignIns) -> None:
    first, second = people.newcomer(), people.newcomer()
    before = signed_in(people.sign_in(first.user_id))
    signed_in(people.sign_in(second.user_id))
    # the account was given another address in Twenty, and its old one to somebody else
    people.world.twenty('UPDATE core."user" SET email = %s WHERE email = %s', "moved@away.example", first.email)
    people.world.twenty('UPDATE core."user" SET email = %s WHERE email = %s', first.email, second.email)

    document = signed_in(people.sign_in(first.user_id))

    assert document["twenty_user_id"] == before["twenty_user_id"]
    assert follow(people, document)["id"] == before["twenty_user_id"]


def gone(people: SignIns, somebody: Newcomer, how: str) -> None:
    if how == "removed":
        people.clerk.remove_membership(people.organization, somebody.user_id)
    elif how == "banned":
        people.clerk.ban_user(somebody.user_id)
    else:
        people.clerk.delete_user(somebody.user_id)


@pytest.mark.parametrize(
    "how", ["removed", pytest.param("banned", marks=pytest.mark.slow), pytest.param("deleted", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("linked", [True, False])
def test_somebody_who_is_gone_is_refused_and_nothing_is_made(people: SignIns, how: str, linked: bool) -> None:
    somebody = people.newcomer()
    token = people.clerk.session_token(somebody.user_id, people.organization)
    if linked:
        signed_in(people.sign_in(somebody.user_id))
    accounts = people.accounts(somebody.email)
    gone(people, somebody, how)

    # a server that has not just heard of them from Clerk
    with serving(people.world.settings) as url, caller(url, token) as http:
        refused(http.post("/v1/session/twenty"), 403, "not_a_member")

    assert people.accounts(somebody.email) == accounts
    if not linked:
        assert accounts == []
    people.world.apply()


@pytest.mark.slow
def test_a_session_that_somebody_else_opened_does_not_sign_in(people: SignIns) -> None:
    somebody = people.newcomer()

    answer = people.sign_in(somebody.user_id, act={"sub": "user_support"})

    refused(answer, 403, "impersonated")
    assert people.accounts(somebody.email) == []


@pytest.mark.slow
def test_an_impersonated_session_signs_in_where_the_settings_say_so(people: SignIns) -> None:
    settings = people.world.settings.model_copy(update={"impersonated_sign_in": True})
    with serving(settings) as url:
        own = SignIns(people.world, url)
        document = signed_in(own.sign_in(people.world.clerk_user(people.admin), act={"sub": "user_support"}))

    assert follow(people, document)["email"] == people.admin


@pytest.mark.slow
def test_a_member_of_two_tenants_gets_the_workspace_of_the_session(people: SignIns) -> None:
    (other,) = people.world.registry("SELECT slug FROM tenant_registry WHERE slug <> %s", people.tenant)[0]
    somebody = people.newcomer()
    people.clerk.add_membership(people.world.organization(other), somebody.user_id, "org:member")

    one = signed_in(people.sign_in(somebody.user_id))
    two = signed_in(people.sign_in(somebody.user_id, people.world.organization(other)))

    assert (one["workspace_id"], two["workspace_id"]) == (people.workspace, people.world.link(other)["workspace_id"])
    assert one["twenty_user_id"] == two["twenty_user_id"]
    for document in (one, two):
        assert follow(people, document)["onboardingStatus"] == "COMPLETED"


@pytest.mark.slow
def test_an_organization_without_a_workspace_is_told(people: SignIns) -> None:
    added = people.world.sandbox.add_tenant(f"later{next(NEXT)}", members=1)
    user = people.world.clerk_user(added.admin_email)

    answer = people.sign_in(user, added.clerk_org_id)

    assert answer.status_code in (403, 503)
    refused(answer, answer.status_code, None if answer.status_code == 503 else answer.json()["code"])
    assert answer.json().get("code") in (None, "no_workspace", "workspace_not_ready")
    people.world.apply(added.tenant.database_name)
    assert recovered(lambda: people.sign_in(user, added.clerk_org_id)).status_code == 200


def recovered(ask: Callable[[], httpx2.Response], tries: int = 60) -> httpx2.Response:
    """The first answer that is none of trouble; each try takes its time at the server."""
    for _ in range(tries):
        answer = ask()
        if answer.status_code not in (503, 403):
            return answer
    return answer


@contextmanager
def without_twenty(people: SignIns) -> Iterator[None]:
    server = people.world.sandbox.twenty[0]
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.mark.slow
def test_while_twenty_is_away_they_are_asked_to_come_again(people: SignIns) -> None:
    linked, new = people.world.clerk_user(people.admin), people.newcomer()
    with without_twenty(people):
        refused(people.sign_in(linked), 503)
        refused(people.sign_in(new.user_id), 503)

    for user in (linked, new.user_id):
        assert follow(people, signed_in(people.sign_in(user)))["onboardingStatus"] == "COMPLETED"
    assert people.memberships(new.email) == 1


@pytest.mark.slow
def test_while_clerk_is_away_nobody_is_signed_in(people: SignIns) -> None:
    somebody = people.newcomer()
    token = people.clerk.session_token(somebody.user_id, people.organization)
    with serving(people.world.settings) as url, caller(url, token) as http:
        assert http.get("/v1/session").status_code == 200
        people.clerk._server.stop()
        try:
            answer = http.post("/v1/session/twenty")
        finally:
            people.clerk._server.start()

    refused(answer, 503)
    assert people.accounts(somebody.email) == []


@pytest.mark.slow
def test_while_somebody_is_at_work_on_the_workspace_a_new_member_is_asked_to_come_again(
    people: SignIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_in, "_LOCK_SECONDS", 0.1)
    name, somebody = people.world.link(people.tenant)["database_name"], people.newcomer()
    with people.world.sandbox.postgres.connect("tenant_manager") as other:
        other.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [locks.TENANTS, name])
        linked = people.sign_in(people.world.clerk_user(people.admin))
        new = people.sign_in(somebody.user_id)

    assert follow(people, signed_in(linked))["onboardingStatus"] == "COMPLETED"
    refused(new, 503)
    assert people.accounts(somebody.email) == []
    assert follow(people, signed_in(people.sign_in(somebody.user_id)))["onboardingStatus"] == "COMPLETED"


@pytest.mark.slow
def test_a_member_signs_in_so_often_a_minute(people: SignIns) -> None:
    settings = people.world.settings.model_copy(update={"sign_ins_per_minute": 2})
    # the ledger counts the sign-ins of other tests, too, so these are members that no other test signs in
    busy, other = people.newcomer(), people.newcomer()
    with serving(settings) as url:
        own = SignIns(people.world, url)
        answers = [own.sign_in(busy.user_id) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert answers[-1].headers["content-type"] == PROBLEM
        assert own.sign_in(other.user_id).status_code == 200


def test_no_secret_is_logged_or_kept(people: SignIns, capfd: pytest.CaptureFixture[str]) -> None:
    somebody = people.newcomer()
    token = people.clerk.session_token(somebody.user_id, people.organization)
    with logging_as_json():
        with caller(people.url, token) as http:
            document = signed_in(http.post("/v1/session/twenty"))
        with without_twenty(people):
            refused(people.sign_in(somebody.user_id), 503)
    logged = capfd.readouterr().err

    secrets = {
        "the session token": token.rpartition(".")[2],
        "the login token": document["login_token"],
        "the derived password": derived_password(
            people.world.settings.member_password_key, somebody.email
        ).get_secret_value(),
        "Clerk's key": people.clerk.secret_key,
    }
    assert "POST /v1/session/twenty 200" in logged
    assert [name for name, secret in secrets.items() if secret in logged] == []
    kept = "\n".join(
        str(row)
        for (table,) in people.world.registry(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'provisioning'"
        )
        for row in people.world.registry(f'SELECT to_jsonb(t)::text FROM provisioning."{table}" t')
    )
    assert somebody.user_id in kept
    assert [name for name, secret in secrets.items() if secret in kept] == []
