"""Plain calls to Twenty and Clerk, for the bare sequences: no retries, no ledger, no decisions.

The documents are the pipeline's own, so they cannot drift. What is called, in which order and how many at once is up
to the sequence, and a benchmark compares what the stand-ins counted.
"""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from provisioning_pipeline.clients.clerk.standing import API_VERSION
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline.settings import Settings

_PER_PAGE = 500
_OLDEST_FIRST = "+created_at"
_ADMIN_AT_CLERK, _ADMIN_AT_TWENTY = "org:admin", "Admin"


@dataclass(frozen=True)
class Person:
    """Somebody who is to be a member of a workspace."""

    email: str
    first_name: str
    last_name: str
    admin: bool


def _person(membership: Mapping[str, Any], users: Mapping[str, Mapping[str, Any]]) -> Person:
    """The person behind a membership at Clerk; with the e-mail, which only the user has."""
    user = users[membership["public_user_data"]["user_id"]]
    return Person(
        email=user["email_addresses"][0]["email_address"].lower(),
        first_name=user["first_name"] or "",
        last_name=user["last_name"] or "",
        admin=membership["role"] == _ADMIN_AT_CLERK,
    )


class Clerk:
    """Clerk's Backend API."""

    def __init__(self, settings: Settings) -> None:
        key = settings.clerk_secret_key.get_secret_value()
        headers = {"authorization": f"Bearer {key}", "clerk-api-version": API_VERSION}
        self._http = httpx2.AsyncClient(base_url=settings.clerk_base_url, headers=headers, timeout=60)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def _get(self, path: str, **query: Any) -> Any:
        return (await self._http.get(path, params=query)).raise_for_status().json()

    async def people(self) -> dict[str, list[Person]]:
        """Everybody, by organization; the three lists are read at once, as the pipeline reads them."""
        _, memberships, users = await asyncio.gather(
            self._listed("/organizations"), self._listed("/organization_memberships"), self._users()
        )
        found: dict[str, list[Person]] = {}
        for membership in memberships:
            found.setdefault(membership["organization"]["id"], []).append(_person(membership, users))
        return found

    async def _listed(self, path: str) -> list[Any]:
        """Every object of a list that is read by offset."""
        found: list[Any] = []
        while True:
            page = await self._get(path, limit=_PER_PAGE, offset=len(found), order_by=_OLDEST_FIRST)
            found += page["data"]
            if len(found) >= page["total_count"]:
                return found

    async def _users(self) -> dict[str, Any]:
        """Every user by id."""
        total = (await self._get("/users/count"))["total_count"]
        found: dict[str, Any] = {}
        after: dict[str, str] = {}
        while len(found) < total:
            page = await self._get("/users", limit=_PER_PAGE, order_by=_OLDEST_FIRST, **after)
            found |= {user["id"]: user for user in page}
            after = {"starting_after": page[-1]["id"]}
        return found

    async def store_workspace_id(self, organization: str, workspace_id: str) -> None:
        """Into the organization's public metadata."""
        body = {"public_metadata": {"twenty_workspace_id": workspace_id}}
        (await self._http.patch(f"/organizations/{organization}/metadata", json=body)).raise_for_status()


class Twenty:
    """`/metadata` of the one Twenty server, with as many calls under way at once as the pipeline allows itself."""

    def __init__(self, settings: Settings) -> None:
        (server,) = settings.servers
        self._url = f"{server.base_url}/metadata"
        self._key = settings.member_password_key
        self._gate = asyncio.Semaphore(settings.twenty_concurrency)
        self._http = httpx2.AsyncClient(timeout=60)
        self.service = {"email": server.service_email, "password": server.service_password.get_secret_value()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    def account(self, email: str) -> dict[str, str]:
        """Credentials of an account that we make."""
        return {"email": email, "password": derived_password(self._key, email).get_secret_value()}

    async def sign_in(self) -> str:
        """A token of the service account without a workspace."""
        return _token(await self.call(operations.SIGN_IN, self.service))

    async def log_in(self, credentials: Mapping[str, str], origin: str) -> str:
        """A token of somebody in a workspace."""
        answer = await self.call(operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS, {**credentials, "origin": origin})
        return await self.exchange(answer, origin)

    async def join(self, credentials: Mapping[str, str], invite_hash: str, origin: str) -> str:
        """Make somebody a member; their token."""
        variables = {**credentials, "workspaceInviteHash": invite_hash}
        return await self.exchange(await self.call(operations.SIGN_UP_IN_WORKSPACE, variables), origin)

    async def exchange(self, answer: Mapping[str, Any], origin: str) -> str:
        """The token for a login token."""
        variables = {"loginToken": answer["loginToken"]["token"], "origin": origin}
        return _token(await self.call(operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN, variables))

    async def set_name(self, member: str, first: str, last: str, token: str) -> None:
        """Of the member with this id."""
        update = {"name": {"firstName": first, "lastName": last}}
        variables = {"workspaceMemberId": member, "update": update}
        await self.call(operations.UPDATE_WORKSPACE_MEMBER_SETTINGS, variables, token)

    async def set_role(self, member: str, role: str, token: str) -> None:
        """Of the member with this id."""
        variables = {"workspaceMemberId": member, "roleId": role}
        await self.call(operations.UPDATE_WORKSPACE_MEMBER_ROLE, variables, token)

    async def add_members(self, people: Sequence[Person], service: str, invite_hash: str, origin: str) -> list[str]:
        """All of them join at once; then each gets role and name; then their onboarding is cleared. Their tokens."""
        tokens = await asyncio.gather(
            *(self.join(self.account(person.email), invite_hash, origin) for person in people)
        )
        roles = await self.roles(service) if any(person.admin for person in people) else {}
        joined = list(zip(people, map(_member_of, tokens), strict=True))
        await asyncio.gather(*(self._settle(person, member, service, roles) for person, member in joined))
        await asyncio.gather(*(self.call(operations.INSTALL_NO_APPS, {}, token) for token in tokens))
        return tokens

    async def _settle(self, person: Person, member: str, service: str, roles: Mapping[str, str]) -> None:
        if person.admin:
            await self.set_role(member, roles[_ADMIN_AT_TWENTY], service)
        await self.set_name(member, person.first_name, person.last_name, service)

    async def roles(self, token: str) -> dict[str, str]:
        """Ids of the workspace's roles by label."""
        return {role["label"]: role["id"] for role in await self.call(operations.GET_ROLES, {}, token)}

    async def must_be_completed(self, token: str, workspace_id: str) -> None:
        """What that person sees is no wizard, in that workspace."""
        seen = await self.call(operations.CURRENT_USER, {}, token)
        if (seen["onboardingStatus"], seen["currentWorkspace"]["id"]) != ("COMPLETED", workspace_id):
            raise RuntimeError(f"the bare sequence left {seen['email']} at {seen['onboardingStatus']}")

    async def call(self, operation: Operation[Any], variables: Mapping[str, Any], token: str = "") -> Any:
        """What the operation's one root field answers."""
        # as for the pipeline: an activation takes seconds and is no call that others should wait for
        async with nullcontext() if operation is operations.ACTIVATE_WORKSPACE else self._gate:
            answer = await self._http.post(
                self._url,
                json={"query": operation.document, "variables": dict(variables)},
                headers={"authorization": f"Bearer {token}"} if token else {},
            )
        found = answer.raise_for_status().json()
        if found.get("errors"):
            raise RuntimeError(f"{operation.name}: {found['errors'][0]['message']}")
        return found["data"][operation.name]


def _token(answer: Mapping[str, Any]) -> str:
    return str(answer["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])


def _member_of(token: str) -> str:
    """The member that an access token is for: it says so itself, and nobody needs to be asked."""
    claims = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["workspaceMemberId"])
