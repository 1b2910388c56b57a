"""A link that a browser follows into Twenty: who gets in, where it leads, and what a person is told otherwise."""

import io
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.http.twenty_link import must_be_navigation, target_of
from provisioning_pipeline.model.session import CannotTell, Refused
from provisioning_pipeline_tests.http.logs import Log, logging_as_json
from provisioning_pipeline_tests.http.services import PROBLEM, serving, small_world
from provisioning_pipeline_tests.http.sessions import Lobby, Tenant, session_settings
from provisioning_pipeline_tests.http.sign_ins import SignIns
from provisioning_pipeline_tests.world import browser, enter

LINK = "/v1/session/twenty"
FOLLOWED = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
}
"""What a browser sends when its user follows a link."""
GOOD = "https://acme.crm.example.com/verify?loginToken=abc"


def follow(url: str, token: str | None, query: str = "", *, method: str = "GET", **headers: str) -> httpx2.Response:
    """The answer to a browser whose user follows the link; `headers` besides."""
    sent = FOLLOWED | ({"Cookie": f"__session={token}"} if token else {}) | headers
    return httpx2.request(
        method, f"{url}{LINK}{query}", headers={name.replace("_", "-"): v for name, v in sent.items()}
    )


def page(answer: httpx2.Response, status: int, headline: str) -> str:
    """The text of a page that refuses; it is one that cannot do any harm."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert f"<h1>{headline}</h1>" in answer.text
    assert answer.headers["x-request-id"] in answer.text
    assert "location" not in answer.headers
    return answer.text


@pytest.fixture(scope="module")
def people() -> Iterator[SignIns]:
    with (
        small_world(tenants=1, members=2, sign_ins_per_minute=1000, clerk_look_share=1.0) as world,
        serving(world.settings) as url,
    ):
        yield SignIns(world, url)


class TestRefusals:
    """Whoever does not get in is told why on a page."""

    def test_without_a_session_the_page_says_where_to_sign_in(self, lobby: Lobby, acme: Tenant) -> None:
        assert "sign in there" in page(follow(lobby.api.url, None), 401, "You are not signed in")

    def test_a_session_that_ran_out_is_renewed_by_the_application(self, lobby: Lobby, acme: Tenant, ann: str) -> None:
        old = lobby.token(acme, ann, seconds=-60)
        lobby.sent.append(old)

        assert "which renews it" in page(follow(lobby.api.url, old), 401, "Your sign-in has run out")

    def test_the_page_leads_back_to_the_application(self, lobby: Lobby) -> None:
        settings = session_settings(lobby.fleet, lobby.clerk, app_url="https://app.example.com")
        with serving(settings) as url:
            told = page(follow(url, None), 401, "You are not signed in")

        assert '<a href="https://app.example.com">' in told

    def test_a_link_to_another_tenant_is_refused_before_any_sign_in(self, lobby: Lobby, acme: Tenant, ann: str) -> None:
        answer = follow(lobby.api.url, lobby.token(acme, ann), "?tenant=other")

        page(answer, 403, "This link is for another organization")

    def test_a_link_to_ones_own_tenant_goes_on_to_twenty(self, lobby: Lobby, acme: Tenant, ann: str) -> None:
        answer = follow(lobby.api.url, lobby.token(acme, ann), f"?tenant={acme.slug}")

        # there is no Twenty behind this HTTP API
        told = page(answer, 503, "The CRM cannot be opened right now")
        assert f"in {answer.headers['retry-after']} seconds" in told

    def test_a_suspended_tenant_is_told(self, lobby: Lobby) -> None:
        tenant = lobby.tenant("suspended", status="suspended")

        page(follow(lobby.api.url, lobby.token(tenant, lobby.member(tenant))), 403, "This CRM is suspended")

    def test_a_workspace_that_is_still_made_is_told(self, lobby: Lobby) -> None:
        tenant = lobby.tenant("early", made=False)

        page(follow(lobby.api.url, lobby.token(tenant, lobby.member(tenant))), 403, "The CRM is not ready yet")

    def test_too_many_tries_say_when_to_come_again(self, lobby: Lobby, acme: Tenant) -> None:
        settings = session_settings(lobby.fleet, lobby.clerk, sign_ins_per_minute=1)
        bob = lobby.member(acme)
        with serving(settings) as url:
            answers = [follow(url, lobby.token(acme, bob)) for _ in range(2)]

        assert answers[0].status_code == 503
        page(answers[1], 429, "Too many tries")
        assert int(answers[1].headers["retry-after"]) > 0

    @pytest.mark.parametrize(
        "to", ["//evil.example", "https://evil.example", "objects", "/\\evil.example", "/a b", "/a#b", "/" + "a" * 500]
    )
    def test_a_path_that_leads_elsewhere_is_refused(self, lobby: Lobby, acme: Tenant, ann: str, to: str) -> None:
        with httpx2.Client(base_url=lobby.api.url, headers=FOLLOWED) as http:
            answer = http.get(LINK, params={"to": to}, headers={"Cookie": f"__session={lobby.token(acme, ann)}"})

        page(answer, 422, "The link is not right")

    def test_a_program_gets_a_problem_document(self, lobby: Lobby) -> None:
        answer = follow(lobby.api.url, None, Accept="*/*")

        assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
        assert answer.json()["code"] == "no_session"

    @pytest.mark.parametrize(
        "sent",
        [
            {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
            {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
            {"Sec-Fetch-Dest": "iframe"},
            {"Sec-Fetch-Dest": "object"},
            {"Sec-Purpose": "prefetch"},
            {"Sec-Purpose": "prefetch;prerender"},
            {"Purpose": "prefetch"},
            {"X-Purpose": "preview"},
        ],
        ids=str,
    )
    def test_what_no_user_opens_as_a_page_signs_no_one_in(
        self, lobby: Lobby, acme: Tenant, ann: str, sent: dict[str, str]
    ) -> None:
        page(follow(lobby.api.url, lobby.token(acme, ann), **sent), 403, "Open the link itself")

    def test_head_makes_no_sign_in_and_says_whether_the_link_leads_anywhere(
        self, lobby: Lobby, acme: Tenant, ann: str
    ) -> None:
        good = follow(lobby.api.url, lobby.token(acme, ann), method="HEAD")
        bad = follow(lobby.api.url, None, method="HEAD")

        # a sign-in would have met that there is no Twenty
        assert (good.status_code, good.content, good.headers["cache-control"]) == (204, b"", "no-store")
        assert (bad.status_code, bad.content) == (401, b"")


class TestSignIns:
    """Members of a ready tenant follow the link."""

    def into(self, people: SignIns, user: str, query: str = "") -> str:
        """Where the browser of this person is sent."""
        answer = follow(people.url, people.clerk.session_token(user, people.organization), query)
        assert answer.status_code == 303, answer.text[:500]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.content == b""
        return answer.headers["location"]

    def seen_at(self, people: SignIns, target: str) -> tuple[str, str]:
        """Whom Twenty signs in there, and what they see."""
        url = urlsplit(target)
        with browser(people.world.sandbox.twenty[0]) as http:
            user = enter(http, parse_qs(url.query)["loginToken"][0], f"{url.scheme}://{url.netloc}")
        assert user["currentWorkspace"]["id"] == people.workspace
        return user["email"], user["onboardingStatus"]

    def test_a_member_lands_in_their_workspace_each_time(self, people: SignIns) -> None:
        admin = people.world.clerk_user(people.admin)
        targets = [self.into(people, admin) for _ in range(2)]

        assert targets[0] != targets[1]
        address = people.world.link(people.tenant)["workspace_url"].rstrip("/")
        for target in targets:
            assert target.startswith(f"{address}/verify?loginToken=")
            assert self.seen_at(people, target) == (people.admin, "COMPLETED")

    def test_a_member_whom_no_run_has_added_is_added_on_the_way(self, people: SignIns) -> None:
        somebody = people.newcomer()

        assert self.seen_at(people, self.into(people, somebody.user_id)) == (somebody.email, "COMPLETED")

    def test_a_path_goes_along_for_twenty(self, people: SignIns) -> None:
        target = self.into(people, people.world.clerk_user(people.admin), "?to=/objects/companies%3Fview%3D1")

        assert parse_qs(urlsplit(target).query)["returnToPath"] == ["/objects/companies?view=1"]

    def test_no_log_has_the_token_or_the_address(self, people: SignIns, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        with logging_as_json():
            target = self.into(people, people.world.clerk_user(people.admin))
            logged = Log(stream).once_it_says("GET /v1/session/twenty 303")

        assert "GET /v1/session/twenty 303" in logged
        (token,) = parse_qs(urlsplit(target).query)["loginToken"]
        assert not [part for part in token.split(".")[1:] if part in logged]
        assert "/verify" not in logged


class TestTargets:
    """Where a browser is sent with a sign-in."""

    @pytest.mark.parametrize(
        ("url", "hosts"),
        [
            (GOOD, ()),
            ("http://acme.localhost:3000/verify?loginToken=abc", ()),
            ("http://127.0.0.1:3000/verify?loginToken=abc", ()),
            ("http://acme.twenty.internal/verify?loginToken=abc", ("twenty.internal",)),
        ],
    )
    def test_encrypted_addresses_and_allowed_ones_are_targets(self, url: str, hosts: tuple[str, ...]) -> None:
        assert target_of(url, None, hosts) == url
        assert target_of(url, "/", hosts) == url
        assert target_of(url, "/a?b=c&d", hosts) == f"{url}&returnToPath=%2Fa%3Fb%3Dc%26d"

    @pytest.mark.parametrize(
        "url",
        [
            "http://acme.crm.example.com/verify?loginToken=abc",
            "http://eviltwenty.internal/verify?loginToken=abc",
            "https://acme.example@evil.example/verify?loginToken=abc",
            "https:///verify?loginToken=abc",
            "https://acme.crm.example.com/else?loginToken=abc",
            "https://acme.crm.example.com/verify?loginToken=a\r\nb",
            "javascript:alert(1)/verify",
            "https://[/verify?loginToken=abc",
        ],
    )
    def test_any_other_is_none(self, url: str) -> None:
        with pytest.raises(CannotTell):
            target_of(url, None, ("twenty.internal",))

    @given(st.text(max_size=60))
    def test_whatever_a_server_says_its_address_is_nothing_else_is_a_target(self, url: str) -> None:
        try:
            found = target_of(url, "/objects", ())
        except CannotTell:
            return
        assert found.isascii()
        assert urlsplit(found).scheme in ("http", "https")

    def test_a_browser_that_says_nothing_of_its_request_passes(self) -> None:
        must_be_navigation([(b"accept", b"text/html")])

    @given(st.binary(max_size=20))
    def test_only_one_word_is_a_navigation(self, word: bytes) -> None:
        try:
            must_be_navigation([(b"sec-fetch-mode", word)])
        except Refused:
            assert word != b"navigate"
        else:
            assert word == b"navigate"
