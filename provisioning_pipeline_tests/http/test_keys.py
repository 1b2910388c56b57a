"""Which API keys open the HTTP API to services, and how often."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus

import httpx2
import pytest

from provisioning_pipeline.http import keys as guarding
from provisioning_pipeline.ledger.api_keys import ApiKeys
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.model.api_key import PREFIX, key_id_of, new_key
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.http.services import PROBLEM, Tenants, caller, key_of, serving, tenants_in


@pytest.fixture(scope="module")
def shared_tenants(sandbox_postgres: SandboxPostgres) -> Iterator[Tenants]:
    with tenants_in(sandbox_postgres) as made:
        made.add("acme", ready=True)
        yield made


@pytest.fixture(scope="module")
def settings(shared_tenants: Tenants) -> Settings:
    return shared_tenants.settings()


@pytest.fixture(scope="module")
def shared_url(settings: Settings) -> Iterator[str]:
    with serving(settings) as url:
        yield url


@pytest.fixture
def url(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that has seen no key yet, and remembers none."""
    monkeypatch.setattr(guarding, "_KNOWN_SECONDS", 0.0)
    with serving(settings) as running:
        yield running


def ask(url: str, authorization: str | None = None) -> httpx2.Response:
    """A question that any key may ask."""
    with caller(url) as http:
        return http.get("/v1/tenants", headers={"Authorization": authorization} if authorization is not None else {})


def revoke(settings: Settings, key: str) -> None:
    async def work() -> None:
        async with ledger_database(settings, read_only=False) as database:
            assert await ApiKeys(database).revoke(key_id_of(key) or "")

    asyncio.run(work())


def refusal(answer: httpx2.Response) -> dict[str, object]:
    """The problem document without what differs from request to request."""
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, object] = answer.json()
    assert found.pop("request_id") == answer.headers["x-request-id"]
    return found


def test_a_key_opens_the_api_as_soon_as_it_is_made(shared_url: str, settings: Settings) -> None:
    key = key_of(settings)

    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = ask(shared_url, f"{scheme} {key}")
        assert answer.status_code == 200
        assert [item["slug"] for item in answer.json()["items"]] == ["acme"]


def test_keys_that_are_not_valid_are_refused_alike(url: str, shared_tenants: Tenants, settings: Settings) -> None:
    good, expired, revoked = (key_of(settings, days=1) for _ in range(3))
    revoke(settings, revoked)
    shared_tenants.sql("UPDATE provisioning.api_key SET expires_at = now() WHERE id = %s", key_id_of(expired))
    stranger, secret = new_key()[1], good.split("_", 2)[2]
    answers = {
        "never made": ask(url, f"Bearer {stranger}"),
        "truncated": ask(url, f"Bearer {good[:-1]}"),
        "longer": ask(url, f"Bearer {good}A"),
        "another id": ask(url, f"Bearer {PREFIX}_{key_id_of(stranger)}_{secret}"),
        "another secret": ask(url, f"Bearer {PREFIX}_{key_id_of(good)}_{stranger.split('_', 2)[2]}"),
        "another prefix": ask(url, f"Bearer sk_{key_id_of(good)}_{secret}"),
        "upper case": ask(url, f"Bearer {good.upper()}"),
        "no key at all": ask(url, "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln"),
        "two words": ask(url, f"Bearer {good} {good}"),
        "revoked": ask(url, f"Bearer {revoked}"),
        "expired": ask(url, f"Bearer {expired}"),
    }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 401)
    told = [refusal(answer) for answer in answers.values()]
    assert all(document == told[0] for document in told)
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {"Bearer"}
    assert ask(url, f"Bearer {good}").status_code == 200


def test_without_a_key_it_says_what_to_give(shared_url: str) -> None:
    for authorization in (None, "", "Bearer", "Basic dXNlcjpwYXNzd29yZA==", "Digest x"):
        answer = ask(shared_url, authorization)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "provisioning keys create" in str(refusal(answer)["detail"])


def test_two_keys_in_one_request_are_none(shared_url: str, settings: Settings) -> None:
    """A proxy may have looked at the one, and we at the other."""
    key, other = key_of(settings), key_of(settings)
    assert ask(shared_url, f"Bearer {key}").status_code == 200

    with caller(shared_url) as http:
        for one, two in ((key, key), (key, other), (key, "wrong"), ("wrong", key)):
            sent = [("Authorization", f"Bearer {one}"), ("Authorization", f"Bearer {two}")]
            refused = http.get("/v1/tenants", headers=sent)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "more than one Authorization header" in refused.json()["detail"]
            assert ask(shared_url, f"Bearer {one}, Bearer {two}").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/tenants/acme"),
        ("POST", "/v1/tenants/acme/reconcile"),
        ("GET", "/v1/tenants"),
        ("GET", "/v1/tenants/acme"),
        ("GET", "/v1/tenants/nobody"),
        ("PUT", "/v1/tenants/nobody"),
    ],
)
def test_no_route_for_services_answers_without_one(
    shared_url: str, shared_tenants: Tenants, method: str, path: str
) -> None:
    requests = shared_tenants.requests()
    with caller(shared_url) as http:
        answers = [http.request(method, path), http.request(method, path, headers={"Authorization": "Bearer x"})]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert "acme" not in answers[0].text
    assert shared_tenants.requests() == requests


def test_a_key_that_was_taken_before_is_refused_once_it_is_revoked(url: str, settings: Settings) -> None:
    key = key_of(settings)
    assert ask(url, f"Bearer {key}").status_code == 200

    revoke(settings, key)

    assert ask(url, f"Bearer {key}").status_code == 401


def test_a_revoked_key_is_taken_for_seconds_at_most() -> None:
    assert 0 < guarding._KNOWN_SECONDS <= 5


def test_two_keys_are_valid_at_once_while_they_are_rotated(url: str, settings: Settings) -> None:
    old, new = key_of(settings), key_of(settings)
    assert [ask(url, f"Bearer {key}").status_code for key in (old, new)] == [200, 200]

    revoke(settings, old)

    assert [ask(url, f"Bearer {key}").status_code for key in (old, new)] == [401, 200]


def test_nothing_that_is_kept_holds_the_key(url: str, shared_tenants: Tenants, settings: Settings) -> None:
    key = key_of(settings, "a name to find")
    assert ask(url, f"Bearer {key}").status_code == 200
    with caller(url, key) as http:
        assert http.post("/v1/tenants/acme/reconcile").status_code == 202

    kept = "\n".join(
        str(row)
        for (schema, table) in shared_tenants.sql(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema IN ('provisioning', 'public')"
        )
        for row in shared_tenants.sql(f'SELECT to_jsonb(t)::text FROM "{schema}"."{table}" t')
    )
    assert "a name to find" in kept
    secret = key.split("_", 2)[2]
    for form in (secret, secret.encode().hex()):
        assert form not in kept


def test_when_it_was_last_used_is_known(url: str, shared_tenants: Tenants, settings: Settings) -> None:
    key = key_of(settings)
    used = "SELECT last_used_at > now() - interval '1 minute' FROM provisioning.api_key WHERE id = %s"
    assert shared_tenants.sql(used, key_id_of(key)) == [(None,)]

    ask(url, f"Bearer {key}")

    assert shared_tenants.sql(used, key_id_of(key)) == [(True,)]


def test_a_key_has_so_many_requests_a_minute_and_others_have_theirs(shared_tenants: Tenants) -> None:
    settings = shared_tenants.settings(key_requests_per_minute=3)
    busy, other = key_of(settings), key_of(settings)
    with serving(settings) as url:
        answers = [ask(url, f"Bearer {busy}") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert "3 in a minute" in str(refusal(answers[-1])["detail"])
        assert ask(url, f"Bearer {other}").status_code == 200


def test_who_guesses_is_slowed_down_and_locks_nobody_out(url: str, settings: Settings) -> None:
    key = key_of(settings)
    with caller(url) as http:
        statuses = [
            http.get("/v1/tenants", headers={"Authorization": f"Bearer {new_key()[1]}"}).status_code
            for _ in range(guarding._WRONG_PER_MINUTE + 3)
        ]
        late = http.get("/v1/tenants", headers={"Authorization": "Bearer wrong"})

    assert statuses == [401] * guarding._WRONG_PER_MINUTE + [429] * 3
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) >= 1
    assert ask(url, f"Bearer {key}").status_code == 200


def test_a_right_key_is_no_wrong_one(shared_tenants: Tenants) -> None:
    """Nobody reaches the limit of wrong keys by right ones."""
    settings = shared_tenants.settings()
    key = key_of(settings)
    with serving(settings) as url:
        with caller(url, key) as http:
            found = {http.get("/v1/tenants").status_code for _ in range(guarding._WRONG_PER_MINUTE + 5)}
        assert found == {200}
        assert ask(url, "Bearer wrong").status_code == 401


def test_while_the_ledger_is_away_nobody_can_tell_and_then_it_is_back(sandbox_postgres: SandboxPostgres) -> None:
    with tenants_in(sandbox_postgres) as tenants:
        settings = tenants.settings()
        good, wrong = key_of(settings), new_key()[1]
        with serving(settings) as url:
            assert ask(url, f"Bearer {good}").status_code == 200
            tenants.shut()

            for key in (good, wrong):
                answer = ask(url, f"Bearer {key}")
                assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
                assert int(answer.headers["retry-after"]) >= 1
                assert "ledger" in str(refusal(answer)["detail"])
                assert tenants.name not in answer.text

            tenants.open()

            assert ask(url, f"Bearer {good}").status_code == 200
            assert ask(url, f"Bearer {wrong}").status_code == 401
