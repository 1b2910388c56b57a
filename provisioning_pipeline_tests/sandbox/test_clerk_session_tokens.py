"""Session tokens that another process asks the stand-in Clerk for."""

from typing import Any

import httpx2
import jwt
import pytest

from provisioning_pipeline.sandbox.clerk import StandInClerk


@pytest.fixture
def people(clerk: StandInClerk) -> tuple[str, str]:
    ann, acme = clerk.add_user("ann@acme.example"), clerk.add_organization("Acme", slug="acme")
    clerk.add_membership(acme.id, ann.id, "org:admin")
    return ann.id, acme.id


def ask(clerk: StandInClerk, **wanted: Any) -> httpx2.Response:
    return httpx2.post(f"{clerk.frontend_url}/sandbox/session-token", json=wanted)


def claims_of(clerk: StandInClerk, answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    keys = jwt.PyJWKSet.from_dict(httpx2.get(f"{clerk.frontend_url}/.well-known/jwks.json").json())
    claims: dict[str, Any] = jwt.decode(
        answer.json()["token"], keys.keys[0].key, algorithms=["RS256"], issuer=clerk.frontend_url, leeway=5
    )
    return claims


def test_by_ids(clerk: StandInClerk, people: tuple[str, str]) -> None:
    user_id, organization_id = people

    answer = ask(clerk, user_id=user_id, organization_id=organization_id)
    claims = claims_of(clerk, answer)

    assert (claims["sub"], claims["o"]) == (user_id, {"id": organization_id, "rol": "admin", "slg": "acme"})
    assert claims["exp"] - claims["iat"] == 60
    assert answer.json() | {"token": ""} == {"token": "", "user_id": user_id, "organization_id": organization_id}
    assert answer.headers["cache-control"] == "no-store"


def test_by_e_mail_and_slug(clerk: StandInClerk, people: tuple[str, str]) -> None:
    answer = ask(clerk, email="Ann@ACME.example", organization_slug="acme", version=1, seconds=300)
    claims = claims_of(clerk, answer)

    assert (claims["sub"], claims["org_id"], claims["org_role"]) == (*people, "org:admin")
    assert "v" not in claims
    assert claims["exp"] - claims["iat"] == 300


def test_without_an_organization(clerk: StandInClerk, people: tuple[str, str]) -> None:
    answer = ask(clerk, user_id=people[0])

    assert "o" not in claims_of(clerk, answer)
    assert answer.json()["organization_id"] is None


def test_a_session_that_is_over(clerk: StandInClerk, people: tuple[str, str]) -> None:
    with pytest.raises(jwt.ExpiredSignatureError):
        claims_of(clerk, ask(clerk, user_id=people[0], seconds=-30))


def test_claims_are_replaced_and_taken_away(clerk: StandInClerk, people: tuple[str, str]) -> None:
    changed = {"sts": "pending", "azp": None, "seconds": 1, "version": 7}

    claims = claims_of(clerk, ask(clerk, user_id=people[0], claims=changed))

    assert (claims["sts"], claims["seconds"], claims["version"]) == ("pending", 1, 7)
    assert "azp" not in claims


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [
        ({}, 422, "either user_id or email"),
        ({"user_id": "ann", "email": "ann@acme.example"}, 422, "either user_id or email"),
        ({"user_id": "user_nobody"}, 404, "user_nobody"),
        ({"email": "nobody@acme.example"}, 404, "nobody@acme.example"),
        ({"email": "ann@acme.example", "organization_slug": "nowhere"}, 404, "nowhere"),
        ({"email": "ann@acme.example", "organization_id": ""}, 404, "organization"),
        ({"email": "bob@other.example", "organization_slug": "acme"}, 404, "membership"),
        ({"email": "ann@acme.example", "organization_slug": "acme", "organization_id": "acme"}, 422, "not both"),
        ({"email": "ann@acme.example", "version": 3}, 422, "version"),
        ({"email": "ann@acme.example", "seconds": "60"}, 422, "seconds"),
        ({"email": "ann@acme.example", "seconds": 10**12}, 422, "seconds"),
        ({"email": "ann@acme.example", "sekonds": 60}, 422, "sekonds"),
        ({"email": "ann@acme.example", "claims": {"iss": 7}}, 422, "not a claim"),
        ({"email": "ann@acme.example", "claims": ["sts"]}, 422, "claims"),
    ],
)
def test_what_cannot_be_signed_is_refused_in_words(
    clerk: StandInClerk, people: tuple[str, str], wanted: dict[str, Any], status: int, said: str
) -> None:
    clerk.add_user("bob@other.example")

    answer = ask(clerk, **wanted)

    assert answer.status_code == status
    assert said in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_json_object_is_refused(clerk: StandInClerk, body: bytes) -> None:
    answer = httpx2.post(f"{clerk.frontend_url}/sandbox/session-token", content=body)

    assert answer.status_code == 422
    assert answer.json()["error"]


def test_asking_counts_as_no_call_of_the_backend_api(clerk: StandInClerk, people: tuple[str, str]) -> None:
    clerk.reset_counters()

    ask(clerk, user_id=people[0])

    assert (clerk.calls, clerk.mutating_calls) == ({}, 0)
