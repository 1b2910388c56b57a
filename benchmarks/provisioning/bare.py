"""The API calls of a new tenant and nothing else: no ledger, no SQL, no locks, no retries, no decisions.

Same documents, same order, same concurrency as the pipeline, over httpx. The documents are the pipeline's own, so they
cannot drift; the order can, and so the benchmark compares what the stand-ins counted. What is left out on purpose are
the contract probes: they belong to the pipeline's cost.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from provisioning_pipeline.clients.clerk.client import API_VERSION, MOST_IDS_PER_CALL, MOST_PER_PAGE
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.client import derived_password
from provisioning_pipeline.clients.twenty.operations import Operation
from provisioning_pipeline.sandbox.fleet import AddedTenant
from provisioning_pipeline.settings import Settings

_CLERK_READS_AT_ONCE = 8


async def provision(settings: Settings, tenants: Sequence[AddedTenant]) -> None:
    """Send every call that makes these tenants' workspaces ready."""
    async with httpx.AsyncClient(timeout=60) as http:
        admins = await _admins(http, settings, [tenant.clerk_org_id for tenant in tenants])
        sequence = _Sequence(http, settings)
        await sequence.sign_in()
        gate = asyncio.Semaphore(settings.tenant_concurrency)

        async def one(tenant: AddedTenant) -> None:
            async with gate:
                await sequence.tenant(tenant, admins[tenant.clerk_org_id])

        async with asyncio.TaskGroup() as group:
            for tenant in tenants:
                group.create_task(one(tenant))


async def _admins(http: httpx.AsyncClient, settings: Settings, organizations: Sequence[str]) -> dict[str, Any]:
    """Clerk's user behind each organization's admin."""
    gate = asyncio.Semaphore(_CLERK_READS_AT_ONCE)
    headers = {
        "authorization": f"Bearer {settings.clerk_secret_key.get_secret_value()}",
        "clerk-api-version": API_VERSION,
    }

    async def get(path: str, parameters: Mapping[str, Any]) -> Any:
        answer = await http.get(settings.clerk_base_url + path, params=dict(parameters), headers=headers)
        return answer.raise_for_status().json()

    async def admin(organization: str) -> str:
        async with gate:
            page = await get(
                f"/organizations/{organization}/memberships",
                {"limit": MOST_PER_PAGE, "offset": 0, "order_by": "+created_at"},
            )
        role = settings.clerk_admin_role
        return next(str(row["public_user_data"]["user_id"]) for row in page["data"] if row["role"] == role)

    ids = await asyncio.gather(*(admin(organization) for organization in organizations))
    rows = await get("/users", {"user_id": sorted(ids), "limit": MOST_IDS_PER_CALL})
    users = {row["id"]: row for row in rows}
    return {organization: users[user] for organization, user in zip(organizations, ids, strict=True)}


class _Sequence:
    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        (server,) = settings.servers
        self._http = http
        self._settings = settings
        self._url = f"{server.base_url}/metadata"
        self._service = {"email": server.service_email, "password": server.service_password.get_secret_value()}
        self._agnostic = ""

    async def sign_in(self) -> None:
        answer = await self._call(operations.SIGN_IN, self._service)
        self._agnostic = _token(answer)

    async def tenant(self, tenant: AddedTenant, user: Mapping[str, Any]) -> None:
        # provision_workspaces: the workspace
        made = await self._call(
            operations.SIGN_UP_IN_NEW_WORKSPACE,
            {"displayName": tenant.tenant.name, "subdomain": tenant.slug},
            self._agnostic,
        )
        workspace_id = made["workspace"]["id"]
        origin = made["workspace"]["workspaceUrls"]["subdomainUrl"]
        before = await self._exchange(made, origin)
        await self._call(operations.ACTIVATE_WORKSPACE, {}, before)
        service = await self._log_in(self._service, origin)
        # its admin
        workspace = await self._call(operations.CURRENT_WORKSPACE, {}, service)
        email = user["email_addresses"][0]["email_address"].lower()
        password = derived_password(self._settings.member_password_key, email).get_secret_value()
        account = {"email": email, "password": password}
        joined = await self._call(
            operations.SIGN_UP_IN_WORKSPACE, {**account, "workspaceInviteHash": workspace["inviteHash"]}
        )
        admin = await self._exchange(joined, origin)
        member = (await self._call(operations.CURRENT_USER, {}, admin))["workspaceMember"]
        roles = await self._call(operations.GET_ROLES, {}, service)
        role = next(role["id"] for role in roles if role["label"] == "Admin")
        await self._call(
            operations.UPDATE_WORKSPACE_MEMBER_ROLE, {"workspaceMemberId": member["id"], "roleId": role}, service
        )
        # repair_onboarding: ours, then the admin's
        await self._call(operations.SKIP_SYNC_EMAIL, {}, service)
        first, _, last = self._settings.service_member_name.partition(" ")
        await self._name(service, service, first, last)
        await self._call(operations.TRIGGER_INSTALL_APPS, {"universalIdentifiers": []}, service)
        await self._call(operations.SEND_INVITATIONS, {"emails": []}, service)
        await self._name(admin, service, user["first_name"], user["last_name"])
        await self._call(operations.TRIGGER_INSTALL_APPS, {"universalIdentifiers": []}, admin)
        # verify_logins
        seen = await self._call(operations.CURRENT_USER, {}, await self._log_in(account, origin))
        if (seen["onboardingStatus"], seen["currentWorkspace"]["id"]) != ("COMPLETED", workspace_id):
            raise RuntimeError(f"the bare sequence left {tenant.slug} at {seen['onboardingStatus']}")

    async def _name(self, whose: str, service: str, first: str, last: str) -> None:
        member = (await self._call(operations.CURRENT_USER, {}, whose))["workspaceMember"]
        update = {"name": {"firstName": first, "lastName": last}}
        await self._call(
            operations.UPDATE_WORKSPACE_MEMBER_SETTINGS, {"workspaceMemberId": member["id"], "update": update}, service
        )

    async def _log_in(self, credentials: Mapping[str, str], origin: str) -> str:
        answer = await self._call(operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS, {**credentials, "origin": origin})
        return await self._exchange(answer, origin)

    async def _exchange(self, answer: Mapping[str, Any], origin: str) -> str:
        variables = {"loginToken": answer["loginToken"]["token"], "origin": origin}
        return _token(await self._call(operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN, variables))

    async def _call(self, operation: Operation, variables: Mapping[str, Any], token: str = "") -> Any:
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
