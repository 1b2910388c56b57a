"""The key, rate limits, faults, counters and restarts of the stand-in Clerk."""

from pathlib import Path

import httpx2
import pytest

from provisioning_pipeline.sandbox.clerk import ClerkOptions, StandInClerk
from provisioning_pipeline.sandbox.faults import Faults, ScriptedFault
from provisioning_pipeline_tests.sandbox.conftest import Backend


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "authorization_header_format_invalid"),
        ("Basic abc", "authorization_header_format_invalid"),
        ("Bearer sk_test_wrong", "clerk_key_invalid"),
    ],
)
def test_a_wrong_key_is_refused(clerk: StandInClerk, authorization: str | None, code: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}

    answer = httpx2.get(f"{clerk.base_url}/organizations", headers=headers)

    assert answer.status_code == 401
    assert answer.json()["errors"][0]["code"] == code


def test_the_instance_tells_what_it_is(clerk: StandInClerk, backend: Backend) -> None:
    assert backend("GET", "/instance")["environment_type"] == "development"
    assert backend("GET", "/instance")["id"] == clerk.instance_id
    assert clerk.secret_key.startswith("sk_test_")


def test_too_many_requests() -> None:
    with StandInClerk(ClerkOptions(requests_per_10_seconds=2)) as clerk:
        client = Backend(clerk)
        for _ in range(2):
            client("GET", "/users")

        answer = client.http.get("/users")

        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert client.code("GET", "/users", 429) == "too_many_requests"


def test_too_many_updates_of_one_object() -> None:
    with StandInClerk(ClerkOptions(updates_per_10_seconds=1)) as clerk:
        client = Backend(clerk)
        ann, bob = clerk.add_user("ann@acme.example"), clerk.add_user("bob@acme.example")
        client("PATCH", f"/users/{ann.id}", json={"first_name": "Ann"})

        assert client.code("PATCH", f"/users/{ann.id}", 429, json={"first_name": "Anna"})
        assert client("PATCH", f"/users/{bob.id}", json={"first_name": "Bob"})["first_name"] == "Bob"
        assert client("GET", f"/users/{ann.id}")["first_name"] == "Ann"


def test_an_error_comes_before_the_effect(clerk: StandInClerk, backend: Backend) -> None:
    clerk.faults.scripted.append(ScriptedFault("POST /organizations", "error", skip=1))
    backend("POST", "/organizations", json={"name": "One"})

    assert backend.code("POST", "/organizations", 500, json={"name": "Two"}) == "internal_clerk_error"

    assert [organization.name for organization in clerk.state.organizations.values()] == ["One"]


def test_a_dropped_answer_comes_after_the_effect(
    clerk: StandInClerk, backend: Backend, capfd: pytest.CaptureFixture[str]
) -> None:
    clerk.faults.scripted.append(ScriptedFault("POST /organizations", "drop"))

    with pytest.raises(httpx2.RemoteProtocolError):
        backend("POST", "/organizations", json={"name": "Acme"})

    assert backend("GET", "/organizations")["total_count"] == 1
    assert clerk.faults.injected == {"drop": 1}
    assert capfd.readouterr().err == ""


def test_a_refusal_says_when_to_come_back(clerk: StandInClerk, backend: Backend) -> None:
    clerk.faults.scripted.append(ScriptedFault("GET /users", "refuse"))

    answer = backend.http.get("/users")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert backend("GET", "/users") == []


def test_calls_are_counted_by_operation(clerk: StandInClerk, backend: Backend) -> None:
    ann = clerk.add_user("ann@acme.example")
    backend("GET", f"/users/{ann.id}")
    backend("GET", "/users/count")
    backend("PATCH", f"/users/{ann.id}/metadata", json={})

    assert clerk.calls == {
        "GET /users/{user_id}": 1,
        "GET /users/count": 1,
        "PATCH /users/{user_id}/metadata": 1,
    }
    assert clerk.mutating_calls == 1
    clerk.reset_counters()
    assert (sum(clerk.calls.values()), clerk.mutating_calls) == (0, 0)


def test_another_process_can_watch_and_disturb(clerk: StandInClerk, backend: Backend) -> None:
    root = clerk.frontend_url
    clerk.add_user("ann@acme.example")
    scripted = [{"operation": "GET /users", "kind": "error", "times": 1}]

    httpx2.post(f"{root}/sandbox/faults", json={"latency_seconds": 0.001, "scripted": scripted})
    assert backend.code("GET", "/users", 500)
    state = httpx2.get(f"{root}/sandbox/state").json()
    httpx2.post(f"{root}/sandbox/reset")

    assert state["stand_in"] == "clerk"
    assert (state["users"], state["calls"], state["faults"]) == (1, {"GET /users": 1}, {"error": 1})
    assert httpx2.get(f"{root}/sandbox/state").json()["calls"] == {}
    assert clerk.faults.latency_seconds == 0.001
    bad = httpx2.post(f"{root}/sandbox/faults", json={"scripted": [{"what": 1}]})
    assert bad.status_code == 422


def test_faults_are_shared_with_whoever_made_them() -> None:
    faults = Faults()
    with StandInClerk(faults=faults) as clerk:
        faults.error_rate = 1.0

        assert Backend(clerk).code("GET", "/users", 500)


def test_a_restart_keeps_port_and_state(clerk: StandInClerk) -> None:
    before = clerk.base_url
    ann = clerk.add_user("ann@acme.example")

    clerk.restart()

    assert clerk.base_url == before
    assert Backend(clerk)("GET", f"/users/{ann.id}")["id"] == ann.id


def test_state_survives_in_a_file(tmp_path: Path) -> None:
    options = ClerkOptions(state_file=tmp_path / "clerk.json")
    with StandInClerk(options) as first:
        acme = first.add_organization("Acme", slug="acme", public_metadata={"a": 1})
        ann = first.add_user("ann@acme.example", first_name="Ann", external_id="e")
        first.add_membership(acme.id, ann.id, "org:admin")
        key, jwks = first.secret_key, httpx2.get(f"{first.frontend_url}/.well-known/jwks.json").json()

    with StandInClerk(options) as second:
        client = Backend(second)
        again = second.add_user("bob@acme.example")

        assert second.secret_key == key
        assert client("GET", "/jwks") == jwks
        assert client("GET", "/organizations/acme")["public_metadata"] == {"a": 1}
        (membership,) = client("GET", f"/users/{ann.id}/organization_memberships")["data"]
        assert membership["role"] == "org:admin"
        assert again.id != ann.id
    assert (tmp_path / "clerk.json").stat().st_mode & 0o077 == 0
