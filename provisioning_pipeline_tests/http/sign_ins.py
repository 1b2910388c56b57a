"""People at Clerk who sign in to Twenty by the HTTP API, and what they see there."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from provisioning_pipeline_tests.http.services import PROBLEM, caller
from provisioning_pipeline_tests.world import World, browser, enter

NEXT = iter(range(1, 1000))


@dataclass
class Newcomer:
    """Somebody at Clerk."""

    user_id: str
    email: str
    name: str


class SignIns:
    """One ready tenant, people of its organization, and the HTTP API."""

    def __init__(self, world: World, url: str) -> None:
        self.world, self.url = world, url
        self.tenant: str = world.registry("SELECT slug FROM tenant_registry ORDER BY created_at, slug")[0][0]
        self.organization = world.organization(self.tenant)
        self.admin: str = world.link(self.tenant)["admin_email"]

    @property
    def clerk(self) -> Any:
        return self.world.sandbox.clerk

    @property
    def workspace(self) -> str:
        return str(self.world.link(self.tenant)["workspace_id"])

    def newcomer(self, *, status: str = "verified", role: str = "org:member", email: str | None = None) -> Newcomer:
        """Somebody who was added to the organization a moment ago."""
        number = next(NEXT)
        first, last = "Nora", f"Newcomer{number}"
        email = email or f"nora{number}@new.example"
        user = self.clerk.add_user(email, first_name=first, last_name=last, status=status)
        self.clerk.add_membership(self.organization, user.id, role)
        return Newcomer(user.id, email, f"{first} {last}")

    def sign_in(self, user_id: str, organization: str | None = None, **claims: Any) -> httpx2.Response:
        token = self.clerk.session_token(user_id, organization or self.organization, **claims)
        with caller(self.url, token) as http:
            return http.post("/v1/session/twenty")

    def accounts(self, email: str) -> list[str]:
        """Ids of the accounts with this address at Twenty."""
        return [row[0] for row in self.world.twenty('SELECT id::text FROM core."user" WHERE email = %s', email)]

    def memberships(self, email: str) -> int:
        return int(
            self.world.twenty(
                'SELECT count(*) FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"'
                ' WHERE u.email = %s AND uw."workspaceId" = %s AND uw."deletedAt" IS NULL',
                *(email, self.workspace),
            )[0][0]
        )

    def pend(self, email: str) -> None:
        """Give somebody all of Twenty's wizard again."""
        (user,) = self.accounts(email)
        for key, user_id, workspace in (
            ("ONBOARDING_INSTALL_APPS_PENDING", user, self.workspace),
            ("ONBOARDING_CREATE_PROFILE_PENDING", user, None),
            ("ONBOARDING_CONNECT_ACCOUNT_PENDING", user, self.workspace),
        ):
            self.world.twenty(
                'INSERT INTO core."keyValuePair" (key, value, "userId", "workspaceId") VALUES (%s, %s, %s, %s)',
                *(key, json.dumps(True), user_id, workspace),
            )

    def proofs(self) -> set[tuple[str, str]]:
        """(e-mail, status) of each login that was proved."""
        return set(
            self.world.registry(
                "SELECT p.email, p.status FROM provisioning.login_proof p"
                " JOIN provisioning.tenant_link l USING (database_name) WHERE l.slug = %s",
                self.tenant,
            )
        )


def signed_in(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert parse_qs(urlsplit(document["verify_url"]).query)["loginToken"] == [document["login_token"]]
    assert document["expires_at"]
    return document


def refused(answer: httpx2.Response, status: int, code: str | None = None) -> str:
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document.get("code") == code
    assert (status == 503) is ("retry-after" in answer.headers)
    return str(document["detail"])


def follow(people: SignIns, document: dict[str, Any]) -> dict[str, Any]:
    """What the member sees behind `verify_url`, as Twenty's front end reads it."""
    url = urlsplit(document["verify_url"])
    with browser(people.world.sandbox.twenty[0]) as http:
        user = enter(http, document["login_token"], f"{url.scheme}://{url.netloc}")
    assert user["id"] == document["twenty_user_id"]
    assert user["currentWorkspace"]["id"] == document["workspace_id"]
    return user
