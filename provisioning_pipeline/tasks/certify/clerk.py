"""A Clerk instance as this program uses it: lists, limits and keys by reading; writes on a development instance only.

Everything that is written is an organization of this certification's own, which it deletes.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
from pydantic import SecretStr

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.clerk.jwks import KeysAway
from provisioning_pipeline.clients.clerk.session_token import SessionVerifier
from provisioning_pipeline.clients.clerk.standing import API_VERSION
from provisioning_pipeline.clients.clerk.walk import MOST_PER_PAGE, Walk
from provisioning_pipeline.clients.http import http_client
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.gateway.resolver import keys_of_issuers
from provisioning_pipeline.model.contract import CLERK, Observation
from provisioning_pipeline.model.session import CannotTell, Refused
from provisioning_pipeline.run.connections import clerk_client
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.tasks.certify.seeing import Seen, Unexpected, must, observe
from provisioning_pipeline.tasks.certify.trial import DISPLAY_NAME, Unseen, subdomain

_DEVELOPMENT = "development"
_ORGANIZATIONS, _MEMBERSHIPS, _USERS = "/organizations", "/organization_memberships", "/users"
_LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after")


@dataclass(frozen=True)
class ClerkTrial:
    """A Clerk instance to be looked at. `session_token`: one that an operator pasted, to be verified; None: none."""

    settings: Settings
    session_token: SecretStr | None = None


@dataclass
class _Looking:
    settings: Settings
    http: httpx2.AsyncClient
    client: ClerkClient
    run: str
    token: SecretStr | None
    instance: dict[str, Any]

    @property
    def is_development(self) -> bool:
        return self.instance.get("environment_type") == _DEVELOPMENT

    async def get(self, path: str, **parameters: Any) -> httpx2.Response:
        return await self.http.get(self.settings.clerk_base_url + path, params=parameters)


async def look_at_clerk(clerk: ClerkTrial, run: str, not_looked_at: Callable[[str], None]) -> Sequence[Observation]:
    """Look at a Clerk instance; what cannot be looked at there is told to `not_looked_at`, too."""
    settings = clerk.settings
    key = settings.clerk_secret_key.get_secret_value()
    headers = {"authorization": f"Bearer {key}", "clerk-api-version": API_VERSION}
    timeout = settings.request_timeout_seconds
    async with (
        http_client(settings.clerk_base_url, timeout_seconds=timeout, headers=headers) as http,
        clerk_client(settings, dry_run=True, counter=CallCounter()) as client,
    ):
        looking = _Looking(settings, http, client, run, clerk.session_token, {})
        found = [await observe(CLERK, name, expected, see(looking)) for name, expected, see in _BEHAVIOURS]
        if not looking.is_development:
            not_looked_at("Writes at Clerk: they are tried on a development instance only.")
    not_looked_at("Clerk's answer beyond its rate limit (429): a certification provokes none.")
    not_looked_at("Clerk's webhooks: they are signed and sent by Clerk alone; see docs/installation.md to try one.")
    return found


# --- reading ----------------------------------------------------------------------------------------------------------


async def _instance(looking: _Looking) -> str:
    looking.instance = await looking.client.instance()
    must(looking.instance.get("id"), "the instance does not say who it is")
    return f"{looking.instance['id']}, {looking.instance.get('environment_type')}"


async def _version(looking: _Looking) -> Seen:
    answer = await looking.get(_ORGANIZATIONS, limit=1)
    must(answer.status_code == httpx2.codes.OK, f"HTTP {answer.status_code} with {API_VERSION}")
    must({"data", "total_count"} <= set(answer.json()), "a list has no data or no total_count")
    other = await looking.http.get(
        looking.settings.clerk_base_url + _ORGANIZATIONS,
        params={"limit": 1},
        headers={"clerk-api-version": "2001-01-01"},
    )
    honoured = other.status_code >= httpx2.codes.BAD_REQUEST
    told = "refused" if honoured else "answered all the same, so the header proves nothing"
    return Seen(f"{API_VERSION} is answered as documented; 2001-01-01 is {told}", differs=not honoured)


async def _wrong_key(looking: _Looking) -> str:
    headers = {"authorization": "Bearer sk_test_certify_no_key"}
    answer = await looking.http.get(looking.settings.clerk_base_url + _ORGANIZATIONS, headers=headers)
    must(answer.status_code == httpx2.codes.UNAUTHORIZED, f"HTTP {answer.status_code}")
    return "HTTP 401"


def _walked(name: str, walk: Callable[[ClerkClient], Awaitable[Walk]]) -> Callable[[_Looking], Awaitable[str]]:
    async def see(looking: _Looking) -> str:
        found = await walk(looking.client)
        must(found.doubt is None, f"{len(found.rows)} were read, and {found.doubt}")
        return f"{len(found.rows)} {name} on all pages, as many as the total says"

    return see


async def _page_limit(looking: _Looking) -> Seen:
    most = await looking.get(_USERS, limit=MOST_PER_PAGE, order_by="+created_at")
    must(most.status_code == httpx2.codes.OK, f"a page of {MOST_PER_PAGE} is refused with HTTP {most.status_code}")
    more = await looking.get(_USERS, limit=MOST_PER_PAGE + 1, order_by="+created_at")
    told = f"HTTP {more.status_code}" if more.is_error else f"{len(more.json())} rows"
    full = not more.is_error and len(more.json()) == MOST_PER_PAGE + 1
    return Seen(f"{MOST_PER_PAGE} are taken ({len(most.json())} rows); {MOST_PER_PAGE + 1}: {told}", differs=full)


async def _order(looking: _Looking) -> str:
    told = []
    for path in (_ORGANIZATIONS, _USERS):
        answer = (await looking.get(path, limit=MOST_PER_PAGE, order_by="+created_at")).json()
        rows = answer if isinstance(answer, list) else answer["data"]
        times = [row["created_at"] for row in rows]
        must(times == sorted(times), f"{path} is not in the order of created_at")
        told.append(f"{len(times)} of {path}")
    return f"oldest first: {', '.join(told)}"


async def _cursor(looking: _Looking) -> str:
    first = (await looking.get(_USERS, limit=3, order_by="+created_at")).json()
    if len(first) < 2:
        raise Unseen(f"the instance has {len(first)} users")
    after = (await looking.get(_USERS, limit=2, order_by="+created_at", starting_after=first[0]["id"])).json()
    must(
        [row["id"] for row in after] == [row["id"] for row in first[1:]],
        "starting_after does not go on after that user",
    )
    return "goes on after the user that it names"


async def _missing(looking: _Looking) -> str:
    for path in (f"{_ORGANIZATIONS}/org_certify_none", f"{_USERS}/user_certify_none"):
        answer = await looking.get(path)
        must(answer.status_code == httpx2.codes.NOT_FOUND, f"{path}: HTTP {answer.status_code}")
        must(answer.json().get("errors"), f"{path}: 404 without Clerk's errors")
    return "HTTP 404 with Clerk's errors"


async def _limit_headers(looking: _Looking) -> Seen:
    answer = await looking.get("/users/count")
    found = [f"{name}: {answer.headers[name]}" for name in _LIMIT_HEADERS if name in answer.headers]
    return Seen(
        ", ".join(found) or "none on an answer within the limit; this program goes by its own count and Retry-After"
    )


async def _keys(looking: _Looking) -> str:
    settings = looking.settings
    if not settings.clerk_issuers:
        raise Unseen("no issuer is configured (PROVISIONING_CLERK_ISSUERS), so no session is accepted")
    told = []
    for issuer, keys in keys_of_issuers(settings.sessions, stale_seconds=0).items():
        try:
            await keys.warm()
        except KeysAway:
            raise Unexpected(f"the public keys of {issuer} cannot be read") from None
        found = await keys.get(str(looking.instance.get("id")))
        told.append(f"{issuer}: {'an RSA key' if found else 'no RSA key'} under the instance's id")
        must(found, told[-1])
    return "; ".join(told)


async def _session(looking: _Looking) -> str:
    if looking.token is None:
        raise Unseen("no session token was given (--session-token -)")
    settings, token = looking.settings, looking.token.get_secret_value().strip()
    keys = keys_of_issuers(settings.sessions, stale_seconds=0)
    try:
        session = await SessionVerifier(keys, settings.clerk_authorized_parties).verify(token)
    except (Refused, CannotTell) as refusal:
        raise Unexpected(f"it is refused: {refusal}") from None
    claims = jwt.decode(token, options={"verify_signature": False})
    return f"version {claims.get('v', 1)}, of organization {session.organization_id}"


# --- writing ----------------------------------------------------------------------------------------------------------


async def _writes(looking: _Looking) -> str:
    """The one write that this program makes by default, on an organization of our own."""
    if not looking.is_development:
        raise Unseen(f"it is a {looking.instance.get('environment_type') or 'nameless'} instance")
    base = looking.settings.clerk_base_url + _ORGANIZATIONS
    await _remove_left(looking, base)
    made = await looking.http.post(base, json={"name": f"{DISPLAY_NAME} {subdomain(looking.run, 'c')}"})
    must(not made.is_error, f"an organization could not be made: HTTP {made.status_code}")
    where = f"{base}/{made.json()['id']}"
    try:
        for metadata in ({"certify_one": 1}, {"certify_two": 2}, {"certify_one": None}):
            answer = await looking.http.patch(f"{where}/metadata", json={"public_metadata": metadata})
            must(not answer.is_error, f"its metadata could not be written: HTTP {answer.status_code}")
        found = (await looking.http.get(where)).json()["public_metadata"]
        must(found == {"certify_two": 2}, f"after merging two keys and deleting one it is {json.dumps(found)}")
    finally:
        gone = await looking.http.delete(where)
    must(not gone.is_error, f"the organization could not be deleted: HTTP {gone.status_code}")
    return "keys are merged, null deletes one; the organization was deleted again"


async def _remove_left(looking: _Looking, base: str) -> None:
    """Organizations of a certification that was killed in between."""
    listed = (await looking.http.get(base, params={"query": DISPLAY_NAME, "limit": 100})).json()
    for organization in listed["data"]:
        if str(organization["name"]).startswith(f"{DISPLAY_NAME} certify-"):
            await looking.http.delete(f"{base}/{organization['id']}")


_BEHAVIOURS: tuple[tuple[str, str, Callable[[_Looking], Awaitable[Seen | str]]], ...] = (
    ("the instance", "says its id and environment", _instance),
    ("the API version header", "is honoured: a version that never was is refused", _version),
    ("a wrong key", "HTTP 401", _wrong_key),
    ("organizations", "as many on all pages as the total says", _walked("organizations", lambda c: c.organizations())),
    ("memberships", "as many on all pages as the total says", _walked("memberships", lambda c: c.memberships())),
    ("users", "as many on all pages as the count says", _walked("users", lambda c: c.users())),
    ("page limits", f"{MOST_PER_PAGE} on a page; more is refused or cut", _page_limit),
    ("order_by=+created_at", "oldest first", _order),
    ("starting_after", "goes on after the user that it names", _cursor),
    ("a user who does not exist", "HTTP 404 with Clerk's errors", _missing),
    ("rate-limit headers", "are noted", _limit_headers),
    ("public keys", "an RSA key under the instance's id, at each issuer", _keys),
    ("a session token", "is verified", _session),
    ("metadata of an organization", "keys are merged; null deletes one", _writes),
)
