"""Session tokens of the stand-in Clerk, verified as a gateway would."""

from typing import Any

import httpx2
import jwt
import pytest

from provisioning_pipeline.sandbox.clerk import REMOVED, ClerkOptions, StandInClerk


def verified(clerk: StandInClerk, token: str) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict(httpx2.get(f"{clerk.frontend_url}/.well-known/jwks.json").json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    options: Any = {"require": ["exp", "iat", "nbf", "sub", "sid"]}
    claims: dict[str, Any] = jwt.decode(
        token, key.key, algorithms=["RS256"], issuer=clerk.frontend_url, leeway=5, options=options
    )
    return claims


@pytest.fixture
def people(clerk: StandInClerk) -> tuple[str, str]:
    ann, acme = clerk.add_user("ann@acme.example"), clerk.add_organization("Acme", slug="acme")
    clerk.add_membership(acme.id, ann.id, "org:admin")
    return ann.id, acme.id


def test_version_2(clerk: StandInClerk, people: tuple[str, str]) -> None:
    user_id, organization_id = people

    token = clerk.session_token(user_id, organization_id)
    claims = verified(clerk, token)

    assert jwt.get_unverified_header(token)["kid"] == clerk.instance_id
    assert claims["v"] == 2
    assert claims["sub"] == user_id
    assert claims["sts"] == "active"
    assert claims["exp"] - claims["iat"] == 60
    assert claims["o"] == {"id": organization_id, "rol": "admin", "slg": "acme"}
    assert not any(name.startswith("org_") for name in claims)


def test_version_1(clerk: StandInClerk, people: tuple[str, str]) -> None:
    user_id, organization_id = people

    claims = verified(clerk, clerk.session_token(user_id, organization_id, version=1))

    assert "v" not in claims
    assert "o" not in claims
    assert claims["org_id"] == organization_id
    assert (claims["org_slug"], claims["org_role"]) == ("acme", "org:admin")


def test_without_an_organization(clerk: StandInClerk, people: tuple[str, str]) -> None:
    claims = verified(clerk, clerk.session_token(people[0]))

    assert "o" not in claims


def test_claims_can_be_changed_and_taken_away(clerk: StandInClerk, people: tuple[str, str]) -> None:
    token = clerk.session_token(people[0], sts="pending", azp=REMOVED, token_headers={"typ": "at+jwt"})
    claims = verified(clerk, token)

    assert claims["sts"] == "pending"
    assert "azp" not in claims
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    with pytest.raises(jwt.MissingRequiredClaimError):
        verified(clerk, clerk.session_token(people[0], exp=REMOVED))
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(clerk, clerk.session_token(people[0], seconds=-30))


@pytest.mark.parametrize("keep_kid", [True, False])
def test_a_rotated_key_leaves_the_key_set(keep_kid: bool) -> None:
    with StandInClerk() as clerk:
        before = clerk.session_token("user_1")

        clerk.rotate_signing_key(keep_kid=keep_kid)

        with pytest.raises(jwt.InvalidSignatureError if keep_kid else KeyError):
            verified(clerk, before)
        assert verified(clerk, clerk.session_token("user_1"))["sub"] == "user_1"


def test_the_workspace_can_ride_in_the_token() -> None:
    with StandInClerk(ClerkOptions(session_custom_claims=True)) as clerk:
        acme = clerk.add_organization("Acme", public_metadata={"twenty_workspace_id": "w-1"})
        ann = clerk.add_user("ann@acme.example")
        clerk.add_membership(acme.id, ann.id)

        assert verified(clerk, clerk.session_token(ann.id, acme.id))["twenty_workspace_id"] == "w-1"
